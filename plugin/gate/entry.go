// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// errNoPlan: neither the key nor its customer has a plan that anybody knows,
// and there is no default plan.
var errNoPlan = errors.New("no plan")

// entry is all that a decision needs to know of one secret, worked out once and
// good until validUntil, as long as nothing is written about it.
type entry struct {
	// What every decision reads stands first, in two cache lines.
	hash       apikey.Hash
	rules      *rules
	validUntil int64                 // Unix nanoseconds
	recent     atomic.Bool           // found since the cache last looked for a place
	dropped    atomic.Bool           // no longer in the cache
	closed     Reason                // why the key is refused whatever it calls; "" where it is not
	first      atomic.Pointer[terms] // on the first route that was called
	lastUsed   atomic.Int64          // Unix minutes
	tally      *meter.Tally
	plan       heldPlan
	fault      error // it cannot be decided: no plan

	key      apikey.Key
	customer customer.Customer

	pooled             heldPlan
	limits             limits
	month              usage.Calendar
	calls, pooledCalls *meter.Counter

	adding sync.Mutex // for writing first, others and held
	others atomic.Pointer[map[*plan.Route]*terms]
	held   *holdings
}

// holdings are what an entry holds of the limiter until nobody has it any more.
type holdings struct {
	limiter  *limit.Limiter
	buckets  []limit.ID
	inFlight []string
}

func (h *holdings) drop() {
	for _, id := range h.buckets {
		h.limiter.Drop(id)
	}
	for _, owner := range h.inFlight {
		h.limiter.DropInFlight(owner)
	}
}

// compile works out what holds at now for the secret of that hash.
func (g *Gate) compile(r *rules, h apikey.Hash, m *store.Match, now time.Time) *entry {
	e := &entry{hash: h, key: m.Key, customer: m.Customer, rules: r, held: &holdings{limiter: g.limiter}}
	runtime.AddCleanup(e, (*holdings).drop, e.held)
	k, c := &e.key, &e.customer
	of, pooled, unknown, ok := r.plansOf(k, c, now)
	for _, name := range unknown {
		g.tellUnknownPlan(name, k.ID)
	}
	e.month = Calendar(c, now)
	e.calls = g.o.Meter.Counter(e.counter(meter.OfKey, meter.Calls, e.month))
	e.pooledCalls = g.o.Meter.Counter(e.counter(meter.OfCustomer, meter.Calls, e.month))
	e.tally = g.o.Meter.Tally(k.ID, c.ID)
	if ok {
		e.plan, e.pooled = of, pooled
		e.limits = limitsOf(k, c, of.Plan, pooled.Plan, now)
	} else {
		e.fault = fmt.Errorf("deciding for key %s: %w", k.ID, errNoPlan)
		g.tellUnknownPlan("", k.ID)
	}
	e.closed = closedFor(k, c, h, r.settings.FallbackPlan, now)
	e.validUntil = math.MaxInt64
	if end := e.end(now); !end.IsZero() {
		e.validUntil = end.UnixNano()
	}
	return e
}

// closedFor returns why a key is refused whatever it calls, or "".
func closedFor(k *apikey.Key, c *customer.Customer, h apikey.Hash, fallback string, now time.Time) Reason {
	switch status := k.Status(now); {
	case status == apikey.StatusRevoked, status == apikey.StatusDisabled, !k.Opens(h, now):
		return InvalidKey
	case status == apikey.StatusExpired:
		return ExpiredKey
	case !c.MayCall(now, fallback):
		return PaymentRequired
	}
	return ""
}

// end returns the next moment at which the entry may say something else, by
// itself or by the end of a period that it shows the length of.
func (e *entry) end(now time.Time) time.Time {
	var secretEnds time.Time
	for _, s := range e.key.Secrets {
		if s.Hash == e.hash {
			secretEnds = s.EndsAt
		}
	}
	next := nextChange(&e.key, &e.customer, secretEnds, now)
	for _, q := range e.limits.quotas {
		next = sooner(next, e.calendar(q.limit.Span).At(now).End, now)
	}
	return next
}

// Calendar returns the calendar of a customer's months: that of its
// subscription while that gives access, else that of UTC.
func Calendar(c *customer.Customer, now time.Time) usage.Calendar {
	if s := c.Subscription; s != nil && s.Access(now) && !s.Anchor.IsZero() {
		return usage.MonthsFrom(s.Anchor)
	}
	return usage.Months
}

func (e *entry) calendar(s plan.Span) usage.Calendar {
	if s == plan.Month {
		return e.month
	}
	return usage.Calendar{Span: s}
}

// counter names a counter of the key or of its customer's keys of the same mode.
func (e *entry) counter(kind meter.Kind, unit string, in usage.Calendar) meter.ID {
	owner := meter.Owner{Kind: kind, ID: e.key.ID, Mode: e.key.Mode}
	if kind == meter.OfCustomer {
		owner.ID = e.customer.ID
	}
	return meter.ID{Owner: owner, Unit: unit, Calendar: in}
}

// owner names who shares a rate or a concurrency limit.
func (e *entry) owner(s plan.Scope) string {
	if s == plan.PerCustomer {
		return e.customer.ID + "/" + string(e.key.Mode)
	}
	return e.key.ID
}

// on returns the terms of the entry's key on a route, worked out at the first
// call. Those of the first route called are found without a map.
func (e *entry) on(ctx context.Context, g *Gate, route *plan.Route, now time.Time) *terms {
	if t := e.first.Load(); t != nil && t.route == route {
		return t
	}
	if others := e.others.Load(); others != nil {
		if t := (*others)[route]; t != nil {
			return t
		}
	}
	return e.add(ctx, g, route, now)
}

// add works out the terms on a route, and has their counters made ready
// together: the call is about to wait for each of them.
func (e *entry) add(ctx context.Context, g *Gate, route *plan.Route, now time.Time) *terms {
	e.adding.Lock()
	defer e.adding.Unlock()
	first, others := e.first.Load(), map[*plan.Route]*terms{}
	if first != nil && first.route == route {
		return first
	}
	if before := e.others.Load(); before != nil {
		if t := (*before)[route]; t != nil {
			return t
		}
		others = maps.Clone(*before)
	}
	t := newTerms(g, e, route, spendsOf(route), now)
	if t.denied == "" {
		for i := range t.counts {
			t.counts[i].counter.Prepare(ctx, now, t.counts[i].n, t.counts[i].bound)
		}
	}
	if first == nil {
		e.first.Store(t)
		return t
	}
	others[route] = t
	e.others.Store(&others)
	return t
}
