// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
)

// An Answer is what became of an admitted call.
type Answer struct {
	Status  int   // of the upstream's answer; 0: no answer, see Gone
	Gone    bool  // the client hung up before there was an answer
	Units   int64 // used, of Route.Unit, where Known
	Known   bool  // the answer said how many units it used
	Pending bool  // the answer's own cost is still to come: Settle is called again
}

// Settle bills, refunds or keeps what was reserved, once; later calls change
// nothing. It reports what it did in Outcome and Usage.
//
// An answer that Route.Charges is billed: at its fixed cost or at what it says
// it used, the reserve where it says nothing. Another is refunded, as is a call
// that the upstream never answered. Who hangs up before there is an answer has
// used what was reserved, and is not billed. Rates are not refunded.
func (t *Ticket) Settle(a Answer) {
	charged := a.Status != 0 && t.Route != nil && t.Route.Charges(a.Status)
	if a.Pending && charged || t.settled.Swap(true) {
		return
	}
	if a.Status >= 500 || a.Status == 0 && !a.Gone {
		t.outcome = UpstreamError
	}
	if !t.admitted {
		return
	}
	if !charged && !a.Gone {
		t.outcome = UpstreamError
	}
	if charged {
		t.usage = t.used(a)
	} else if a.Gone {
		t.usage = t.terms.cost
	}
	t.keepUsed(charged || a.Gone)
	switch {
	case charged && !t.shadow:
		t.bill()
	case charged || a.Gone:
		t.keep()
	default:
		for _, h := range t.holds {
			h.Refund()
		}
	}
	t.tell(charged || a.Gone)
}

// used returns how many units an answer used: what was reserved where it does not say.
func (t *Ticket) used(a Answer) int64 {
	if a.Known && t.Route.FromAnswer() {
		return max(a.Units, 0)
	}
	return t.terms.cost
}

// due returns what counts[i] is to be settled at.
func (t *Ticket) due(i int) int64 {
	if c := &t.terms.counts[i]; !c.settled {
		return c.n
	}
	return t.usage
}

// keepUsed remembers what is used of the quotas once the call is settled: a
// settled hold cannot be asked.
func (t *Ticket) keepUsed(charged bool) {
	for i := range t.terms.quotas {
		at := t.terms.quotas[i].count
		used := usedIn(t.holds[at]) - t.terms.counts[at].n
		if charged {
			used += t.due(at)
		}
		t.quotaUsed = append(t.quotaUsed, max(used, 0))
	}
}

func (t *Ticket) bill() {
	for i, h := range t.holds {
		h.Bill(t.due(i))
	}
}

// keep counts what was used and bills nothing: in shadow mode, and where there
// was no answer.
func (t *Ticket) keep() {
	for i, h := range t.holds {
		h.Use(t.due(i))
	}
}

// tell books the call in the key's tally.
func (t *Ticket) tell(used bool) {
	count := meter.Count{Refunded: 1}
	if used {
		count = meter.Count{Requests: 1, Unit: t.terms.unit, Units: t.usage}
	}
	e := t.entry
	e.tally.Add(t.now, e.plan.ID, t.Route.Name, t.outcome, count)
	if used && t.terms.unit != plan.Requests {
		e.tally.Add(t.now, e.plan.ID, t.Route.Name, t.outcome, meter.Count{Unit: plan.Requests, Units: 1})
	}
}

// Release gives the concurrency slots back, once.
func (t *Ticket) Release() {
	if t.released.Swap(true) {
		return
	}
	for ; t.entered > 0; t.entered-- {
		t.terms.flights[t.entered-1].inFlight.Leave()
	}
}
