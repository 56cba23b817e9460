// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"time"

	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
)

// A Window is one limit and its state, as header fields and problems show it.
type Window struct {
	Name      string // "second", "minute-2", "90s", "quota"
	Quota     bool   // else a rate
	Unit      string
	Scope     plan.Scope
	Limit     int64 // the burst, or the quota
	Count     int64 // of a rate: how many units in each Length
	Used      int64
	Remaining int64         // never negative
	Length    time.Duration // Rate.Per, or the length of the quota's period
	Reset     time.Duration // until the bucket is full, or the period ends
	Ends      time.Time     // of a quota's period
}

// Windows appends the state of every limit that holds for the call: rates in
// the plan's order, then quotas. It is known after Admit, also for a refusal
// by a limit. Rates are as the call left them, quotas as they are until the
// call is settled, and then as its settlement left them.
func (t *Ticket) Windows(to []Window) []Window {
	if t.terms == nil {
		return to
	}
	now := t.gate.clock(t.now)
	for i := range t.terms.rates {
		r := &t.terms.rates[i]
		full := r.bucket.Full()
		if i < len(t.full) {
			full = t.full[i]
		}
		to = append(to, t.terms.rateWindow(i, full, now))
	}
	for i := range t.terms.quotas {
		q := &t.terms.quotas[i]
		to = append(to, q.window(t.usedOf(i), t.now))
	}
	return to
}

// usedOf returns what is used of quotas[i].
func (t *Ticket) usedOf(i int) int64 {
	at := t.terms.quotas[i].count
	switch {
	case i < len(t.quotaUsed):
		return t.quotaUsed[i]
	case at < len(t.holds):
		return usedIn(t.holds[at])
	}
	return t.terms.counts[at].counter.Read(t.now).Used()
}

// usedIn returns what is used in a hold's period, however much that is.
func usedIn(h meter.Hold) int64 { return meter.Unlimited - h.Remaining(meter.Unlimited) }

func (t *terms) rateWindow(i int, full, now int64) Window {
	r := &t.shownRates[i]
	left := limit.Remaining(t.rates[i].rate, full, now)
	return Window{
		Name: r.name, Unit: r.Unit, Scope: r.Scope,
		Limit: r.Burst, Count: r.Count, Used: r.Burst - left, Remaining: left,
		Length: r.Per, Reset: time.Duration(max(full-now, 0)),
	}
}

func (q *quotaTerm) window(used int64, now time.Time) Window {
	return Window{
		Name: q.name, Quota: true, Unit: q.Unit, Scope: q.Scope,
		Limit: q.Limit, Used: used, Remaining: max(q.Limit-used, 0),
		Length: q.period.End.Sub(q.period.Start), Reset: max(q.period.End.Sub(now), 0), Ends: q.period.End,
	}
}

// PolicyField is the value of RateLimit-Policy: made once per key and route, not
// per call. "" where no limit counts requests.
func (t *Ticket) PolicyField() string {
	if t.terms == nil {
		return ""
	}
	return t.terms.policies
}
