// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// plans are the ids and sources of what is in force.
func (h *house) plans() string {
	var all []string
	for _, p := range h.gate.Plans() {
		all = append(all, p.ID+":"+string(p.Source))
	}
	return strings.Join(all, " ")
}

func named(id string, limit int64) plan.Plan {
	return plan.Plan{ID: id, Quotas: []plan.Quota{quota(limit, plan.PerKey)}}
}

func TestAPlanEditHoldsAtTheNextCallAndCountersStay(t *testing.T) {
	h := newHouse(t, named("free", 5))
	c := h.caller()
	c.admitted(3)
	h.apply(named("free", 4))
	if n, _ := c.admitted(9); n != 1 {
		t.Errorf("after 3 of 4 %d passed, want 1", n)
	}
	h.apply(named("free", 2))
	if got := c.usage().Quota; got.Used != 4 || got.Remaining != 0 {
		t.Errorf("below what is used the quota is %+v", got)
	}
	c.wantRefused(route, gate.QuotaExceeded)
	h.apply(named("free", 6))
	if n, _ := c.admitted(9); n != 2 {
		t.Errorf("after 4 of 6 %d passed, want 2", n)
	}
}

func TestAStoredPlanIsEditedAtTheNextCall(t *testing.T) {
	h := newHouse(t)
	stored := named("own", 2)
	stored.Source = plan.FromStore
	_, err := h.store.Write(context.Background(), store.Mutations{Plans: []plan.Plan{stored}})
	h.must(err)
	c := h.of(h.customer(func(c *customer.Customer) { c.Plan = "own" }))
	if n, _ := c.admitted(9); n != 2 {
		t.Fatalf("%d passed, want 2", n)
	}
	all, err := h.store.Plans(context.Background())
	h.must(err)
	all[0].Quotas = []plan.Quota{quota(5, plan.PerKey)}
	_, err = h.store.Write(context.Background(), store.Mutations{Plans: all})
	h.must(err)
	if n, _ := c.admitted(9); n != 3 {
		t.Errorf("%d more passed, want 3", n)
	}
}

func TestTheConfigurationHoldsOverTheStore(t *testing.T) {
	h := newHouse(t)
	stored := named("pro", 7)
	stored.Source = plan.FromStore
	_, err := h.store.Write(context.Background(), store.Mutations{Plans: []plan.Plan{stored}})
	h.must(err)
	h.apply(named("pro", 3))
	if p, _ := h.gate.Plan("pro"); p.Source != plan.FromConfig || p.Quotas[0].Limit != 3 {
		t.Errorf("in force is %+v", p)
	}
	h.apply()
	if p, _ := h.gate.Plan("pro"); p == nil || p.Source != plan.FromStore || p.Quotas[0].Limit != 7 {
		t.Errorf("without the configuration's, %+v is in force", p)
	}
}

func TestAPlanGoneFromTheConfigurationStaysWhileItIsHeld(t *testing.T) {
	h := newHouse(t, named("free", 1), named("pro", 3), named("unused", 1))
	c := h.of(h.customer(func(c *customer.Customer) { c.Plan = "pro" }))
	retired, err := h.gate.Apply(context.Background(), gate.Settings{Plans: []plan.Plan{named("free", 1)}, DefaultPlan: "free"})
	h.must(err)
	if !slices.Equal(retired, []string{"pro"}) {
		t.Errorf("retired %v, want pro", retired)
	}
	if got, want := h.plans(), "free:config pro:retired"; got != want {
		t.Errorf("in force: %s, want %s", got, want)
	}
	if n, _ := c.admitted(9); n != 3 {
		t.Errorf("%d passed on the retired plan, want 3", n)
	}
	c.editCustomer(func(c *customer.Customer) { c.Plan = "" })
	h.apply(named("free", 1))
	if got := h.plans(); got != "free:config" {
		t.Errorf("after nobody holds it, in force: %s", got)
	}
}

func TestAFailedReloadFallsBackByASecondApply(t *testing.T) {
	before := []plan.Plan{named("free", 1), named("pro", 3)}
	h := newHouse(t, before...)
	c := h.of(h.customer(func(c *customer.Customer) { c.Plan = "pro" }))
	h.apply(named("free", 9))
	h.apply(before...)
	if got, want := h.plans(), "free:config pro:config"; got != want {
		t.Errorf("in force: %s, want %s", got, want)
	}
	if n, _ := c.admitted(9); n != 3 {
		t.Errorf("%d passed, want 3", n)
	}
}

