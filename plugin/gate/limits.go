// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
)

// limits are those that hold for one key, wherever they come from.
type limits struct {
	rates       []held[plan.Rate]
	concurrency []held[plan.Concurrency]
	quotas      []held[plan.Quota]
}

// held is a limit and what said it: "plan pro", "customer override", "key override".
type held[T any] struct {
	limit T
	from  string
}

const (
	fromKey      = "key override"
	fromCustomer = "customer override"
)

// limitsOf returns what holds for a key at now: each limit is the key's
// override, else the customer's, else that of a plan. of is the plan of the key
// (rates, concurrency, its own quotas), pooled that of its customer.
func limitsOf(k *apikey.Key, c *customer.Customer, of, pooled *plan.Plan, now time.Time) limits {
	l := limits{rates: from("plan "+of.ID, of.Rates)}
	if of.Concurrency.Limit > 0 {
		l.concurrency = from("plan "+of.ID, []plan.Concurrency{of.Concurrency})
	}
	for _, q := range from("plan "+of.ID, of.Quotas) {
		if q.limit.Scope != plan.PerCustomer {
			l.quotas = append(l.quotas, q)
		}
	}
	for _, q := range from("plan "+pooled.ID, pooled.Quotas) {
		if q.limit.Scope == plan.PerCustomer {
			l.quotas = append(l.quotas, q)
		}
	}
	if of == pooled {
		l.quotas = from("plan "+of.ID, of.Quotas)
	}
	if c.Overrides.InForce(now) {
		l.overrideByCustomer(c.Overrides)
	}
	if k.Overrides.InForce(now) {
		l.overrideByKey(k.Overrides)
	}
	l.normalize()
	if mayNotBill(k, c) {
		for i := range l.quotas {
			l.quotas[i].limit.Overage = plan.Block
		}
	}
	return l
}

// mayNotBill reports whether units past a quota could not be billed, so that
// the quota is the end: for test keys, which are never billed, and while a
// subscription is not active.
func mayNotBill(k *apikey.Key, c *customer.Customer) bool {
	return k.Mode == apikey.Test || c.Subscription != nil && !c.Subscription.BillsOverage()
}

func from[T any](what string, all []T) []held[T] {
	out := make([]held[T], len(all))
	for i, one := range all {
		out[i] = held[T]{limit: one, from: what}
	}
	return out
}

// overrideByCustomer replaces all rates, and the quotas of the override's unit
// (and scope, where it names one).
func (l *limits) overrideByCustomer(o plan.Overrides) {
	if o.Rates != nil {
		l.rates = from(fromCustomer, *o.Rates)
	}
	if o.Concurrency != nil {
		l.concurrency = from(fromCustomer, []plan.Concurrency{*o.Concurrency})
	}
	if o.Quota != nil {
		l.replaceQuota(*o.Quota, o.Quota.Scope, fromCustomer)
	}
}

// overrideByKey replaces what is per key: pooled limits stay the customer's.
func (l *limits) overrideByKey(o plan.Overrides) {
	if o.Rates != nil {
		own := from(fromKey, *o.Rates)
		for i := range own {
			own[i].limit.Scope = plan.PerKey
		}
		l.rates = append(own, pooledOnly(l.rates, func(r plan.Rate) plan.Scope { return r.Scope })...)
	}
	if o.Concurrency != nil {
		own := held[plan.Concurrency]{limit: plan.Concurrency{Limit: o.Concurrency.Limit, Scope: plan.PerKey}, from: fromKey}
		pooled := pooledOnly(l.concurrency, func(c plan.Concurrency) plan.Scope { return c.Scope })
		l.concurrency = append([]held[plan.Concurrency]{own}, pooled...)
	}
	if o.Quota != nil {
		l.replaceQuota(*o.Quota, plan.PerKey, fromKey)
	}
}

func pooledOnly[T any](all []held[T], scope func(T) plan.Scope) []held[T] {
	var out []held[T]
	for _, one := range all {
		if scope(one.limit) == plan.PerCustomer {
			out = append(out, one)
		}
	}
	return out
}

// replaceQuota puts q in the place of the first quota of its unit and scope (of
// any scope where scope is ""), and removes the others. What q leaves open it
// takes from the first.
func (l *limits) replaceQuota(q plan.Quota, scope plan.Scope, what string) {
	q.Unit = cmp.Or(q.Unit, plan.Requests)
	place, first := -1, plan.Quota{}
	var kept []held[plan.Quota]
	for _, other := range l.quotas {
		own := cmp.Or(other.limit.Scope, plan.PerKey)
		if cmp.Or(other.limit.Unit, plan.Requests) != q.Unit || scope != "" && own != scope {
			kept = append(kept, other)
		} else if place < 0 {
			place, first = len(kept), other.limit
		}
	}
	q.Scope = scope
	q = q.Inherit(first)
	if place < 0 {
		place = len(kept)
	}
	l.quotas = slices.Insert(kept, place, held[plan.Quota]{limit: q, from: what})
}

// normalize removes what limits nothing and fills in what was left open.
func (l *limits) normalize() {
	l.rates = slices.DeleteFunc(l.rates, func(r held[plan.Rate]) bool { return r.limit.Count == plan.Unlimited })
	l.quotas = slices.DeleteFunc(l.quotas, func(q held[plan.Quota]) bool { return q.limit.Limit == plan.Unlimited })
	l.concurrency = slices.DeleteFunc(l.concurrency, func(c held[plan.Concurrency]) bool { return c.limit.Limit <= 0 })
	for i := range l.rates {
		complete(&l.rates[i].limit)
	}
	for i := range l.quotas {
		q := &l.quotas[i].limit
		q.Unit, q.Scope = cmp.Or(q.Unit, plan.Requests), cmp.Or(q.Scope, plan.PerKey)
		q.Span, q.Overage = cmp.Or(q.Span, plan.Month), cmp.Or(q.Overage, plan.Block)
	}
	for i := range l.concurrency {
		c := &l.concurrency[i].limit
		c.Scope = cmp.Or(c.Scope, plan.PerKey)
	}
}

// complete fills in what a rate leaves open.
func complete(r *plan.Rate) {
	r.Unit, r.Scope = cmp.Or(r.Unit, plan.Requests), cmp.Or(r.Scope, plan.PerKey)
	r.Per, r.Burst = cmp.Or(r.Per, time.Second), cmp.Or(r.Burst, r.Count)
}

// nextChange returns the next moment after now at which something about a key
// may change without a write, given the time of its secret's end; the zero time
// if nothing does.
func nextChange(k *apikey.Key, c *customer.Customer, secretEnds time.Time, now time.Time) time.Time {
	var next time.Time
	ends := []time.Time{secretEnds, k.ExpiresAt, k.Overrides.Until, c.Overrides.Until, c.PlanOverride.Until}
	if c.Subscription != nil {
		ends = append(ends, c.Subscription.GraceUntil)
	}
	for _, end := range ends {
		next = sooner(next, end, now)
	}
	return next
}

// sooner returns the sooner of next (zero: never) and end, unless end is past.
func sooner(next, end, now time.Time) time.Time {
	if end.After(now) && (next.IsZero() || end.Before(next)) {
		return end
	}
	return next
}
