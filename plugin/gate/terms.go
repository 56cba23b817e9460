// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/usage"
)

// terms are what a key's calls of one route spend. They are worked out once.
// What a decision reads stands together; what is only shown stands apart.
type terms struct {
	route    *plan.Route
	denied   Reason // scope or route of the plan; "" where the key may call it
	cost     int64
	rates    []rateTerm
	flights  []flightTerm
	counts   []countTerm
	quotas   []quotaTerm
	unit     string
	policies string // the value of RateLimit-Policy

	shownRates []shownRate // of each rate
}

type rateTerm struct {
	bucket *limit.Bucket
	rate   limit.Rate
	cost   int64
}

type shownRate struct {
	plan.Rate
	from string
	name string
}

type flightTerm struct {
	inFlight *limit.InFlight
	held[plan.Concurrency]
}

// countTerm is one counter that a call moves.
type countTerm struct {
	counter      *meter.Counter
	n            int64
	quota, bound int64 // meter.Unlimited where no quota names it
	settled      bool  // n follows the usage that the answer tells
}

type quotaTerm struct {
	count int // index of its counter in counts
	plan.Quota
	from   string
	name   string
	period usage.Period
}

// spend is how many units of what a call spends.
type spend struct {
	unit    string
	n       int64
	settled bool
}

// spendsOf returns what a call of a route spends: its cost in its unit, and one
// request where that is another unit.
func spendsOf(route *plan.Route) []spend {
	unit := cmp.Or(route.Unit, plan.Requests)
	spends := []spend{{unit, max(route.Cost.Units, 0), route.FromAnswer()}}
	if unit != plan.Requests {
		spends = append(spends, spend{plan.Requests, 1, false})
	}
	return spends
}

func newTerms(g *Gate, e *entry, route *plan.Route, spends []spend, now time.Time) *terms {
	t := &terms{route: route, unit: spends[0].unit, cost: spends[0].n}
	g.units.see(t.unit)
	switch {
	case e.fault != nil:
		return t
	case route.Scope != "" && (!e.key.HasScope(route.Scope) || !e.plan.AllowsScope(route.Scope)):
		t.denied = InsufficientScope
	case !e.plan.AllowsRoute(route.Name):
		t.denied = RouteNotInPlan
	}
	t.addRates(g, e, spends)
	for _, c := range e.limits.concurrency {
		owner := e.owner(c.limit.Scope)
		t.flights = append(t.flights, flightTerm{g.limiter.HoldInFlight(owner), c})
		e.held.inFlight = append(e.held.inFlight, owner)
	}
	t.addCounts(g, e, spends, now)
	t.policies = t.policyField()
	return t
}

// addRates holds the buckets of the rates that the spends concern: the plan's
// or what overrides it, then the route's own.
func (t *terms) addRates(g *Gate, e *entry, spends []spend) {
	all := slices.Clone(e.limits.rates)
	for _, r := range t.route.Rates {
		if r.Count != plan.Unlimited {
			complete(&r)
			all = append(all, held[plan.Rate]{r, "route " + t.route.Name})
		}
	}
	seen, names := map[limit.ID]int{}, namer{}
	for i, r := range all {
		id := limit.ID{Owner: e.owner(r.limit.Scope), Unit: r.limit.Unit, Per: r.limit.Per}
		if i >= len(e.limits.rates) {
			id.Route = t.route.Name
		}
		seen[id]++
		id.Nth = seen[id] - 1
		for _, s := range spends {
			if s.unit == r.limit.Unit {
				t.rates = append(t.rates, rateTerm{bucket: g.limiter.Hold(id), rate: limit.New(r.limit), cost: s.n})
				t.shownRates = append(t.shownRates, shownRate{r.limit, r.from, names.next(r.limit.Unit, plan.FormatPer(r.limit.Per))})
				e.held.buckets = append(e.held.buckets, id)
			}
		}
	}
}

// addCounts names the counters that a call moves: of the key and of its
// customer, the calls and the units in the customer's months, and the units
// again in the hours and days that a quota names. Those with a quota come first.
func (t *terms) addCounts(g *Gate, e *entry, spends []spend, now time.Time) {
	names := namer{}
	for _, q := range e.limits.quotas {
		kind := meter.OfKey
		if q.limit.Scope == plan.PerCustomer {
			kind = meter.OfCustomer
		}
		for _, s := range spends {
			if s.unit == q.limit.Unit {
				t.addQuota(g, names, q, e.counter(kind, s.unit, e.calendar(q.limit.Span)), s, now)
			}
		}
	}
	for _, kind := range []meter.Kind{meter.OfKey, meter.OfCustomer} {
		t.addCount(g, e.counter(kind, meter.Calls, e.month), spend{meter.Calls, 1, false})
		for _, s := range spends {
			t.addCount(g, e.counter(kind, s.unit, e.month), s)
		}
	}
}

func (t *terms) addQuota(g *Gate, names namer, q held[plan.Quota], id meter.ID, s spend, now time.Time) {
	at := t.addCount(g, id, s)
	c := &t.counts[at]
	c.quota, c.bound = min(c.quota, q.limit.Limit), min(c.bound, q.limit.Bound())
	t.quotas = append(t.quotas, quotaTerm{
		Quota: q.limit, from: q.from, name: names.next(q.limit.Unit, "quota"), count: at, period: id.Calendar.At(now),
	})
}

// addCount returns the index of a counter, which is there once.
func (t *terms) addCount(g *Gate, id meter.ID, s spend) int {
	counter := g.o.Meter.Counter(id)
	at := slices.IndexFunc(t.counts, func(c countTerm) bool { return c.counter == counter })
	if at < 0 {
		at = len(t.counts)
		t.counts = append(t.counts, countTerm{
			counter: counter, n: s.n, settled: s.settled, quota: meter.Unlimited, bound: meter.Unlimited,
		})
	}
	return at
}

// namer numbers the limits of one unit that share a name.
type namer map[[2]string]int

func (n namer) next(unit, name string) string {
	n[[2]string{unit, name}]++
	if nth := n[[2]string{unit, name}]; nth > 1 {
		return name + "-" + strconv.Itoa(nth)
	}
	return name
}

// policyField writes the limits in requests as RateLimit-Policy shows them.
// Source: draft-ietf-httpapi-ratelimit-headers-10.
func (t *terms) policyField() string {
	var b strings.Builder
	write := func(name string, quota int64, window time.Duration) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + name + `";q=` + strconv.FormatInt(quota, 10) + ";w=" + strconv.FormatInt(seconds(window), 10))
	}
	for i := range t.shownRates {
		if r := &t.shownRates[i]; r.Unit == plan.Requests {
			write(r.name, r.Burst, r.Per)
		}
	}
	for i := range t.quotas {
		if q := &t.quotas[i]; q.Unit == plan.Requests {
			write(q.name, q.Limit, q.period.End.Sub(q.period.Start))
		}
	}
	return b.String()
}

// seconds rounds up, to at least one.
func seconds(d time.Duration) int64 { return max(int64((d+time.Second-1)/time.Second), 1) }
