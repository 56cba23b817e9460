// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
)

// errNotApplied: New was called, Apply was not.
var errNotApplied = errors.New("no settings are in force yet")

// rules are settings and all plans in force: what an entry is compiled with.
// They are never changed; another pointer means that something may be different.
type rules struct {
	settings *Settings
	plans    map[string]*plan.Plan
}

// newRules merges the plans of the configuration over the stored ones: those of
// the seller, of Stripe, and retired ones.
func newRules(s *Settings, stored []plan.Plan) *rules {
	r := &rules{settings: s, plans: make(map[string]*plan.Plan, len(stored)+len(s.Plans))}
	for i := range stored {
		p := stored[i]
		r.plans[p.ID] = &p
	}
	for i := range s.Plans {
		p := s.Plans[i]
		p.Source = plan.FromConfig
		r.plans[p.ID] = &p
	}
	return r
}

// A held plan is one that decides about a key, and why it does.
type heldPlan struct {
	*plan.Plan
	from string // key, override, stripe, customer, default
}

// plansOf returns the plan of a key and that of its customer. A plan that
// nobody knows any more (a record restored without it) gives way to the next in
// line, the customer's and then the default one, so that no paying caller is
// refused for it; ok is false if there is none at all.
func (r *rules) plansOf(k *apikey.Key, c *customer.Customer, now time.Time) (of, pooled heldPlan, unknown []string, ok bool) {
	name, source := c.PlanAt(now, r.settings.FallbackPlan, r.settings.DefaultPlan)
	for _, next := range []heldName{{name, string(source)}, {c.Plan, string(customer.FromCustomer)}, {r.settings.DefaultPlan, string(customer.FromDefault)}} {
		if p := r.plans[next.name]; p != nil {
			pooled = heldPlan{p, next.from}
			break
		}
		if next.name != "" && !slices.Contains(unknown, next.name) {
			unknown = append(unknown, next.name)
		}
	}
	if k.Plan != "" {
		if p := r.plans[k.Plan]; p != nil {
			of = heldPlan{p, "key"}
		} else {
			unknown = append(unknown, k.Plan)
		}
	}
	switch {
	case of.Plan == nil:
		of = pooled
	case pooled.Plan == nil:
		pooled = of
	}
	return of, pooled, unknown, of.Plan != nil
}

type heldName struct{ name, from string }

// current returns the rules in force, made anew where a plan was written since.
func (g *Gate) current(ctx context.Context) (*rules, error) {
	if r := g.rules.Load(); r != nil {
		return r, nil
	}
	return g.refresh(ctx)
}

// refresh makes the rules anew. A plan that is written meanwhile begins it again.
func (g *Gate) refresh(ctx context.Context) (*rules, error) {
	g.refreshing.Lock()
	defer g.refreshing.Unlock()
	for {
		g.mu.Lock()
		settings, version := g.settings, g.planVersion
		g.mu.Unlock()
		if r := g.rules.Load(); r != nil {
			return r, nil
		}
		if settings == nil {
			return nil, errNotApplied
		}
		stored, err := g.o.Directory.Plans(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the plans: %w", err)
		}
		r := newRules(settings, stored)
		g.mu.Lock()
		if g.settings == settings && g.planVersion == version {
			g.rules.Store(r)
			g.mu.Unlock()
			return r, nil
		}
		g.mu.Unlock()
	}
}

// plansWritten makes the next call read the plans anew.
func (g *Gate) plansWritten() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.planVersion++
	g.rules.Store(nil)
}

// Plan returns the plan in force of that id: config over store over Stripe.
func (g *Gate) Plan(id string) (*plan.Plan, bool) {
	r, err := g.current(context.Background())
	if err != nil {
		return nil, false
	}
	p, ok := r.plans[id]
	return p, ok
}

// Plans returns all plans in force, by id.
func (g *Gate) Plans() []*plan.Plan {
	r, err := g.current(context.Background())
	if err != nil {
		return nil
	}
	plans := make([]*plan.Plan, 0, len(r.plans))
	for _, id := range slices.Sorted(maps.Keys(r.plans)) {
		plans = append(plans, r.plans[id])
	}
	return plans
}

// Settings returns what was applied last; nil before.
func (g *Gate) Settings() *Settings {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.settings
}

// tellUnknownPlan logs a plan that somebody holds and nobody knows, once.
func (g *Gate) tellUnknownPlan(name, key string) {
	if _, told := g.told.LoadOrStore(name, true); !told {
		g.o.Logger.Error("plan is not known: the next in line holds", slog.String("plan", name), slog.String("key", key))
	}
}
