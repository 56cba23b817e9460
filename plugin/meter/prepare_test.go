// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"fmt"
	"testing"
)

func TestCountersThatArePreparedBecomeReadyTogether(t *testing.T) {
	e := newEngine()
	m := open(t, t.TempDir(), e, newHand(start).now)
	commits := func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.commits
	}
	counters := make([]*Counter, 8)
	before := commits()
	m.rounds.Lock() // the opener gets no further than to take the first
	for i := range counters {
		counters[i] = m.Counter(keyID(fmt.Sprint(i)))
		counters[i].Prepare(t.Context(), start, 1, 10)
	}
	m.rounds.Unlock()
	for i, c := range counters {
		h, full, err := c.Reserve(t.Context(), start, 1, 10, 10)
		if full || err != nil {
			t.Fatalf("counter %d: got %v, %v", i, full, err)
		}
		h.Bill(1)
	}
	if got := commits() - before; got > 2 {
		t.Errorf("got %d transactions for 8 counters, want at most 2", got)
	}
	if used := counters[0].Read(start).Used(); used != 1 {
		t.Errorf("got %d used, want 1: preparing uses nothing", used)
	}
}
