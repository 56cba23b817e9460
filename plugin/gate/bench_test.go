// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// sold is the plan that decisions are measured with: two rates, a pooled quota.
func sold() plan.Plan {
	return plan.Plan{
		ID: "pro",
		Rates: []plan.Rate{
			rate(1<<40, time.Second, 1<<40, plan.PerKey), rate(1<<41, time.Minute, 1<<41, plan.PerCustomer),
		},
		Quotas: []plan.Quota{quota(1<<50, plan.PerCustomer)},
	}
}

// callers makes n customers with a key each, and calls by each until it has
// leases of the size that busy keys have.
func callers(h *house, n int) []*gate.Call {
	calls := make([]*gate.Call, n)
	var t gate.Ticket
	for i := range calls {
		calls[i] = h.caller().call(route)
		calls[i].RequestID = nil
		for range 500 {
			decide(h, h.gate, calls[i], &t)
		}
	}
	return calls
}

func decide(b testing.TB, g *gate.Gate, c *gate.Call, t *gate.Ticket) {
	if refusal, err := g.Admit(context.Background(), c, t); refusal != nil || err != nil {
		b.Fatal(refusal, err)
	}
	t.Settle(gate.Answer{Status: 200})
	t.Release()
}

// BenchmarkDecision is Admit and Settle over 1 000 hot keys on one core.
func BenchmarkDecision(b *testing.B) {
	h := newHouse(b, sold())
	calls := callers(h, 1000)
	var t gate.Ticket
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		decide(b, h.gate, calls[i%len(calls)], &t)
		i++
	}
}

// BenchmarkDecisionParallel is the same on all cores, each with customers of its own.
func BenchmarkDecisionParallel(b *testing.B) {
	h := newHouse(b, sold())
	parts := make(chan []*gate.Call, 64)
	all := callers(h, 64*32)
	for i := range 64 {
		parts <- all[i*32 : (i+1)*32]
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		calls := <-parts
		var t gate.Ticket
		for i := 0; pb.Next(); i++ {
			decide(b, h.gate, calls[i%len(calls)], &t)
		}
	})
}

// BenchmarkDecisionOneKey leaves the memory's share out: one key alone.
func BenchmarkDecisionOneKey(b *testing.B) {
	h := newHouse(b, sold())
	call := callers(h, 1)[0]
	var t gate.Ticket
	b.ReportAllocs()
	for b.Loop() {
		decide(b, h.gate, call, &t)
	}
}

// BenchmarkColdKey is a decision about a key that the cache does not hold: it is
// read from the store, and its limits are worked out.
func BenchmarkColdKey(b *testing.B) {
	h := newHouse(b, sold())
	c := h.caller()
	call, name := c.call(route), 0
	var t gate.Ticket
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		name++
		c.edit(func(k *apikey.Key) { k.Name = strconv.Itoa(name) })
		b.StartTimer()
		decide(b, h.gate, call, &t)
	}
}

// BenchmarkWindows is what the header fields of an answer ask for.
func BenchmarkWindows(b *testing.B) {
	h := newHouse(b, sold())
	call := callers(h, 1)[0]
	var t gate.Ticket
	if _, err := h.gate.Admit(context.Background(), call, &t); err != nil {
		b.Fatal(err)
	}
	windows := make([]gate.Window, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		windows = t.Windows(windows[:0])
	}
	t.Settle(gate.Answer{Status: 200})
}

func TestADecisionAboutAKnownKeyAllocatesNothing(t *testing.T) {
	h := newHouse(t, sold())
	call := callers(h, 1)[0]
	var ticket gate.Ticket
	if n := testing.AllocsPerRun(200, func() { decide(t, h.gate, call, &ticket) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
