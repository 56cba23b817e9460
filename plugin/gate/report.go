// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// A UsageReport is what a key, or a customer's keys of one mode, have used in
// the month that now is in. Its JSON is the answer of the API.
type UsageReport struct {
	Key      string           `json:"key,omitempty"`      // id; of a key's report
	Customer string           `json:"customer,omitempty"` // id; of a customer's report
	Period   ReportedPeriod   `json:"period"`
	Requests int64            `json:"requests"` // admitted and not refunded
	Units    map[string]int64 `json:"units"`    // used, by unit; requests is always there
	Refused  int64            `json:"refused"`  // requests refused by us
	Quotas   []ReportedQuota  `json:"quotas"`   // that hold, in the plan's order
	Quota    *ReportedQuota   `json:"quota"`    // the first of Quotas; null where there is none
}

// A ReportedPeriod is half-open: [Start, End), in UTC.
type ReportedPeriod struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// A ReportedQuota is a quota and its state.
type ReportedQuota struct {
	Unit      string     `json:"unit"`
	Scope     plan.Scope `json:"scope"`
	Span      plan.Span  `json:"period"`
	Limit     int64      `json:"limit"`
	Used      int64      `json:"used"`
	Remaining int64      `json:"remaining"` // never negative
	Over      int64      `json:"over"`      // billed past the quota in force
	ResetsAt  time.Time  `json:"resets_at"`
}

// KeyUsage reports what the key of that id has used, exact at the time of
// asking. Errors: store.ErrNotFound, or a fault.
func (g *Gate) KeyUsage(ctx context.Context, id string) (*UsageReport, error) {
	k, err := g.o.Directory.Key(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", id, err)
	}
	c, err := g.o.Directory.Customer(ctx, store.CustomerRef{ID: k.Customer})
	if err != nil {
		return nil, fmt.Errorf("reading customer %s: %w", k.Customer, err)
	}
	r := &UsageReport{Key: id}
	return r, g.report(ctx, r, meter.OfKey, &k, &c)
}

// CustomerUsage reports what the customer's keys of one mode have used
// together, exact at the time of asking. Its quotas are the pooled ones.
// Errors: store.ErrNotFound, or a fault.
func (g *Gate) CustomerUsage(ctx context.Context, id string, mode apikey.Mode) (*UsageReport, error) {
	c, err := g.o.Directory.Customer(ctx, store.CustomerRef{ID: id})
	if err != nil {
		return nil, fmt.Errorf("reading customer %s: %w", id, err)
	}
	r := &UsageReport{Customer: id}
	return r, g.report(ctx, r, meter.OfCustomer, &apikey.Key{Customer: id, Mode: mode}, &c)
}

// report reads the counters of k, or of its customer, into r.
func (g *Gate) report(ctx context.Context, r *UsageReport, kind meter.Kind, k *apikey.Key, c *customer.Customer) error {
	now := g.o.Now()
	e := &entry{key: *k, customer: *c, month: Calendar(c, now)}
	rules, err := g.current(ctx)
	if err != nil {
		return err
	}
	if of, pooled, _, ok := rules.plansOf(k, c, now); ok {
		e.limits = limitsOf(k, c, of.Plan, pooled.Plan, now)
	}
	calls, err := g.peek(ctx, e.counter(kind, meter.Calls, e.month), now)
	if err != nil {
		return err
	}
	r.Period = ReportedPeriod{Start: calls.Period.Start, End: calls.Period.End}
	r.Requests, r.Refused, r.Units, r.Quotas = calls.Used(), calls.Refused, map[string]int64{}, []ReportedQuota{}
	if err := g.reportUnits(ctx, r, e, kind, now); err != nil {
		return err
	}
	for _, q := range e.limits.quotas {
		of := meter.OfKey
		if q.limit.Scope == plan.PerCustomer {
			of = meter.OfCustomer
		}
		if kind == meter.OfCustomer && of != kind {
			continue
		}
		reading, err := g.peek(ctx, e.counter(of, q.limit.Unit, e.calendar(q.limit.Span)), now)
		if err != nil {
			return err
		}
		r.Quotas = append(r.Quotas, ReportedQuota{
			Unit: q.limit.Unit, Scope: q.limit.Scope, Span: q.limit.Span,
			Limit: q.limit.Limit, Used: reading.Used(), Remaining: max(q.limit.Limit-reading.Used(), 0),
			Over: reading.Over, ResetsAt: reading.Period.End,
		})
	}
	if len(r.Quotas) > 0 {
		r.Quota = &r.Quotas[0]
	}
	return nil
}

// reportUnits reads what was used of each unit that any route has metered.
func (g *Gate) reportUnits(ctx context.Context, r *UsageReport, e *entry, kind meter.Kind, now time.Time) error {
	for _, unit := range g.units.all() {
		reading, err := g.peek(ctx, e.counter(kind, unit, e.month), now)
		if err != nil {
			return err
		}
		if unit == plan.Requests || reading.Used() > 0 {
			r.Units[unit] = reading.Used()
		}
	}
	return nil
}

// peek reads a counter in the period that now is in.
func (g *Gate) peek(ctx context.Context, id meter.ID, now time.Time) (meter.Reading, error) {
	reading, err := g.o.Meter.Peek(ctx, id, id.Calendar.Ordinal(now))
	if err != nil {
		return reading, fmt.Errorf("reading a counter: %w", err)
	}
	return reading, nil
}