func TestApplyingTheSameAgainWritesNothing(t *testing.T) {
	h := newHouse(t, named("free", 1))
	before, err := h.store.Revision(context.Background())
	h.must(err)
	h.apply(named("free", 1))
	if after, _ := h.store.Revision(context.Background()); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

func TestAnUnknownPlanGivesWayToTheNextInLine(t *testing.T) {
	var log strings.Builder
	h := newHouse(t, named("free", 1), named("pro", 3))
	h.must(h.gate.Close(context.Background()))
	var err error
	h.gate, err = gate.New(context.Background(), gate.Options{
		Directory: h.store, Journal: h.store, Meter: h.meter, Now: h.clock,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	h.must(err)
	h.apply(named("free", 1), named("pro", 3))

	lost := func(k *apikey.Key) { k.Plan = "lost" }
	h.of(h.customer(func(c *customer.Customer) { c.Plan = "pro" }), lost).admitted(9)
	if n, _ := h.of(h.customer(func(c *customer.Customer) { c.Plan = "pro" }), lost).admitted(9); n != 3 {
		t.Errorf("%d passed on the customer's plan, want 3", n)
	}
	if n, _ := h.of(h.customer(func(c *customer.Customer) { c.Plan = "lost" })).admitted(9); n != 1 {
		t.Errorf("%d passed on the default plan, want 1", n)
	}
	if n := strings.Count(log.String(), "plan=lost"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
}

func TestWithoutAnyPlanACallCannotBeDecided(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	var ticket gate.Ticket
	refusal, err := h.gate.Admit(context.Background(), c.call(route), &ticket)
	if err == nil || refusal != nil {
		t.Errorf("got %+v, %v, want a fault", refusal, err)
	}
	shadow := c.call(route)
	shadow.Shadow = true
	if refusal, err := h.gate.Admit(context.Background(), shadow, &ticket); refusal != nil || err != nil {
		t.Errorf("in shadow mode: %+v, %v", refusal, err)
	}
	ticket.Settle(gate.Answer{Status: 200})
	ticket.Release()
}

func TestARetiredPlanIsWrittenOnce(t *testing.T) {
	h := newHouse(t, named("free", 1), named("pro", 3))
	h.of(h.customer(func(c *customer.Customer) { c.Plan = "pro" }))
	h.apply(named("free", 1))
	before, err := h.store.Revision(context.Background())
	h.must(err)
	h.apply(named("free", 1))
	if after, _ := h.store.Revision(context.Background()); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

// failing is a directory whose plans cannot be read, or change while they are.
type failing struct {
	store.Directory
	err   error
	after func() // once, after the plans were read
}

func (f *failing) Plans(ctx context.Context) ([]plan.Plan, error) {
	if f.err != nil {
		return nil, f.err
	}
	plans, err := f.Directory.Plans(ctx)
	if after := f.after; after != nil {
		f.after = nil
		after()
	}
	return plans, err
}

func TestAPlanWrittenWhilePlansAreReadIsNotMissed(t *testing.T) {
	h := newHouse(t)
	slow := &failing{Directory: h.store}
	h.must(h.gate.Close(context.Background()))
	var err error
	h.gate, err = gate.New(context.Background(), gate.Options{Directory: slow, Journal: h.store, Meter: h.meter, Now: h.clock})
	h.must(err)
	h.apply()
	write := func(limit int64) {
		p := named("own", limit)
		if all, _ := h.store.Plans(context.Background()); len(all) > 0 {
			p.Revision = all[0].Revision
		}
		p.Source = plan.FromStore
		_, err := h.store.Write(context.Background(), store.Mutations{Plans: []plan.Plan{p}})
		h.must(err)
	}
	write(1)
	slow.after = func() { write(5) }
	if p, _ := h.gate.Plan("own"); p.Quotas[0].Limit != 5 {
		t.Errorf("the plan in force has a quota of %d, want 5", p.Quotas[0].Limit)
	}
}

func TestAFailedApplyLeavesTheSettingsBefore(t *testing.T) {
	h := newHouse(t, named("free", 2))
	broken := &failing{Directory: h.store}
	h.must(h.gate.Close(context.Background()))
	var err error
	h.gate, err = gate.New(context.Background(), gate.Options{Directory: broken, Journal: h.store, Meter: h.meter, Now: h.clock})
	h.must(err)
	h.apply(named("free", 2))
	c := h.caller()
	broken.err = errors.New("disk gone")
	if _, err := h.gate.Apply(context.Background(), gate.Settings{DefaultPlan: "other"}); err == nil {
		t.Error("applied without a directory")
	}
	if got := h.gate.Settings().DefaultPlan; got != "free" {
		t.Errorf("the default plan is %q", got)
	}
	broken.err = nil
	if n, _ := c.admitted(9); n != 2 {
		t.Errorf("%d passed, want 2", n)
	}
}
