// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// Subject names the key to explain, by its id or by the hash of its secret.
type Subject struct {
	Key   string
	Hash  apikey.Hash // where Key is ""
	Route *plan.Route // nil: the default route
}

// An Explanation tells how a call would be decided now and why. Nothing is
// spent by asking. Its JSON is the answer of the API.
type Explanation struct {
	Key        string           `json:"key"`
	Customer   string           `json:"customer"`
	Plan       string           `json:"plan"`      // that decides rates, scopes and routes
	PlanFrom   string           `json:"plan_from"` // key, override, stripe, customer, default
	Pooled     string           `json:"pooled_plan"`
	PooledFrom string           `json:"pooled_plan_from"`
	Route      string           `json:"route"`
	Admitted   bool             `json:"admitted"` // whether a call would pass now
	Code       Reason           `json:"code,omitempty"`
	Checks     []ExplainedCheck `json:"checks"` // in the order they are made
	Limits     []ExplainedLimit `json:"limits"`
}

// An ExplainedCheck is one step of a decision.
type ExplainedCheck struct {
	Check  string `json:"check"`
	Pass   bool   `json:"pass"`
	Detail string `json:"detail,omitempty"`
}

// An ExplainedLimit is one limit, where it comes from, and its state.
type ExplainedLimit struct {
	Kind      string     `json:"kind"`           // rate, concurrency, quota
	Name      string     `json:"name,omitempty"` // as in RateLimit-Policy
	Unit      string     `json:"unit,omitempty"`
	Scope     plan.Scope `json:"scope"`
	From      string     `json:"from"`  // "key override", "customer override", "plan pro", "route chat"
	Limit     int64      `json:"limit"` // the burst of a rate, the quota, or how many at once
	Count     int64      `json:"count,omitempty"`
	Per       string     `json:"per,omitempty"`    // of a rate
	Period    plan.Span  `json:"period,omitempty"` // of a quota
	Max       *int64     `json:"max,omitempty"`    // units past a quota that are billed
	Used      int64      `json:"used"`
	Remaining int64      `json:"remaining"`
	Billed    *int64     `json:"billed,omitempty"` // units of a quota that were billed in its period
	ResetsAt  *time.Time `json:"resets_at,omitempty"`
}

// Explain tells how a call of that key would be decided now. Errors:
// store.ErrNotFound, or a fault.
func (g *Gate) Explain(ctx context.Context, s Subject) (*Explanation, error) {
	m, hash, err := g.subject(ctx, s)
	if err != nil {
		return nil, err
	}
	rules, err := g.current(ctx)
	if err != nil {
		return nil, err
	}
	now := g.o.Now()
	route := s.Route
	if route == nil {
		route = &plan.Route{Name: plan.DefaultRoute, Cost: plan.Cost{Units: 1}}
	}
	e := g.compile(rules, hash, m, now)
	x := &Explanation{
		Key: e.key.ID, Customer: e.customer.ID, Route: route.Name, Admitted: true,
		Checks: []ExplainedCheck{}, Limits: []ExplainedLimit{},
	}
	t := newTerms(g, e, route, spendsAnd(route, &e.limits), now)
	x.check("key", e.closed != InvalidKey, InvalidKey, g.stateOf(e, now))
	x.check("expiry", e.closed != ExpiredKey, ExpiredKey, expiryOf(e))
	x.check("subscription", e.customer.MayCall(now, rules.settings.FallbackPlan), PaymentRequired, subscriptionOf(e))
	x.check("plan", e.fault == nil, Unavailable, planOf(e))
	if e.fault != nil {
		return x, nil
	}
	x.Plan, x.PlanFrom, x.Pooled, x.PooledFrom = e.plan.ID, e.plan.from, e.pooled.ID, e.pooled.from
	x.check("scope", t.denied != InsufficientScope, InsufficientScope, route.Scope)
	x.check("route", t.denied != RouteNotInPlan, RouteNotInPlan, route.Name)
	if n := len(e.key.AllowedIPs); n > 0 {
		x.Checks = append(x.Checks, ExplainedCheck{"ip", true, fmt.Sprintf("only from %v", e.key.AllowedIPs)})
	}
	g.explainLimits(x, t, now)
	return x, nil
}

// spendsAnd is spendsOf and no units of what else is limited, so that all limits
// of a key are shown.
func spendsAnd(route *plan.Route, l *limits) []spend {
	spends := spendsOf(route)
	see := func(unit string) {
		if !slices.ContainsFunc(spends, func(s spend) bool { return s.unit == unit }) {
			spends = append(spends, spend{unit: unit})
		}
	}
	for _, r := range l.rates {
		see(r.limit.Unit)
	}
	for _, q := range l.quotas {
		see(q.limit.Unit)
	}
	return spends
}

