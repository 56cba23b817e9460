// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/memstore"
)

// house is a gate over real engines in memory, with a clock that only moves
// when told to.
type house struct {
	testing.TB
	store store.Engine
	meter *meter.Meter
	gate  *gate.Gate

	mu     sync.Mutex // guards the rest
	now    time.Time
	serial int
}

var noon = time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)

// route is what most calls here are made to.
var route = &plan.Route{Name: plan.DefaultRoute, Cost: plan.Cost{Units: 1}}

func newHouse(t testing.TB, plans ...plan.Plan) *house {
	t.Helper()
	h := &house{TB: t, store: memstore.New(), now: noon}
	h.open()
	h.apply(plans...)
	t.Cleanup(func() {
		h.close()
		h.store.Close()
	})
	return h
}

func (h *house) open() {
	h.Helper()
	ctx := context.Background()
	var err error
	h.meter, err = meter.Open(ctx, meter.Options{Journal: h.store, Ledger: h.store, Node: "one", Now: h.clock})
	h.must(err)
	h.gate, err = gate.New(ctx, gate.Options{Directory: h.store, Journal: h.store, Meter: h.meter, Now: h.clock})
	h.must(err)
}

func (h *house) close() {
	h.Helper()
	h.must(h.gate.Close(context.Background()))
	h.must(h.meter.Close(context.Background()))
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// apply puts plans in force; the first is the default one.
func (h *house) apply(plans ...plan.Plan) {
	h.Helper()
	s := gate.Settings{Plans: plans, UpgradeURL: "https://example.com/pricing?c={customer}"}
	if len(plans) > 0 {
		s.DefaultPlan = plans[0].ID
	}
	_, err := h.gate.Apply(context.Background(), s)
	h.must(err)
}

// caller is somebody with a secret.
type caller struct {
	*house
	secret   string
	key      apikey.Key
	customer customer.Customer
	ip       string
}

// customer makes a customer.
func (h *house) customer(edit ...func(*customer.Customer)) customer.Customer {
	h.Helper()
	h.serial++
	c := customer.Customer{ID: fmt.Sprintf("cust_%04d", h.serial), CreatedAt: h.clock()}
	for _, fn := range edit {
		fn(&c)
	}
	_, err := h.store.Write(context.Background(), store.Mutations{Customers: []customer.Customer{c}})
	h.must(err)
	c, err = h.store.Customer(context.Background(), store.CustomerRef{ID: c.ID})
	h.must(err)
	return c
}

// of makes a key of a customer.
func (h *house) of(c customer.Customer, edit ...func(*apikey.Key)) *caller {
	h.Helper()
	h.serial++
	secret := fmt.Sprintf("imported-secret-%04d", h.serial)
	k := apikey.Key{
		ID: fmt.Sprintf("key_%04d", h.serial), Customer: c.ID, Mode: apikey.Live, State: apikey.Active,
		Secrets: []apikey.HeldSecret{{Hash: apikey.Secret(secret).Hash()}}, CreatedAt: h.clock(),
	}
	for _, fn := range edit {
		fn(&k)
	}
	_, err := h.store.Write(context.Background(), store.Mutations{Keys: []apikey.Key{k}})
	h.must(err)
	k, err = h.store.Key(context.Background(), k.ID)
	h.must(err)
	return &caller{house: h, secret: secret, key: k, customer: c, ip: "192.0.2.7"}
}

// caller makes a key of a new customer.
func (h *house) caller(edit ...func(*apikey.Key)) *caller {
	h.Helper()
	return h.of(h.customer(), edit...)
}

// call is a call of the caller to a route.
func (c *caller) call(to *plan.Route) *gate.Call {
	return &gate.Call{
		Secret: c.secret, Route: to, ClientIP: netip.MustParseAddr(c.ip), Now: c.clock(), Method: "GET", Path: "/x",
		RequestID: func() string { return "request" },
	}
}

// try admits one call to a route and leaves it in flight.
func (c *caller) try(to *plan.Route) (*gate.Ticket, *gate.Refusal) {
	c.Helper()
	t := &gate.Ticket{}
	refusal, err := c.gate.Admit(context.Background(), c.call(to), t)
	c.must(err)
	return t, refusal
}

// do makes one call from beginning to end, answered by status.
func (c *caller) do(to *plan.Route, status int) *gate.Refusal {
	c.Helper()
	t, refusal := c.try(to)
	if refusal == nil {
		t.Settle(gate.Answer{Status: status})
		t.Release()
	}
	return refusal
}

// admitted makes calls until one is refused, at most so many.
func (c *caller) admitted(most int) (n int, refusal *gate.Refusal) {
	c.Helper()
	for n < most {
		if refusal = c.do(route, 200); refusal != nil {
			return n, refusal
		}
		n++
	}
	return n, nil
}

func (c *caller) wantRefused(to *plan.Route, reason gate.Reason) *gate.Refusal {
	c.Helper()
	refusal := c.do(to, 200)
	if refusal == nil || refusal.Reason != reason {
		c.Fatalf("got %+v, want %s", refusal, reason)
	}
	return refusal
}

func (c *caller) wantPassed(to *plan.Route) {
	c.Helper()
	if refusal := c.do(to, 200); refusal != nil {
		c.Fatalf("refused: %s", refusal.Reason)
	}
}

// usage is what the key has used.
func (c *caller) usage() *gate.UsageReport {
	c.Helper()
	r, err := c.gate.KeyUsage(context.Background(), c.key.ID)
	c.must(err)
	return r
}

// edit changes the key's record.
func (c *caller) edit(fn func(*apikey.Key)) {
	c.Helper()
	k, err := c.store.Key(context.Background(), c.key.ID)
	c.must(err)
	fn(&k)
	_, err = c.store.Write(context.Background(), store.Mutations{Keys: []apikey.Key{k}})
	c.must(err)
}

// editCustomer changes the record of the key's customer.
func (c *caller) editCustomer(fn func(*customer.Customer)) {
	c.Helper()
	r, err := c.store.Customer(context.Background(), store.CustomerRef{ID: c.customer.ID})
	c.must(err)
	fn(&r)
	_, err = c.store.Write(context.Background(), store.Mutations{Customers: []customer.Customer{r}})
	c.must(err)
}

func rate(count int64, per time.Duration, burst int64, scope plan.Scope) plan.Rate {
	return plan.Rate{Unit: plan.Requests, Count: count, Per: per, Burst: burst, Scope: scope}
}

func quota(limit int64, scope plan.Scope) plan.Quota {
	return plan.Quota{Unit: plan.Requests, Limit: limit, Span: plan.Month, Scope: scope, Overage: plan.Block}
}

func quotas(all ...plan.Quota) plan.Plan { return plan.Plan{ID: "free", Quotas: all} }
