// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keytoll/keytoll/plugin/plan"
)

// Labels come from closed sets: what is beyond them is counted as otherLabel.
const (
	maxPlanLabels  = 20
	maxRouteLabels = 100
	otherLabel     = "_other"
	noPlan         = "none" // of who is not known
	noRoute        = "none" // of what no route matches, or was not looked at
)

// The metrics. Names and labels are a promise to dashboards and alerts.
var (
	requestsDesc  = prometheus.NewDesc("keytoll_requests_total", "Requests, by what became of them.", []string{"outcome", "plan", "route"}, nil)
	unitsDesc     = prometheus.NewDesc("keytoll_usage_units_total", "Units used by live keys.", []string{"unit", "plan"}, nil)
	decisionDesc  = prometheus.NewDesc("keytoll_decision_duration_seconds", "How long deciding a request took.", nil, nil)
	upstreamDesc  = prometheus.NewDesc("keytoll_upstream_duration_seconds", "How long the status line of the answer took to come.", []string{"route", "class"}, nil)
	inFlightDesc  = prometheus.NewDesc("keytoll_requests_in_flight", "Requests being answered.", nil, nil)
	keysDesc      = prometheus.NewDesc("keytoll_keys", "Keys in the store.", []string{"status", "plan"}, nil)
	customerDesc  = prometheus.NewDesc("keytoll_customer_requests_total", "Requests of the customers that were chosen.", []string{"customer", "outcome"}, nil)
	operationDesc = prometheus.NewDesc("keytoll_store_operation_duration_seconds", "How long the store took.", []string{"op"}, nil)
	errorsDesc    = prometheus.NewDesc("keytoll_store_errors_total", "What the store could not do.", []string{"op"}, nil)
	sizeDesc      = prometheus.NewDesc("keytoll_store_size_bytes", "How large the store is.", nil, nil)
	limitDesc     = prometheus.NewDesc("keytoll_store_limit_bytes", "How large the store can get: its size and the free space of its disk.", nil, nil)
	backupDesc    = prometheus.NewDesc("keytoll_backup_last_success_timestamp_seconds", "When a backup last succeeded.", nil, nil)
	adminDesc     = prometheus.NewDesc("keytoll_admin_requests_total", "Calls of the admin API.", []string{"surface", "route", "class"}, nil)
	stripeDesc    = prometheus.NewDesc("keytoll_stripe_enabled", "Whether Stripe is connected.", nil, nil)
	buildDesc     = prometheus.NewDesc("keytoll_build_info", "What is running.", []string{"version", "caddy", "goversion"}, nil)
)

// labels name one series.
type labels [3]string

// metrics are the numbers of one engine. They outlive reloads: each
// configuration's registry collects the same ones.
type metrics struct {
	engine   *engine
	tenants  tenants
	decision *histogram
	plans    atomic.Pointer[map[string]bool] // that have a label; replaced, never changed
	chosen   atomic.Pointer[chosen]          // nil where no customer has a label
	backedUp atomic.Int64                    // Unix seconds; 0: never

	mu       sync.Mutex // guards what follows
	routes   map[string]bool
	counters map[*prometheus.Desc]map[labels]*counter
	timers   map[*prometheus.Desc]map[labels]*histogram
	pageOf   http.Handler
}

func newMetrics(e *engine) *metrics {
	m := &metrics{
		engine:   e,
		decision: newHistogram(25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3),
		routes:   map[string]bool{},
		counters: map[*prometheus.Desc]map[labels]*counter{},
		timers:   map[*prometheus.Desc]map[labels]*histogram{},
	}
	m.plans.Store(&map[string]bool{})
	for _, op := range []string{"lookup", "count", "flush", "backup"} {
		m.counter(errorsDesc, labels{op}) // a rate over them starts at 0
	}
	return m
}

// register registers the metrics with one configuration's registry.
func (m *metrics) register(r *prometheus.Registry) error {
	err := r.Register(m)
	if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
		return nil
	}
	return err
}

// page serves the metrics of the engine alone.
func (m *metrics) page() http.Handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pageOf == nil {
		registry := prometheus.NewRegistry()
		registry.MustRegister(m)
		m.pageOf = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	}
	return m.pageOf
}

