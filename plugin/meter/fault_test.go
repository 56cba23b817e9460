// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

var errDisk = errors.New("input/output error")

// disk is a disk that can be told to fail.
type disk struct{ sick, full atomic.Bool }

func (d *disk) hooks(write bool) *hooks {
	return &hooks{
		write: write, boot: "first",
		sync: func(string) error {
			if d.sick.Load() {
				return errDisk
			}
			return nil
		},
		create: func(string) error {
			if d.full.Load() {
				return errors.New("no space left on device")
			}
			return nil
		},
	}
}

func openOn(t testing.TB, dir string, e *engine, h *hooks, now func() time.Time) *Meter {
	t.Helper()
	m, err := Open(t.Context(), Options{
		Dir: dir, Journal: e, Ledger: e, Node: "one", Now: now, hooks: h, numbers: worldNumbers,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// spend reserves and bills single units until the bound or a fault.
func spend(t testing.TB, c *Counter, bound int64) (n int64, err error) {
	t.Helper()
	for {
		h, full, err := c.Reserve(t.Context(), start, 1, bound, bound)
		if full || err != nil {
			return n, err
		}
		h.Bill(1)
		n++
	}
}

func TestAFailedSyncLendsNothingUntilAnotherFileStands(t *testing.T) {
	for name, write := range map[string]bool{"mapped": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			var d disk
			dir, e := t.TempDir(), newEngine()
			m := openOn(t, dir, e, d.hooks(write), newHand(start).now)
			c := m.Counter(keyID("a"))
			h, _ := take(t, c, start, 1, 10_000)
			h.Bill(1)

			d.sick.Store(true)
			d.full.Store(true)
			used, err := spend(t, c, 10_000)
			if !errors.Is(err, ErrUnavailable) {
				t.Fatalf("with a disk that fails: got %d units and error %v, want ErrUnavailable", used, err)
			}
			if used == 0 || used > 1000 {
				t.Errorf("got %d units from the lease that was given, want some and no more", used)
			}
			m.files.tick(t.Context())
			if _, _, err := c.Reserve(t.Context(), start, 1, 10_000, 10_000); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("while no file can be made: got error %v, want ErrUnavailable", err)
			}

			d.sick.Store(false)
			d.full.Store(false)
			for range mendPause + 1 {
				m.files.tick(t.Context())
			}
			more, err := spend(t, c, 10_000)
			if err != nil || used+more+1 != 10_000 {
				t.Errorf("after mending: got %d and %d units, error %v, want 9999 in all", used, more, err)
			}
			if err := m.Close(t.Context()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			left, err := filepath.Glob(filepath.Join(dir, "slots-000000-*"))
			if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "-2") {
				t.Errorf("got files %v, %v, want the second one alone", left, err)
			}
			again := openOn(t, dir, e, d.hooks(write), newHand(start).now)
			wantUsed(t, again.Counter(keyID("a")), start, 10_000)
		})
	}
}

func TestMovingToAnotherFileLosesNoCount(t *testing.T) {
	var d disk
	h := d.hooks(false)
	m := openOn(t, t.TempDir(), newEngine(), h, newHand(start).now)
	const clients, keys = 4, 20
	var stop atomic.Bool
	counted := make(chan [keys]int64, clients)
	for i := range clients {
		go func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			var mine [keys]int64
			for !stop.Load() {
				k := r.IntN(keys)
				bound := plenty
				if k%2 == 0 {
					bound = Unlimited
				}
				h, full, err := m.Counter(keyID(fmt.Sprint(k))).Reserve(context.Background(), start, 1, bound, bound)
				if err == nil && !full {
					h.Bill(1)
					mine[k]++
				}
			}
			counted <- mine
		}()
	}
	for range 8 {
		d.sick.Store(true)
		_ = m.files.sync()
		d.sick.Store(false)
		for m.files.of(0).file.Load().failed.Load() != nil {
			m.files.tick(t.Context())
		}
	}
	stop.Store(true)
	var want [keys]int64
	for range clients {
		for k, n := range <-counted {
			want[k] += n
		}
	}
	for k := range want {
		if r := m.Counter(keyID(fmt.Sprint(k))).Read(start); r.Billed != want[k] || r.Used() != want[k] {
			t.Errorf("key %d: got %+v, want %d used and billed", k, r, want[k])
		}
	}
}

func TestAFullDiskServesLeasesAndRecoversByItself(t *testing.T) {
	e := newEngine()
	m := open(t, t.TempDir(), e, newHand(start).now)
	known := m.Counter(keyID("known"))
	h, _ := take(t, known, start, 1, 1000)
	h.Bill(1)

	e.set(errors.New("no space left on device"), nil)
	if _, _, err := m.Counter(keyID("new")).Reserve(t.Context(), start, 1, 10, 10); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a new counter on a full disk: got %v, want ErrUnavailable", err)
	}
	if n, err := spend(t, known, 1000); n != 999 || err != nil {
		t.Errorf("a counter that has its slot: got %d units, %v, want 999", n, err)
	}
	if err := m.Flush(t.Context()); err == nil {
		t.Error("Flush on a full disk: got no error")
	}

	e.set(nil, nil)
	if n, err := spend(t, m.Counter(keyID("new")), 10); n != 10 || err != nil {
		t.Errorf("when there is room again: got %d units, %v, want 10", n, err)
	}
	if err := m.Flush(t.Context()); err != nil {
		t.Errorf("Flush when there is room again: %v", err)
	}
	row, err := m.book.checkpoint(t.Context(), known.id.Calendar.At(start).Start, known.numbers[0].n)
	if err != nil || row.billed != 1000 {
		t.Errorf("checkpoint: got %+v, %v, want 1000 billed", row, err)
	}
}

