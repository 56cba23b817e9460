// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// seal seals one counter and returns what it found, and puts a record of it
// into the outbox.
func seal(t *testing.T, m *Meter, id ID, at time.Time) (found []Sealed, err error) {
	t.Helper()
	ref := SlotRef{ID: id, Ordinal: id.Calendar.Ordinal(at)}
	err = m.Seal(t.Context(), []SlotRef{ref}, func(s []Sealed) (store.Batch, error) {
		found = s
		return store.Batch{Put: []store.Record{{Book: store.Outbox, Key: []byte("k"), Value: []byte("v")}}}, nil
	})
	return found, err
}

func TestASealTellsWhatIsNew(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		e := newEngine()
		m := open(t, dir, e, newHand(start).now)
		id := keyID("a")
		c := m.Counter(id)
		var open Hold
		for i := range 10 {
			h, full, err := c.Reserve(t.Context(), start, 1, 8, 20)
			if full || err != nil {
				t.Fatal(full, err)
			}
			if i == 5 {
				open = h
				continue
			}
			h.Bill(1)
		}
		found, err := seal(t, m, id, start)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if s := found[0]; s.Billed != 9 || s.BilledBefore != 0 || s.Over != 2 || s.Open != 1 {
			t.Errorf("first: got %+v, want 9 billed, 2 of them over, 1 open", s)
		}
		open.Bill(1)
		found, err = seal(t, m, id, start)
		if err != nil || len(found) != 1 || found[0].Billed != 10 || found[0].BilledBefore != 9 || found[0].OverBefore != 2 || found[0].Open != 0 {
			t.Errorf("second: got %+v, %v, want 10 billed, 9 of them before", found, err)
		}
		if _, err := e.Read(t.Context(), store.Outbox, []byte("k")); err != nil {
			t.Errorf("the caller's record: %v", err)
		}
	})
}

func TestAFailedSealSealsNothing(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		e := newEngine()
		m := open(t, dir, e, newHand(start).now)
		id := keyID("a")
		if n, err := spend(t, m.Counter(id), 5); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		e.set(errDisk, nil)
		if _, err := seal(t, m, id, start); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the fault", err)
		}
		e.set(nil, errDisk) // done, but the reply is lost
		if _, err := seal(t, m, id, start); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the fault", err)
		}
		e.set(nil, nil)
		if err := m.Flush(t.Context()); err != nil { // must not forget what was sealed
			t.Fatal(err)
		}
		if found, err := seal(t, m, id, start); err != nil || found[0].BilledBefore != 5 {
			t.Errorf("after a lost reply: got %+v, %v, want 5 sealed before", found, err)
		}
	})
}

func TestAFormerPeriodCanBeSealed(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		clock := newHand(start)
		m := open(t, dir, newEngine(), clock.now)
		id := keyID("a")
		id.Calendar = usage.Hours
		var late Hold
		for hour := range 4 {
			h, _ := take(t, m.Counter(id), clock.now(), 3, 10)
			if hour == 1 {
				late = h
			} else {
				h.Bill(3)
			}
			clock.advance(time.Hour)
		}
		for hour, want := range []int64{3, 0, 3, 3} {
			found, err := seal(t, m, id, start.Add(time.Duration(hour)*time.Hour))
			if err != nil || len(found) != 1 || found[0].Billed != want {
				t.Errorf("hour %d: got %+v, %v, want %d billed", hour, found, err, want)
			}
		}
		late.Bill(2)
		found, err := seal(t, m, id, start.Add(time.Hour))
		if err != nil || found[0].Billed != 2 || found[0].BilledBefore != 0 {
			t.Errorf("settled after its period: got %+v, %v, want 2 billed", found, err)
		}
	})
}

func TestSealedStaysBilledWhateverThePowerDoes(t *testing.T) {
	dir, e := t.TempDir(), newEngine()
	var d disk
	m := openOn(t, dir, e, d.hooks(false), newHand(start).now)
	id := keyID("a")
	if n, err := spend(t, m.Counter(id), 30); n != 30 || err != nil {
		t.Fatal(n, err)
	}
	before, err := os.ReadFile(dir + "/" + segmentFile(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	clear(before[headerSize:]) // a disk that kept nothing at all
	if _, err := seal(t, m, id, start); err != nil {
		t.Fatal(err)
	}
	lost := t.TempDir()
	if err := os.WriteFile(lost+"/"+segmentFile(0, 1), before, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := e.clone()
	for i := 1; i < 2; i++ {
		name := segmentFile(i, 1)
		if b, err := os.ReadFile(dir + "/" + name); err == nil {
			if err := os.WriteFile(lost+"/"+name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	m = openOn(t, lost, copied, &hooks{boot: "second", sync: func(string) error { return nil }}, newHand(start).now)
	found, err := seal(t, m, id, start)
	if err != nil || len(found) != 1 || found[0].BilledBefore != 30 || found[0].Billed < 30 {
		t.Errorf("got %+v, %v, want 30 sealed and billed", found, err)
	}
}

func TestASnapshotGoesOnFromItsCounts(t *testing.T) {
	e := newEngine()
	m := open(t, t.TempDir(), e, newHand(start).now)
	if n, err := spend(t, m.Counter(keyID("a")), 30); n != 30 || err != nil {
		t.Fatal(n, err)
	}
	copied := t.TempDir()
	if err := m.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	saved := e.clone()
	if n, err := spend(t, m.Counter(keyID("a")), 50); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	restored := open(t, copied, saved, newHand(start).now)
	if r := restored.Counter(keyID("a")).Read(start); r.Used() != 30 || r.Billed != 30 {
		t.Errorf("got %+v, want 30 used and billed", r)
	}
	if n, err := spend(t, restored.Counter(keyID("a")), 50); n != 20 || err != nil {
		t.Errorf("got %d more units, %v, want 20", n, err)
	}
}

func TestAnAdjustmentCorrectsTheUse(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		e := newEngine()
		m := open(t, dir, e, newHand(start).now)
		c := m.Counter(keyID("a"))
		adjust := func(n, want int64) {
			t.Helper()
			if err := c.Adjust(t.Context(), start, n); err != nil {
				t.Fatal(err)
			}
			wantUsed(t, c, start, want)
		}
		adjust(90, 90)
		if n, err := spend(t, c, 100); n != 10 || err != nil {
			t.Errorf("after 90 of 100: got %d units, %v, want 10", n, err)
		}
		adjust(-30, 70)
		adjust(-1000, 0)
		e.set(errDisk, nil)
		if err := c.Adjust(t.Context(), start, 50); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the fault", err)
		}
		e.set(nil, nil)
		wantUsed(t, c, start, 0)
		if r := c.Read(start); r.Billed != 10 {
			t.Errorf("got %d billed, want 10: adjusting bills nothing", r.Billed)
		}
	})
}

func TestManyAdjustmentsAreFewTransactions(t *testing.T) {
	e := newEngine()
	m := open(t, t.TempDir(), e, newHand(start).now)
	var all []Adjustment
	for i := range 1500 {
		all = append(all, Adjustment{ID: keyID(string(rune('0' + i))), Units: int64(i)})
	}
	before := e.commits
	if err := m.AdjustAll(t.Context(), start, all); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	made := e.commits - before
	e.mu.Unlock()
	if made > 50 {
		t.Errorf("got %d transactions for 1500 adjustments", made)
	}
	for _, a := range all {
		wantUsed(t, m.Counter(a.ID), start, a.Units)
	}
}
