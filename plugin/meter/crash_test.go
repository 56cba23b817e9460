// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/plugin/usage"
)

// world is a meter with files, customers that use it, and the upstream's own
// count, which judges it.
type world struct {
	t      testing.TB
	dir    string
	engine *engine
	clock  *hand
	hooks  *hooks
	meter  *Meter
	keys   []*upstream

	pause   sync.RWMutex // read: between two moments at which the process may die
	mu      sync.Mutex   // guards durable
	durable map[string][]byte
}

// upstream is what the sold API saw of one key.
type upstream struct {
	id                           ID
	quota                        int64
	forwarded, refunded, charged int64
	mu                           sync.Mutex // guards the figures
}

func (u *upstream) count(forwarded, refunded, charged int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forwarded += forwarded
	u.refunded += refunded
	u.charged += charged
}

const worldNumbers = 32 // a segment, so that there are several

func newWorld(t testing.TB, write bool, keys int) *world {
	w := &world{t: t, dir: t.TempDir(), engine: newEngine(), clock: newHand(start), durable: make(map[string][]byte)}
	w.hooks = &hooks{write: write, boot: "first"}
	w.hooks.sync = func(name string) error {
		b, err := os.ReadFile(filepath.Join(w.dir, name)) // what is durable when the sync is over, at least
		w.mu.Lock()
		defer w.mu.Unlock()
		w.durable[name] = b
		return err
	}
	for i := range keys {
		id := keyID(fmt.Sprint(i))
		id.Calendar = usage.Days
		w.keys = append(w.keys, &upstream{id: id, quota: 40 + int64(i%5)*400})
	}
	w.meter = w.open(w.dir, w.engine, w.hooks)
	return w
}

func (w *world) open(dir string, e *engine, h *hooks) *Meter {
	w.t.Helper()
	m, err := Open(context.Background(), Options{
		Dir: dir, Journal: e, Ledger: e, Node: "one", Now: w.clock.now, hooks: h, numbers: worldNumbers,
	})
	if err != nil {
		w.t.Fatalf("Open: %v", err)
	}
	return m
}

// call is one request: forwarded if admitted, then settled somehow. The
// process may die between any two steps.
func (w *world) call(m *Meter, r *rand.Rand, u *upstream, step func(func())) (open bool) {
	n := 1 + r.Int64N(3)
	var h Hold
	var full bool
	var err error
	step(func() {
		if h, full, err = m.Counter(u.id).Reserve(context.Background(), w.clock.now(), n, u.quota, u.quota); err == nil && !full {
			u.count(n, 0, 0)
		}
	})
	if err != nil && !errors.Is(err, ErrUnavailable) {
		w.t.Errorf("Reserve: %v", err)
	}
	if full || err != nil {
		return false
	}
	how := r.IntN(10)
	if how == 0 {
		return true // still running
	}
	step(func() {
		switch {
		case how < 3:
			u.count(0, n, 0)
			h.Refund()
		case how < 4:
			h.Keep()
		default:
			u.count(0, 0, n)
			h.Bill(n)
		}
	})
	return false
}

// traffic calls from several clients until stop is closed.
func (w *world) traffic(seed uint64, stop <-chan struct{}) *sync.WaitGroup {
	var clients sync.WaitGroup
	for i := range uint64(4) {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, i))
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.call(w.meter, r, w.keys[r.IntN(len(w.keys))], func(do func()) {
					w.pause.RLock()
					defer w.pause.RUnlock()
					do()
				})
				if r.IntN(200) == 0 {
					w.meter.files.tick(context.Background())
				}
				if r.IntN(2000) == 0 {
					if err := w.meter.Flush(context.Background()); err != nil {
						w.t.Errorf("Flush: %v", err)
					}
				}
			}
		})
	}
	return &clients
}

// image is what a crash leaves, and what the upstream had seen by then.
type image struct {
	dir    string
	engine *engine
	keys   []*upstream
}

