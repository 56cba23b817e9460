// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/usage"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// hand is a clock that is set by hand.
type hand struct{ at atomic.Int64 }

func newHand(t time.Time) *hand {
	h := &hand{}
	h.at.Store(t.UnixNano())
	return h
}

func (h *hand) now() time.Time          { return time.Unix(0, h.at.Load()).UTC() }
func (h *hand) advance(d time.Duration) { h.at.Add(int64(d)) }

func keyID(name string) ID {
	return ID{
		Owner: Owner{Kind: OfKey, ID: "key_" + name, Mode: apikey.Live},
		Unit:  plan.Requests, Calendar: usage.Months,
	}
}

// open opens a meter that the test closes if it does not do so itself.
func open(t testing.TB, dir string, e *engine, now func() time.Time) *Meter {
	t.Helper()
	m, err := Open(t.Context(), Options{
		Dir: dir, Journal: e, Ledger: e, Node: "one", Now: now,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// take reserves n units within bound and fails the test on a fault.
func take(t testing.TB, c *Counter, now time.Time, n, bound int64) (Hold, bool) {
	t.Helper()
	h, full, err := c.Reserve(t.Context(), now, n, bound, bound)
	if err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	return h, !full
}

func wantUsed(t testing.TB, c *Counter, now time.Time, want int64) {
	t.Helper()
	if got := c.Read(now).Used(); got != want {
		t.Errorf("used: got %d, want %d", got, want)
	}
}

// places runs a test on a meter in memory and on one with files.
func places(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("in memory", func(t *testing.T) { test(t, "") })
	t.Run("in files", func(t *testing.T) { test(t, t.TempDir()) })
}

func TestABoundIsReachedExactlyByManyCallers(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		m := open(t, dir, newEngine(), newHand(start).now)
		var passed, refused atomic.Int64
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				for range 78 {
					c := m.Counter(keyID("busy"))
					h, full, err := c.Reserve(t.Context(), start, 1, 1000, 1000)
					switch {
					case err != nil:
						t.Errorf("Reserve: %v", err)
					case full:
						refused.Add(1)
					default:
						passed.Add(1)
						h.Bill(1)
					}
				}
			})
		}
		callers.Wait()
		if passed.Load() != 1000 || refused.Load() != 64*78-1000 {
			t.Errorf("got %d admitted and %d refused, want 1000 and %d", passed.Load(), refused.Load(), 64*78-1000)
		}
		if r := m.Counter(keyID("busy")).Read(start); r.Billed != 1000 || r.Used() != 1000 || r.Over != 0 {
			t.Errorf("got %+v, want 1000 used and billed", r)
		}
	})
}

func TestAHoldIsSettledOnce(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		m := open(t, dir, newEngine(), newHand(start).now)
		for _, settle := range []struct {
			claim          string
			by             func(Hold)
			used, billed   int64
			over, refunded int64
		}{
			{"a cancelled one costs nothing", Hold.Cancel, 0, 0, 0, 10},
			{"a refunded one costs nothing", Hold.Refund, 0, 0, 0, 10},
			{"one that is kept is used, not billed", Hold.Keep, 10, 0, 0, 0},
			{"one that is used for more is not billed", func(h Hold) { h.Use(12) }, 12, 0, 0, 0},
			{"one that is used for less gives the rest back", func(h Hold) { h.Use(4) }, 4, 0, 0, 6},
			{"one that is billed is used", func(h Hold) { h.Bill(10) }, 10, 10, 2, 0},
			{"what was not needed is given back, past the quota first", func(h Hold) { h.Bill(9) }, 9, 9, 1, 1},
			{"an explicit zero costs nothing", func(h Hold) { h.Bill(0) }, 0, 0, 0, 10},
			{"what was needed beyond is added past the bound", func(h Hold) { h.Bill(15) }, 15, 15, 7, 0},
		} {
			t.Run(settle.claim, func(t *testing.T) {
				c := m.Counter(keyID(settle.claim))
				h, full, err := c.Reserve(t.Context(), start, 10, 8, 12)
				if full || err != nil {
					t.Fatalf("Reserve: full %v, error %v", full, err)
				}
				settle.by(h)
				r := c.Read(start)
				if r.Used() != settle.used || r.Billed != settle.billed || r.Over != settle.over || r.Refunded != settle.refunded {
					t.Errorf("got %+v, want used %d billed %d over %d refunded %d",
						r, settle.used, settle.billed, settle.over, settle.refunded)
				}
			})
		}
	})
}