// subject reads the key and the hash to explain it by: its newest secret's.
func (g *Gate) subject(ctx context.Context, s Subject) (*store.Match, apikey.Hash, error) {
	if s.Key == "" {
		found, err := g.o.Directory.Lookup(ctx, []apikey.Hash{s.Hash})
		if err == nil && !found[0].Found {
			err = store.ErrNotFound
		}
		if err != nil {
			return nil, s.Hash, fmt.Errorf("looking a key up: %w", err)
		}
		return &found[0], s.Hash, nil
	}
	k, err := g.o.Directory.Key(ctx, s.Key)
	if err != nil {
		return nil, s.Hash, fmt.Errorf("reading key %s: %w", s.Key, err)
	}
	c, err := g.o.Directory.Customer(ctx, store.CustomerRef{ID: k.Customer})
	if err != nil {
		return nil, s.Hash, fmt.Errorf("reading customer %s: %w", k.Customer, err)
	}
	m := &store.Match{Found: true, Key: k, Customer: c}
	if len(k.Secrets) > 0 {
		return m, k.Secrets[0].Hash, nil
	}
	return m, s.Hash, nil
}

// check appends a step; the first that fails decides.
func (x *Explanation) check(name string, pass bool, code Reason, detail string) {
	x.Checks = append(x.Checks, ExplainedCheck{name, pass, detail})
	if !pass && x.Admitted {
		x.Admitted, x.Code = false, code
	}
}

func (g *Gate) stateOf(e *entry, now time.Time) string {
	if e.key.State == apikey.Active && !e.key.Opens(e.hash, now) {
		return "this secret was replaced"
	}
	return string(e.key.State)
}

func expiryOf(e *entry) string {
	if e.key.ExpiresAt.IsZero() {
		return "never"
	}
	return e.key.ExpiresAt.UTC().Format(time.RFC3339)
}

func subscriptionOf(e *entry) string {
	s := e.customer.Subscription
	switch {
	case s == nil:
		return "none"
	case !s.GraceUntil.IsZero():
		return string(s.Status) + ", grace until " + s.GraceUntil.UTC().Format(time.RFC3339)
	}
	return string(s.Status)
}

func planOf(e *entry) string {
	switch {
	case e.fault != nil:
		return "no plan is known, and there is no default plan"
	case e.plan.Plan == e.pooled.Plan:
		return e.plan.ID + " (" + e.plan.from + ")"
	}
	return e.plan.ID + " (" + e.plan.from + "), pooled quotas: " + e.pooled.ID + " (" + e.pooled.from + ")"
}

// explainLimits appends every limit and whether it has room for a call.
func (g *Gate) explainLimits(x *Explanation, t *terms, now time.Time) {
	clock := g.clock(now)
	for i := range t.rates {
		r, shown := &t.rates[i], &t.shownRates[i]
		full := r.bucket.Full()
		w := t.rateWindow(i, full, clock)
		x.add(ExplainedLimit{Kind: "rate", From: shown.from, Count: shown.Count, Per: plan.FormatPer(shown.Per)}, w, now)
		x.check("rate "+named(w), limit.Spend(r.rate, full, clock, r.cost).Allowed, RateLimited, shown.from)
	}
	for i := range t.flights {
		f := &t.flights[i]
		n, most := f.inFlight.Count(), f.limit.Limit
		x.Limits = append(x.Limits, ExplainedLimit{
			Kind: "concurrency", Scope: f.limit.Scope, From: f.from,
			Limit: most, Used: n, Remaining: max(most-n, 0),
		})
		x.check("concurrency", n < most, ConcurrencyLimited, f.from)
	}
	for i := range t.quotas {
		q := &t.quotas[i]
		c := &t.counts[q.count]
		reading := c.counter.Read(now)
		l := ExplainedLimit{Kind: "quota", From: q.from, Period: q.Span, Billed: &reading.Billed}
		code := QuotaExceeded
		if q.Overage == plan.Bill {
			most := q.MaxOverage()
			l.Max, code = &most, OverageLimitExceeded
		}
		w := q.window(reading.Used(), now)
		x.add(l, w, now)
		x.check(named(w), reading.Used()+c.n <= q.Bound(), code, q.from)
	}
}

// named tells limits of different units apart.
func named(w Window) string {
	if w.Unit == plan.Requests {
		return w.Name
	}
	return w.Name + " of " + w.Unit
}

func (x *Explanation) add(l ExplainedLimit, w Window, now time.Time) {
	l.Name, l.Unit, l.Scope = w.Name, w.Unit, w.Scope
	l.Limit, l.Used, l.Remaining = w.Limit, w.Used, w.Remaining
	resets := w.Ends
	if !w.Quota {
		resets = now.Add(w.Reset)
	}
	resets = resets.UTC().Round(0)
	l.ResetsAt = &resets
	x.Limits = append(x.Limits, l)
}
