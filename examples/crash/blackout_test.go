// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
)

func raise(n *atomic.Int64, to int64) {
	for old := n.Load(); old < to && !n.CompareAndSwap(old, to); {
		old = n.Load()
	}
}

// traffic sends requests by several clients up to a random moment, at which the
// power is cut.
func (b *blackout) traffic() {
	b.t.Helper()
	h := b.house
	left := int64(b.dice.IntN(1200))
	var sent atomic.Int64
	dead := false // guarded by b.pause
	reached := make(chan struct{})
	var once sync.Once
	var done sync.WaitGroup
	step := func(do func()) bool {
		b.pause.RLock()
		defer b.pause.RUnlock()
		if dead {
			return false
		}
		do()
		return true
	}
	for range clients {
		r := rand.New(rand.NewPCG(b.dice.Uint64(), b.dice.Uint64()))
		done.Go(func() {
			for b.call(h, r, step) {
				if sent.Add(1) >= left {
					once.Do(func() { close(reached) })
				}
			}
		})
	}
	maker := rand.New(rand.NewPCG(b.dice.Uint64(), b.dice.Uint64()))
	done.Go(func() {
		for i := 0; ; i++ {
			extra := &account{plan: "solo"}
			if !step(func() {
				if err := h.enrol(extra); err != nil {
					b.t.Error(err)
				}
				b.minted = append(b.minted, extra.keys...) // the only one who mints
			}) {
				return
			}
			<-time.After(time.Duration(1+maker.IntN(20)) * time.Millisecond)
			if i%10 == 0 {
				_ = h.meter.Flush(context.Background())
			}
		}
	})
	<-reached
	next := b.fresh()
	b.pause.Lock()
	dead = true
	for _, a := range b.accounts { // before the cut: a sync that ends meanwhile comes too late for it
		a.slack.unbilled += a.settled.Load() - a.durable.Load()
	}
	err := h.platter.cut(next, b.dice)
	for _, a := range b.accounts {
		a.slack.quota += leaseOf(a.bound) + a.flying.Swap(0) + clients*heavyCost
		a.durable.Store(a.settled.Load()) // what this cut took is in the slack
	}
	b.pause.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cuts++
	done.Wait()
	b.requests.Add(sent.Load())
	b.leave(h)
	b.house = nil
	b.next = next
}

// call is one request, in as many moments as there are between which the power
// may fail. It returns false when it has.
func (b *blackout) call(h *house, r *rand.Rand, step func(func()) bool) bool {
	a := b.accounts[r.IntN(len(b.accounts))]
	route, cost := plainRoute, int64(1)
	if r.IntN(6) == 0 {
		route, cost = heavyRoute, heavyCost
	}
	var ticket *gate.Ticket
	var refusal *gate.Refusal
	var err error
	if !step(func() {
		ticket, refusal, err = h.admit(a.secrets[r.IntN(len(a.secrets))], route)
		switch {
		case err != nil && !errors.Is(err, meter.ErrUnavailable):
			b.t.Error(err)
		case refusal != nil && cost == 1:
			a.refusals.Add(1)
		case err == nil && refusal == nil:
			a.forwarded.Add(cost)
			a.flying.Add(cost)
		}
	}) {
		return false
	}
	if err != nil || refusal != nil {
		return true
	}
	return step(func() {
		a.flying.Add(-cost)
		switch r.IntN(10) {
		case 0:
			a.refunded.Add(cost)
			ticket.Settle(gate.Answer{Status: 500})
		case 1:
			ticket.Settle(gate.Answer{Gone: true})
		default:
			a.answered.Add(cost)
			ticket.Settle(gate.Answer{Status: 200})
			a.settled.Add(cost)
		}
		ticket.Release()
	})
}
