// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// outcomes are all that can become of a request, in no order that matters.
var outcomes = []string{
	gate.Allowed, gate.UpstreamError,
	string(gate.MissingKey), string(gate.InvalidKey), string(gate.ExpiredKey), string(gate.AmbiguousKey),
	string(gate.TooManyAttempts), string(gate.InsufficientScope), string(gate.RouteNotInPlan), string(gate.IPNotAllowed),
	string(gate.PaymentRequired), string(gate.RateLimited), string(gate.ConcurrencyLimited), string(gate.QuotaExceeded),
	string(gate.OverageLimitExceeded), string(gate.UnknownRoute), string(gate.AmbiguousPath), string(gate.UpgradeRefused),
	string(gate.MethodNotAllowed), string(gate.Unavailable),
}

const maxOutcomes = 24

// outcomeIndex is where an outcome's counter is; the last one is of all others.
var outcomeIndex = func() map[string]int {
	index := make(map[string]int, len(outcomes))
	for i, outcome := range outcomes {
		index[outcome] = i
	}
	return index
}()

// handlerSeries are the series of one handler's routes. It is only read.
type handlerSeries struct {
	byRoute map[*plan.Route]*routeSeries
	none    *routeSeries // of no route
}

// handler returns the series of a handler with these routes.
func (m *metrics) handler(routes []*plan.Route) *handlerSeries {
	h := &handlerSeries{byRoute: make(map[*plan.Route]*routeSeries, len(routes)), none: m.route(nil)}
	for _, r := range routes {
		h.byRoute[r] = m.route(r)
	}
	return h
}

// of returns the series of a route; nil is that of no route.
func (h *handlerSeries) of(r *plan.Route) *routeSeries {
	if s, ok := h.byRoute[r]; ok {
		return s
	}
	return h.none
}

// routeSeries are the series of one route by plan.
type routeSeries struct {
	metrics *metrics
	route   string // label
	unit    string
	classes [6]atomic.Pointer[histogram]           // of the upstream's times, by class
	plans   atomic.Pointer[map[string]*planSeries] // by label; replaced, never changed
	mu      sync.Mutex                             // orders replacing it
}

func (m *metrics) route(r *plan.Route) *routeSeries {
	s := &routeSeries{metrics: m, route: m.routeLabel(r), unit: plan.Requests}
	if r != nil && r.Unit != "" {
		s.unit = r.Unit
	}
	s.plans.Store(&map[string]*planSeries{})
	return s
}

// of returns the series of a plan.
func (s *routeSeries) of(planID string) *planSeries {
	if found := (*s.plans.Load())[planID]; found != nil {
		return found
	}
	label := s.metrics.planLabel(planID)
	if found := (*s.plans.Load())[label]; found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.plans.Load()
	if found := known[label]; found != nil {
		return found
	}
	made := &planSeries{metrics: s.metrics, plan: label, route: s.route, unit: s.unit}
	more := maps.Clone(known)
	more[label] = made
	s.plans.Store(&more)
	return made
}

// planSeries are the series of one route and one plan. Each is made when it is
// first needed.
type planSeries struct {
	metrics           *metrics
	plan, route, unit string
	outcomes          [maxOutcomes]atomic.Pointer[counter]
	units             atomic.Pointer[counter]
}

// count counts one request that ended so.
func (s *planSeries) count(outcome string) {
	i, ok := outcomeIndex[outcome]
	if !ok {
		i, outcome = maxOutcomes-1, otherLabel
	}
	c := s.outcomes[i].Load()
	if c == nil {
		c = s.metrics.counter(requestsDesc, labels{outcome, s.plan, s.route})
		s.outcomes[i].Store(c)
	}
	c.add(1)
}

// use counts units that were used.
func (s *planSeries) use(units int64) {
	if units <= 0 {
		return
	}
	c := s.units.Load()
	if c == nil {
		c = s.metrics.counter(unitsDesc, labels{s.unit, s.plan})
		s.units.Store(c)
	}
	c.add(uint64(units))
}

// upstreamBounds are those of the upstream's times.
var upstreamBounds = []float64{5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30}

// answered counts how long the status line of an answer took to come.
func (s *routeSeries) answered(status int, took time.Duration) {
	i := min(max(status/100, 0), len(s.classes)-1)
	h := s.classes[i].Load()
	if h == nil {
		h = s.metrics.timer(upstreamDesc, labels{s.route, class(status)}, upstreamBounds)
		s.classes[i].Store(h)
	}
	h.observe(took)
}

// tenants are the tenancies of an engine.
type tenants struct {
	mu  sync.Mutex // guards all
	all map[*tenancy]bool
}

func (t *tenants) add(one *tenancy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[*tenancy]bool{}
	}
	t.all[one] = true
}

func (t *tenants) remove(one *tenancy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, one)
}

// inFlight returns how many requests are being answered.
func (t *tenants) inFlight() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for one := range t.all {
		n += one.requests()
	}
	return n
}