// crash makes an image while no client moves; the meter's own work goes on. With power cut, each sector of
// each file is as it was last synced or as it is now.
func (w *world) crash(r *rand.Rand, power bool) image {
	w.t.Helper()
	im := image{dir: w.t.TempDir()}
	w.mu.Lock()
	names, err := filepath.Glob(filepath.Join(w.dir, "slots*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range names {
		name := filepath.Base(path)
		b, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		if power && name != stateFile {
			b = w.torn(r, name, b)
		}
		if err := os.WriteFile(filepath.Join(im.dir, name), b, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.mu.Unlock()
	im.engine = w.engine.clone()
	for _, u := range w.keys {
		u.mu.Lock()
		im.keys = append(im.keys, &upstream{id: u.id, quota: u.quota, forwarded: u.forwarded, refunded: u.refunded, charged: u.charged})
		u.mu.Unlock()
	}
	return im
}

func (w *world) torn(r *rand.Rand, name string, now []byte) []byte {
	if len(now) < headerSize+2*worldNumbers*slotSize {
		return now // just being made: the book does not name it yet
	}
	synced, ok := w.durable[name]
	if !ok { // made and synced with nothing but zeroes
		synced = append(append([]byte(nil), now[:headerSize]...), make([]byte, len(now)-headerSize)...)
	}
	const sector = 512
	for at := 0; at < len(now); at += sector {
		if r.IntN(2) == 0 {
			copy(now[at:at+sector], synced[at:at+sector])
		}
	}
	return now
}

// verdict is what the judge finds in an image.
type judgement struct {
	overQuota, overBilled int
	lost                  int64 // units of quota that customers lost
	inexact               int
}

// judge opens an image, compares, and goes on until every quota is used up.
func (w *world) judge(im image, h *hooks) (j judgement) {
	w.t.Helper()
	m := w.open(im.dir, im.engine, h)
	defer func() { _ = m.Close(context.Background()) }()
	now := w.clock.now()
	for _, u := range im.keys {
		c := m.Counter(u.id)
		r := c.Read(now)
		if r.Used() != u.forwarded-u.refunded || r.Billed != u.charged {
			j.inexact++
		}
		if r.Billed > u.charged {
			j.overBilled++
		}
		j.lost += max(r.Used()-(u.forwarded-u.refunded), 0)
		for {
			h, full, err := c.Reserve(context.Background(), now, 1, u.quota, u.quota)
			if err != nil {
				w.t.Fatalf("after the crash: %v", err)
			}
			if full {
				break
			}
			u.forwarded++
			h.Bill(1)
		}
		if u.forwarded-u.refunded > u.quota {
			j.overQuota++
		}
	}
	return j
}

func crashes(t *testing.T, write, power bool, boot string, check func(j judgement)) {
	rounds := uint64(5)
	if write {
		rounds = 2 // each change is a system call
	}
	for round := range rounds {
		w := newWorld(t, write, 60)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		stop := make(chan struct{})
		clients := w.traffic(seed, stop)
		r := rand.New(rand.NewPCG(seed, round+100))
		for range 5 {
			for until := w.busy() + r.Int64N(4000); w.busy() < until; {
				runtime.Gosched()
			}
			w.pause.Lock()
			im := w.crash(r, power)
			check(w.judge(im, &hooks{write: write, boot: boot, sync: func(string) error { return nil }}))
			w.pause.Unlock()
		}
		close(stop)
		clients.Wait()
		if err := w.meter.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// busy returns how much the upstream has seen.
func (w *world) busy() (n int64) {
	for _, u := range w.keys {
		u.mu.Lock()
		n += u.forwarded
		u.mu.Unlock()
	}
	return n
}

func TestACrashOfTheProcessLosesNothing(t *testing.T) {
	for name, write := range map[string]bool{"mapped": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			crashes(t, write, false, "first", func(j judgement) {
				if j != (judgement{}) {
					t.Errorf("got %+v, want every count exact", j)
				}
			})
		})
	}
}

func TestAPowerCutNeitherExceedsAQuotaNorBillsTooMuch(t *testing.T) {
	for name, write := range map[string]bool{"mapped": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			var lost int64
			crashes(t, write, true, "second", func(j judgement) {
				if j.overQuota+j.overBilled > 0 {
					t.Errorf("got %+v, want no quota exceeded and nothing billed too much", j)
				}
				lost += j.lost
			})
			t.Logf("customers lost %d units", lost)
		})
	}
}

func TestTheJudgeConvictsAMeterThatTrustsItsFiles(t *testing.T) {
	var over int
	crashes(t, false, true, "first", func(j judgement) { over += j.overQuota })
	if over == 0 {
		t.Error("no quota was exceeded by a meter that takes a power cut for a crash of the process")
	}
}
