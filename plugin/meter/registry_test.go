// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"fmt"
	"runtime"
	"testing"
)

func TestCountersThatNobodyHoldsAreForgottenButNotTheirCounts(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		m := open(t, dir, newEngine(), newHand(start).now)
		const counters = 20_000
		for i := range counters {
			h, ok := take(t, m.Counter(keyID(fmt.Sprint(i%1000))), start, 1, 1000)
			if !ok {
				t.Fatal("refused")
			}
			h.Bill(1)
		}
		if err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		live := func() (n int) {
			runtime.GC()
			m.counters.each(func(*Counter) { n++ })
			return n
		}
		if got := live(); got > 100 {
			t.Errorf("got %d counters in memory, want those of 1000 forgotten", got)
		}
		for i := range 1000 {
			wantUsed(t, m.Counter(keyID(fmt.Sprint(i))), start, counters/1000)
		}
	})
}

func TestAHoldKeepsItsCounter(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	h, _ := take(t, m.Counter(keyID("a")), start, 5, 10)
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if again := m.Counter(keyID("a")); again != h.slot.counter {
		t.Error("got another counter while a hold was open")
	}
	h.Bill(5)
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		m := open(t, dir, newEngine(), newHand(start).now)
		c := m.Counter(keyID("a"))
		h, _ := take(t, c, start, 1, Unlimited)
		h.Bill(1)
		if n := testing.AllocsPerRun(100, func() {
			h, _, err := c.Reserve(t.Context(), start, 1, Unlimited, Unlimited)
			if err != nil {
				t.Fatal(err)
			}
			_ = h.Remaining(5)
			h.Bill(2)
			c.Refuse(start)
		}); n != 0 {
			t.Errorf("got %v allocations, want none", n)
		}
	})
}
