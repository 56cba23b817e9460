// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"crypto/rand"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

func (h *house) metrics() *prometheus.Registry {
	h.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := h.engine().metrics.register(registry); err != nil {
		h.t.Fatal(err)
	}
	return registry
}

func TestRequestsAreCountedByOutcomePlanAndRoute(t *testing.T) {
	h := open(t, blueprint{globals: refusalPlans, gate: refusalRoutes})
	good, _ := h.mint()
	small, _ := h.mint(onPlan("small"))
	for range 3 {
		h.call("GET", "/chat", bearerOf(good)...)
		h.call("GET", "/", bearerOf(small)...)
	}
	h.call("GET", "/")
	h.load(blueprint{globals: refusalPlans, gate: refusalRoutes, site: "header X-Other 1"})
	h.call("GET", "/chat", bearerOf(good)...)
	h.waitUntilIdle()
	registry := h.metrics()
	want := `# HELP keytoll_requests_total Requests, by what became of them.
# TYPE keytoll_requests_total counter
keytoll_requests_total{outcome="allowed",plan="open",route="chat"} 4
keytoll_requests_total{outcome="allowed",plan="small",route="default"} 2
keytoll_requests_total{outcome="missing_key",plan="none",route="default"} 1
keytoll_requests_total{outcome="quota_exceeded",plan="small",route="default"} 1
# HELP keytoll_requests_in_flight Requests being answered.
# TYPE keytoll_requests_in_flight gauge
keytoll_requests_in_flight 0
# HELP keytoll_usage_units_total Units used by live keys.
# TYPE keytoll_usage_units_total counter
keytoll_usage_units_total{plan="open",unit="requests"} 4
keytoll_usage_units_total{plan="small",unit="requests"} 2
# HELP keytoll_store_errors_total What the store could not do.
# TYPE keytoll_store_errors_total counter
keytoll_store_errors_total{op="backup"} 0
keytoll_store_errors_total{op="count"} 0
keytoll_store_errors_total{op="flush"} 0
keytoll_store_errors_total{op="lookup"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "keytoll_requests_total", "keytoll_requests_in_flight", "keytoll_usage_units_total", "keytoll_store_errors_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v, want nothing to complain of", problems, err)
	}
}

func TestCustomersHaveALabelOnlyWhereAskedFor(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	var busy, quiet string
	busyKey, _ := h.mint(func(c *customer.Customer, _ *apikey.Key) { busy = c.ID })
	quietKey, _ := h.mint(func(c *customer.Customer, _ *apikey.Key) { quiet = c.ID })
	calls := func() {
		for range 3 {
			h.call("GET", "/", bearerOf(busyKey)...)
		}
		h.call("GET", "/", bearerOf(quietKey)...)
		h.waitUntilIdle()
	}
	calls()
	if n, _ := testutil.GatherAndCount(h.metrics(), "keytoll_customer_requests_total"); n != 0 {
		t.Errorf("got %d series of customers, want 0 by default", n)
	}
	if err := h.engine().meter.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	const head = "# HELP keytoll_customer_requests_total Requests of the customers that were chosen.\n# TYPE keytoll_customer_requests_total counter\n"
	series := func(customer string, n int) string {
		return fmt.Sprintf("keytoll_customer_requests_total{customer=%q,outcome=\"allowed\"} %d\nkeytoll_customer_requests_total{customer=%q,outcome=\"denied\"} 0\n", customer, n, customer)
	}
	h.load(blueprint{globals: openPlan + "metrics {\n\t\t\ttop 1\n\t\t}"})
	calls()
	if err := testutil.GatherAndCompare(h.metrics(), strings.NewReader(head+series(otherLabel, 1)+series(busy, 3)), "keytoll_customer_requests_total"); err != nil {
		t.Error(err)
	}
	h.load(blueprint{globals: openPlan + "metrics {\n\t\t\tcustomers " + quiet + "\n\t\t}"})
	calls()
	want := head + series(otherLabel, 4) + series(busy, 3) + series(quiet, 1)
	if err := testutil.GatherAndCompare(h.metrics(), strings.NewReader(want), "keytoll_customer_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestTheNumberOfSeriesStaysConstant(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	m := h.engine().metrics
	series := func() int {
		n, err := testutil.GatherAndCount(h.metrics())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	routes := make([]*plan.Route, 0, 200)
	for i := range 200 {
		routes = append(routes, &plan.Route{Name: fmt.Sprintf("route%d", i)})
	}
	of := m.handler(routes)
	spend := func(i int) {
		p := fmt.Sprintf("plan-%d-%s", i, rand.Text())
		s := of.of(routes[i%len(routes)])
		s.of(p).count(gate.Allowed)
		s.of(p).count(rand.Text())
		s.of(p).use(1)
		s.answered(i%700, time.Millisecond)
		of.of(new(plan.Route)).of(p).count(gate.Allowed)
	}
	for i := range 5_000 {
		spend(i)
	}
	h.call("GET", "/", "X-API-Key", "warm")
	before := series()
	for i := range 10_000 {
		spend(i + 5_000)
	}
	for i := range 100 {
		h.call("GET", "/"+rand.Text(), "X-API-Key", rand.Text(), "X-Forwarded-Host", fmt.Sprint(i))
	}
	if after := series(); after != before && after != before+1 {
		t.Errorf("got %d series after random requests, want %d", after, before)
	}
	if n := len(*m.plans.Load()); n > maxPlanLabels {
		t.Errorf("got %d plan labels, want at most %d", n, maxPlanLabels)
	}
}

func TestNoMetricNamesASecretOrAKey(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, key := h.mint(func(c *customer.Customer, _ *apikey.Key) { c.Email = "who@example.com" })
	h.call("GET", "/private/path", bearerOf(secret)...)
	page := httptest.NewRecorder()
	h.engine().metrics.page().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	text := page.Body.String()
	for _, hidden := range []string{secret.Reveal(), key, "who@example.com", "/private"} {
		if strings.Contains(text, hidden) {
			t.Errorf("the metrics name %q", hidden)
		}
	}
	for _, name := range []string{
		"keytoll_decision_duration_seconds", "keytoll_upstream_duration_seconds", "keytoll_keys", "keytoll_store_size_bytes",
		"keytoll_store_limit_bytes", "keytoll_store_operation_duration_seconds", "keytoll_build_info",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("there is no %s", name)
		}
	}
}
