// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/boltstore"
)

// A house is a gate over a meter and a bbolt store, in this process, on a
// platter, so that the power can be cut.
type house struct {
	t       testing.TB
	platter *platter
	store   store.Engine
	meter   *meter.Meter
	gate    *gate.Gate
	now     func() time.Time
}

// openHouse opens what stands in the platter's directory. elapsed may be nil.
func openHouse(t testing.TB, p *platter, now func() time.Time, elapsed func() time.Duration) (*house, error) {
	t.Helper()
	ctx := context.Background()
	bolt, err := boltstore.Open(ctx, boltstore.Options{Dir: p.dir, Now: now})
	if err != nil {
		return nil, err
	}
	h := &house{t: t, platter: p, store: &onPlatter{bolt, p}, now: now}
	if h.meter, err = meter.Open(ctx, meter.Options{
		Dir: p.dir, Journal: h.store, Ledger: h.store, Node: "one", Now: now, Elapsed: elapsed, Disk: p.disk(),
	}); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	if h.gate, err = gate.New(ctx, gate.Options{Directory: h.store, Journal: h.store, Meter: h.meter, Now: now}); err != nil {
		return nil, errors.Join(err, h.meter.Close(ctx), bolt.Close())
	}
	if _, err = h.gate.Apply(ctx, gate.Settings{Plans: housePlans(t), DefaultPlan: "solo"}); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// close stops it in order.
func (h *house) close() error {
	ctx := context.Background()
	return errors.Join(h.gate.Close(ctx), h.meter.Close(ctx), h.store.Close())
}

// housePlans are the plans of the campaigns.
func housePlans(t testing.TB) (all []plan.Plan) {
	t.Helper()
	solo, pool, over := monthly(300), monthly(500), monthly(200)
	pool.Scope = plan.PerCustomer
	most := int64(100)
	over.Overage, over.Max = plan.Bill, &most
	for id, q := range map[string]plan.Quota{"solo": solo, "pool": pool, "over": over} {
		all = append(all, plan.Plan{ID: id, Quotas: []plan.Quota{q}, Source: plan.FromConfig})
	}
	return all
}

func monthly(limit int64) plan.Quota {
	return plan.Quota{Unit: plan.Requests, Limit: limit, Span: plan.Month, Scope: plan.PerKey, Overage: plan.Block}
}

// The routes of the sold API.
var (
	plainRoute = &plan.Route{Name: plan.DefaultRoute, Cost: plan.Cost{Units: 1}}
	heavyRoute = &plan.Route{Name: "heavy", Cost: plan.Cost{Units: heavyCost}}
)

var serial atomic.Int64

// enrol makes an account's customer and keys.
func (h *house) enrol(a *account) error {
	n := 1
	for _, p := range plans {
		if p.id == a.plan {
			n = p.keys
		}
	}
	c := customer.Customer{ID: id.New("cust", h.now()), Plan: a.plan, CreatedAt: h.now()}
	m := store.Mutations{Customers: []customer.Customer{c}}
	a.customer = c.ID
	for range n {
		secret := fmt.Sprintf("imported-secret-%d", serial.Add(1))
		k := apikey.Key{
			ID: id.New("key", h.now()), Customer: c.ID, Mode: apikey.Live, State: apikey.Active,
			Secrets: []apikey.HeldSecret{{Hash: apikey.Secret(secret).Hash()}}, CreatedAt: h.now(),
		}
		m.Keys = append(m.Keys, k)
		a.keys, a.secrets = append(a.keys, k.ID), append(a.secrets, secret)
	}
	_, err := h.store.Write(context.Background(), m)
	return err
}

// admit asks for one request of an account.
func (h *house) admit(secret string, route *plan.Route) (*gate.Ticket, *gate.Refusal, error) {
	t := &gate.Ticket{}
	refusal, err := h.gate.Admit(context.Background(), &gate.Call{
		Secret: secret, Route: route, ClientIP: netip.MustParseAddr("192.0.2.7"), Now: h.now(),
		Method: "GET", Path: "/", RequestID: func() string { return "r" },
	}, t)
	return t, refusal, err
}

// decided is admit for tests on a sound disk: where a loaded machine was too
// slow for the gate to decide in time, it asks again.
func (h *house) decided(secret string, route *plan.Route) (*gate.Ticket, *gate.Refusal, error) {
	for {
		t, refusal, err := h.admit(secret, route)
		if !errors.Is(err, meter.ErrUnavailable) {
			return t, refusal, err
		}
	}
}

// count reads an account's quota.
func (h *house) count(a *account) (counted, error) {
	x, err := h.gate.Explain(context.Background(), gate.Subject{Key: a.keys[0]})
	if err != nil {
		return counted{}, err
	}
	for _, l := range x.Limits {
		if l.Kind == "quota" {
			return counted{used: l.Used, billed: *l.Billed}, nil
		}
	}
	return counted{}, fmt.Errorf("no quota of %s", a.keys[0])
}
