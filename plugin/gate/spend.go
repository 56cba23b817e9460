// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"math"
	"time"

	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
)

// concurrencyRetry is what a caller is told to wait who has too many requests
// in flight: nobody knows when one of them ends.
const concurrencyRetry = time.Second

// spend takes what the call costs from all rates, concurrency limits and
// quotas, or from none of them: what was taken before a refusal or a fault is
// given back in reverse. In shadow mode nothing refuses.
func (g *Gate) spend(ctx context.Context, t *Ticket) (*Refusal, error) {
	refusal := g.spendRates(t)
	if refusal == nil || t.shadow {
		refusal = first(refusal, t.enter())
	}
	var err error
	if refusal == nil || t.shadow {
		var full *Refusal
		full, err = g.reserve(ctx, t)
		refusal = first(refusal, full)
	}
	if err == nil && (refusal == nil || t.shadow) {
		t.admitted = true
		return refusal, nil
	}
	g.giveBack(t)
	if err != nil {
		return nil, err
	}
	return g.longest(t, refusal), nil
}

func first(a, b *Refusal) *Refusal {
	if a != nil {
		return a
	}
	return b
}

// spendRates spends the rates in the plan's order.
func (g *Gate) spendRates(t *Ticket) (refusal *Refusal) {
	now := g.clock(t.now)
	for i := range t.terms.rates {
		r := &t.terms.rates[i]
		d := r.bucket.Spend(r.rate, now, r.cost)
		t.full = append(t.full, d.Full)
		t.spent = append(t.spent, d.Allowed)
		if d.Allowed {
			continue
		}
		refusal = first(refusal, t.rateLimited(i, d))
		if !t.shadow {
			return refusal
		}
	}
	return refusal
}

// enter counts the call among those in flight.
func (t *Ticket) enter() (refusal *Refusal) {
	for i := range t.terms.flights {
		f := &t.terms.flights[i]
		most := f.limit.Limit
		if !f.inFlight.Enter(most) {
			refusal = first(refusal, &Refusal{Reason: ConcurrencyLimited, RetryAfter: concurrencyRetry, Limit: most})
			if !t.shadow {
				return refusal
			}
			f.inFlight.Enter(math.MaxInt64)
		}
		t.entered++
	}
	return refusal
}

// reserve takes the units of every counter. Those with a quota come first.
func (g *Gate) reserve(ctx context.Context, t *Ticket) (refusal *Refusal, err error) {
	for i := range t.terms.counts {
		c := &t.terms.counts[i]
		h, full, err := c.counter.Reserve(ctx, t.now, c.n, c.quota, c.bound)
		if full {
			refusal = first(refusal, t.overQuota(i))
			if !t.shadow {
				return refusal, nil
			}
			h, _, err = c.counter.Reserve(ctx, t.now, c.n, c.quota, meter.Unlimited)
		}
		if err != nil {
			return refusal, err
		}
		t.holds = append(t.holds, h)
	}
	return refusal, nil
}

// giveBack undoes what the call has taken, last first.
func (g *Gate) giveBack(t *Ticket) {
	for i := len(t.holds) - 1; i >= 0; i-- {
		t.holds[i].Cancel()
	}
	t.holds = t.holds[:0]
	for ; t.entered > 0; t.entered-- {
		t.terms.flights[t.entered-1].inFlight.Leave()
	}
	if len(t.full) == 0 {
		return
	}
	now := g.clock(g.o.Now())
	for i := len(t.full) - 1; i >= 0; i-- {
		if r := &t.terms.rates[i]; t.spent[i] {
			r.bucket.Undo(r.rate, now, r.cost, t.full[i])
		}
	}
	t.full, t.spent = t.full[:0], t.spent[:0]
}

// longest returns the refusal of the limit that will hold the call up the
// longest: who is out of quota is not told to come back in a second because a
// rate was asked first.
func (g *Gate) longest(t *Ticket, refusal *Refusal) *Refusal {
	now := g.clock(t.now)
	for i := range t.terms.rates {
		r := &t.terms.rates[i]
		d := limit.Spend(r.rate, r.bucket.Full(), now, r.cost)
		if !d.Allowed && d.RetryAfter > refusal.RetryAfter {
			refusal = t.rateLimited(i, d)
		}
	}
	for i := range t.terms.counts {
		c := &t.terms.counts[i]
		if c.bound == meter.Unlimited || c.counter.Read(t.now).Used()+c.n <= c.bound {
			continue
		}
		if over := t.overQuota(i); over.RetryAfter > refusal.RetryAfter {
			refusal = over
		}
	}
	return refusal
}

// rateLimited is the refusal of rates[i]. The reset it names is when the call
// would pass, not when the bucket is full.
func (t *Ticket) rateLimited(i int, d limit.Decision) *Refusal {
	w := t.terms.rateWindow(i, d.Full, t.gate.clock(t.now))
	w.Reset = d.RetryAfter
	return &Refusal{Reason: RateLimited, RetryAfter: d.RetryAfter, Violated: &w}
}

// overQuota is the refusal of the quota of counts[i] that has no room for the call.
func (t *Ticket) overQuota(i int) *Refusal {
	c := &t.terms.counts[i]
	at := -1
	for j := range t.terms.quotas {
		q := &t.terms.quotas[j]
		if q.count == i && (at < 0 || q.Bound() < t.terms.quotas[at].Bound()) {
			at = j
		}
	}
	reading := c.counter.Read(t.now)
	q := t.terms.quotas[at]
	if !reading.Period.End.IsZero() {
		q.period = reading.Period
	}
	w := q.window(reading.Used(), t.now)
	reason := QuotaExceeded
	if q.Overage == plan.Bill {
		reason = OverageLimitExceeded
	}
	return &Refusal{Reason: reason, RetryAfter: max(w.Reset, time.Second), Violated: &w, UpgradeURL: upgradeURL(t.entry)}
}