func TestTheZeroHoldHoldsNothing(t *testing.T) {
	var h Hold
	h.Cancel()
	h.Refund()
	h.Keep()
	h.Use(5)
	h.Bill(5)
	if got := h.Remaining(7); got != 7 {
		t.Errorf("Remaining: got %d, want 7", got)
	}
}

func TestRemainingIsNeverNegative(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	h, _ := take(t, m.Counter(keyID("a")), start, 10, 100)
	for quota, want := range map[int64]int64{100: 90, 10: 0, 5: 0} {
		if got := h.Remaining(quota); got != want {
			t.Errorf("Remaining(%d): got %d, want %d", quota, got, want)
		}
	}
	h.Keep()
}

func TestWhatDoesNotFitIsRefusedWhole(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		m := open(t, dir, newEngine(), newHand(start).now)
		c := m.Counter(keyID("a"))
		if h, ok := take(t, c, start, 7, 10); !ok {
			t.Fatal("7 of 10 were refused")
		} else {
			h.Bill(7)
		}
		if _, ok := take(t, c, start, 4, 10); ok {
			t.Error("4 more of 10 were admitted after 7")
		}
		wantUsed(t, c, start, 7)
		if h, ok := take(t, c, start, 3, 10); !ok {
			t.Error("3 more of 10 were refused after 7")
		} else {
			h.Bill(3)
		}
		wantUsed(t, c, start, 10)
	})
}

func TestALoweredBoundAdmitsNothingMore(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	c := m.Counter(keyID("a"))
	h, _ := take(t, c, start, 50, 100)
	h.Bill(50)
	if _, ok := take(t, c, start, 1, 20); ok {
		t.Error("a bound below the use admitted a unit")
	}
	if h, ok := take(t, c, start, 1, 200); !ok {
		t.Error("a raised bound refused a unit")
	} else {
		h.Bill(1)
	}
	wantUsed(t, c, start, 51)
}

func TestEachPeriodBeginsAtZero(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		clock := newHand(start)
		m := open(t, dir, newEngine(), clock.now)
		id := keyID("a")
		id.Calendar = usage.Hours
		c := m.Counter(id)
		for hour := range 6 {
			for range 10 {
				h, ok := take(t, c, clock.now(), 1, 10)
				if !ok {
					t.Fatalf("hour %d: refused within the quota", hour)
				}
				h.Bill(1)
			}
			if _, ok := take(t, c, clock.now(), 1, 10); ok {
				t.Fatalf("hour %d: admitted past the quota", hour)
			}
			clock.advance(time.Hour)
		}
		for hour := range int64(6) {
			r, err := m.Peek(t.Context(), id, usage.Hours.Ordinal(start)+hour)
			if err != nil || r.Billed != 10 || r.Used() != 10 {
				t.Errorf("hour %d: got %+v, %v, want 10 used and billed", hour, r, err)
			}
		}
	})
}

func TestAHoldKeepsItsPeriod(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		clock := newHand(start)
		m := open(t, dir, newEngine(), clock.now)
		id := keyID("a")
		id.Calendar = usage.Hours
		c := m.Counter(id)
		var held []Hold
		for range 5 { // the third hour would take the first one's slot
			h, _ := take(t, c, clock.now(), 3, 10)
			held = append(held, h)
			clock.advance(time.Hour)
		}
		for i, h := range held {
			h.Bill(int64(1 + i%3))
		}
		for i := range held {
			r, err := m.Peek(t.Context(), id, usage.Hours.Ordinal(start)+int64(i))
			if want := int64(1 + i%3); err != nil || r.Billed != want || r.Used() != want {
				t.Errorf("hour %d: got %+v, %v, want %d billed", i, r, err, want)
			}
		}
	})
}

func TestACounterIsTheSameWhileItIsHeld(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	c := m.Counter(keyID("a"))
	for i := range 1000 {
		m.Counter(keyID(fmt.Sprint(i)))
	}
	if again := m.Counter(keyID("a")); again != c {
		t.Error("got another counter of the same ID")
	}
}

func TestAClosedMeterAdmitsNothing(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	c := m.Counter(keyID("a"))
	h, _ := take(t, c, start, 1, 10)
	h.Bill(1)
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Reserve(t.Context(), start, 1, 10, 10); err == nil {
		t.Error("a closed meter admitted a unit")
	}
}