// counter returns the counter of that series: always the same one.
func (m *metrics) counter(of *prometheus.Desc, l labels) *counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counters[of] == nil {
		m.counters[of] = map[labels]*counter{}
	}
	c := m.counters[of][l]
	if c == nil {
		c = new(counter)
		m.counters[of][l] = c
	}
	return c
}

// timer returns the histogram of that series: always the same one.
func (m *metrics) timer(of *prometheus.Desc, l labels, bounds []float64) *histogram {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timers[of] == nil {
		m.timers[of] = map[labels]*histogram{}
	}
	h := m.timers[of][l]
	if h == nil {
		h = newHistogram(bounds...)
		m.timers[of][l] = h
	}
	return h
}

// planLabel returns the label of a plan: its id, as long as there are few.
func (m *metrics) planLabel(id string) string {
	known := *m.plans.Load()
	if known[id] || id == noPlan {
		return id
	}
	if len(known) >= maxPlanLabels {
		return otherLabel
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known = *m.plans.Load()
	if !known[id] && len(known) >= maxPlanLabels {
		return otherLabel
	}
	more := map[string]bool{id: true}
	for other := range known {
		more[other] = true
	}
	m.plans.Store(&more)
	return id
}

// routeLabel returns the label of a route: its name, as long as there are few.
func (m *metrics) routeLabel(r *plan.Route) string {
	if r == nil {
		return noRoute
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.routes[r.Name] {
		if len(m.routes) >= maxRouteLabels {
			return otherLabel
		}
		m.routes[r.Name] = true
	}
	return r.Name
}

// adminCall counts one call of the admin API by its route's pattern.
func (m *metrics) adminCall(pattern string, status int) {
	if pattern == "" {
		pattern = noRoute
	}
	m.counter(adminDesc, labels{"api", pattern, class(status)}).add(1)
}

// class returns the class of a status code.
func class(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requestsDesc, unitsDesc, decisionDesc, upstreamDesc, inFlightDesc, keysDesc, customerDesc, operationDesc,
		errorsDesc, sizeDesc, limitDesc, backupDesc, adminDesc, stripeDesc, buildDesc,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.collectSeries(to)
	count, sum, below := m.decision.read()
	to <- prometheus.MustNewConstHistogram(decisionDesc, count, sum, below)
	to <- gauge(inFlightDesc, float64(m.tenants.inFlight()))
	to <- gauge(stripeDesc, 0)
	to <- gauge(buildDesc, 1, version(), moduleVersion("github.com/caddyserver/caddy/v2"), goVersion())
	if at := m.backedUp.Load(); at > 0 {
		to <- gauge(backupDesc, float64(at))
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	m.collectStore(ctx, to)
}

// collectTime bounds how long a scrape waits for the store.
const collectTime = 2 * time.Second

// collectSeries sends all series that requests have made so far.
func (m *metrics) collectSeries(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for desc, series := range m.counters {
		for l, c := range series {
			to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(c.sum()), l.of(desc)...)
		}
	}
	for desc, series := range m.timers {
		for l, h := range series {
			count, sum, below := h.read()
			to <- prometheus.MustNewConstHistogram(desc, count, sum, below, l.of(desc)...)
		}
	}
}

// collectStore sends what the store knows, if it is open.
func (m *metrics) collectStore(ctx context.Context, to chan<- prometheus.Metric) {
	e := m.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.store == nil {
		return
	}
	if counts, err := e.store.Count(ctx); err == nil {
		for state, n := range counts.Keys {
			to <- gauge(keysDesc, float64(n), string(state), "_all")
		}
	}
	if e.size == nil {
		return
	}
	if size, limit, err := e.size(); err == nil {
		to <- gauge(sizeDesc, float64(size))
		to <- gauge(limitDesc, float64(limit))
	}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// of returns as many labels as desc has.
func (l labels) of(desc *prometheus.Desc) []string {
	switch desc {
	case requestsDesc, adminDesc:
		return l[:3]
	case operationDesc, errorsDesc:
		return l[:1]
	}
	return l[:2]
}

// version returns this module's version, as the build names it.
func version() string { return moduleVersion("github.com/keytoll/keytoll") }

func goVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.GoVersion
	}
	return "unknown"
}

func moduleVersion(path string) string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if b.Main.Path == path {
		return b.Main.Version
	}
	for _, dep := range b.Deps {
		if dep.Path == path {
			return dep.Version
		}
	}
	return "unknown"
}