func TestALostReplyGivesNoNumberTwice(t *testing.T) {
	e := newEngine()
	m := open(t, t.TempDir(), e, newHand(start).now)
	for i := range 20 {
		c := m.Counter(keyID(fmt.Sprint(i)))
		if i%3 == 0 {
			e.set(nil, errors.New("the reply was lost"))
			_, _, err := c.Reserve(t.Context(), start, 1, 100, 100)
			if !errors.Is(err, ErrUnavailable) {
				t.Fatalf("got %v, want ErrUnavailable", err)
			}
			e.set(nil, nil)
		}
		if n, err := spend(t, c, int64(10+i)); n != int64(10+i) || err != nil {
			t.Fatalf("counter %d: got %d units, %v", i, n, err)
		}
	}
	for i := range 20 {
		wantUsed(t, m.Counter(keyID(fmt.Sprint(i))), start, int64(10+i))
	}
}

func TestAForeignFileIsNotTakenForCounters(t *testing.T) {
	for claim, spoil := range map[string]func(t *testing.T, path string){
		"cut short": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		},
		"something else": func(t *testing.T, path string) {
			if err := os.WriteFile(path, make([]byte, headerSize+2*worldNumbers*slotSize), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(claim, func(t *testing.T) {
			var d disk
			dir, e := t.TempDir(), newEngine()
			m := openOn(t, dir, e, d.hooks(false), newHand(start).now)
			take(t, m.Counter(keyID("a")), start, 1, 10)
			if err := m.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, segmentFile(0, 1))
			spoil(t, path)
			_, err := Open(t.Context(), Options{
				Dir: dir, Journal: e, Ledger: e, Node: "one", Now: newHand(start).now, hooks: d.hooks(false), numbers: worldNumbers,
			})
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got error %v, want one that names %s", err, path)
			}
		})
	}
}

func TestALostFileGoesOnFromTheCheckpoints(t *testing.T) {
	var d disk
	dir, e := t.TempDir(), newEngine()
	m := openOn(t, dir, e, d.hooks(false), newHand(start).now)
	if n, err := spend(t, m.Counter(keyID("a")), 30); n != 30 || err != nil {
		t.Fatal(n, err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, segmentFile(0, 1))); err != nil {
		t.Fatal(err)
	}
	again := openOn(t, dir, e, d.hooks(false), newHand(start).now)
	if n, err := spend(t, again.Counter(keyID("a")), 40); n > 10 || err != nil {
		t.Errorf("got %d more units of 40 after 30, %v", n, err)
	}
}

func TestWhoWaitsInVainWaitsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &slowEngine{engine: newEngine()}
		m, err := Open(t.Context(), Options{Journal: e, Ledger: e, Node: "one", Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(context.Background()) }()
		e.wait = make(chan struct{})
		began := time.Now()
		_, _, err = m.Counter(keyID("a")).Reserve(t.Context(), began, 1, 10, 10)
		close(e.wait)
		if waited := time.Since(began); !errors.Is(err, ErrUnavailable) || waited != time.Second {
			t.Errorf("got %v after %v, want ErrUnavailable after 1s", err, waited)
		}
	})
}

// slowEngine commits when it is let go.
type slowEngine struct {
	*engine
	wait chan struct{}
}

func (e *slowEngine) Commit(ctx context.Context, b store.Batch) error {
	if e.wait != nil {
		<-e.wait
	}
	return e.engine.Commit(ctx, b)
}

func TestWhoHangsUpWaitsNoLonger(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.rounds.Lock()
	_, _, err := m.Counter(keyID("a")).Reserve(ctx, start, 1, 10, 10)
	m.rounds.Unlock()
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrUnavailable because it was cancelled", err)
	}
}

func TestMendingThatFailsLeavesNoFilesBehind(t *testing.T) {
	var d disk
	dir, e := t.TempDir(), newEngine()
	m := openOn(t, dir, e, d.hooks(false), newHand(start).now)
	c := m.Counter(keyID("a"))
	h, _ := take(t, c, start, 1, 1000)
	h.Bill(1)
	d.sick.Store(true)
	_ = m.files.sync()
	d.sick.Store(false)
	e.set(errDisk, nil) // the book cannot name another file
	for range 10 * (mendPause + 1) {
		m.files.tick(t.Context())
	}
	left, err := filepath.Glob(filepath.Join(dir, "slots-000000-*"))
	if err != nil || len(left) != 2 {
		t.Errorf("while it fails: got files %v, %v, want the one that is named and the one in use", left, err)
	}
	e.set(nil, nil)
	for range mendPause + 1 {
		m.files.tick(t.Context())
	}
	if n, err := spend(t, c, 1000); n != 999 || err != nil {
		t.Errorf("after mending: got %d units, %v, want 999", n, err)
	}
	if left, err = filepath.Glob(filepath.Join(dir, "slots-000000-*")); err != nil || len(left) != 1 {
		t.Errorf("after mending: got files %v, %v, want one", left, err)
	}
}
