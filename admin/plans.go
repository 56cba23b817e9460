// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// planShape is how a plan looks.
type planShape struct {
	ID           string             `json:"id"`
	Object       string             `json:"object"`
	Title        *string            `json:"title"`
	Source       plan.Source        `json:"source"`
	Default      bool               `json:"default"` // of who has no other
	Rates        []plan.Rate        `json:"rates"`
	Quotas       []plan.Quota       `json:"quotas"`
	Concurrency  *plan.Concurrency  `json:"concurrency"`
	MaxKeys      *int               `json:"max_keys"`
	Scopes       []string           `json:"scopes"`
	Routes       []string           `json:"routes"`
	StripePrices []string           `json:"stripe_prices"`
	StripeMeters []plan.StripeMeter `json:"stripe_meters"`
	NotForSale   bool               `json:"not_for_sale"`
}

func (s *Server) shapePlan(p *plan.Plan) planShape {
	shape := planShape{
		ID: p.ID, Object: "plan", Title: unlessZero(p.Title), Source: p.Source, Default: p.ID == s.settings().DefaultPlan,
		Rates: listed(p.Rates), Quotas: listed(p.Quotas), MaxKeys: unlessZero(p.MaxKeys),
		Scopes: listed(p.Scopes), Routes: listed(p.Routes),
		StripePrices: listed(p.StripePrices), StripeMeters: listed(p.StripeMeters),
		NotForSale: p.NotForSale,
	}
	if p.Concurrency.Limit != 0 {
		shape.Concurrency = &p.Concurrency
	}
	return shape
}

func (s *Server) listPlans(_ context.Context, c *call) (*answer, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	shapes := []planShape{}
	for _, p := range s.o.Gate.Plans() {
		if prefix := strings.ToLower(page.Prefix); strings.HasPrefix(p.ID, prefix) || strings.HasPrefix(strings.ToLower(p.Title), prefix) {
			shapes = append(shapes, s.shapePlan(p))
		}
	}
	return ok(cut(shapes, page, func(p planShape) string { return p.ID })), nil
}

func (s *Server) showPlan(_ context.Context, c *call) (*answer, error) {
	p, known := s.o.Gate.Plan(c.id())
	if !known {
		return nil, notFound("plan", c.id())
	}
	return ok(s.shapePlan(p)), nil
}

// putPlan writes a plan to the store. What it does not name is not there.
func (s *Server) putPlan(ctx context.Context, c *call) (*answer, error) {
	next := plan.Plan{ID: c.id(), Source: plan.FromStore}
	if problem := plan.NameProblem(next.ID); problem != "" {
		return nil, wrongField("id", sentence("it "+problem))
	}
	f := c.document.reading()
	readPlan(f, &next)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.write(ctx, c, func(time.Time) (*change, error) {
		old, known, err := s.storedPlan(ctx, next.ID)
		if err != nil {
			return nil, err
		}
		if err := s.writable(next.ID); err != nil {
			return nil, err
		}
		ch := &change{}
		next.Revision = old.Revision
		ch.Plans = []plan.Plan{next}
		shape := s.shapePlan(&next)
		if ch.shown = ok(shape); !known {
			ch.shown = created(shape)
			ch.audit = []entry{changed("plan.create", next.ID, "", nil, members(shape))}
			return ch, nil
		}
		ch.audit = []entry{changed("plan.update", next.ID, "", members(s.shapePlan(&old)), members(shape))}
		return ch, nil
	})
}

func readPlan(f *fields, p *plan.Plan) {
	p.Title = f.text("title", maxName)
	if rates := readRates(f); rates != nil {
		p.Rates = *rates
	}
	p.Quotas = readQuotas(f)
	if c := readConcurrency(f, "concurrency"); c != nil {
		p.Concurrency = *c
	}
	p.MaxKeys = int(f.integer("max_keys", 1, 1_000_000))
	p.Scopes = f.texts("scopes", maxList, plan.ScopeProblem)
	p.Routes = f.texts("routes", maxList, plan.NameProblem)
	p.StripePrices = f.texts("stripe_prices", maxList, func(string) string { return "" })
	p.NotForSale = f.flag("not_for_sale")
	meters, _ := f.objects("stripe_meters", maxList)
	for _, m := range meters {
		p.StripeMeters = append(p.StripeMeters, plan.StripeMeter{Event: m.text("event", 100), Unit: m.text("unit", 64), All: m.flag("all")})
		m.close()
	}
	p.Normalize()
	if err := p.Validate(); err != nil {
		f.failLimit("", err)
	}
}

// readQuotas reads a list of quotas; nil where it is absent.
func readQuotas(f *fields) []plan.Quota {
	values, _ := f.list("quotas", maxList)
	quotas := make([]plan.Quota, 0, len(values))
	for i, value := range values {
		name := at("quotas", i)
		one := &fields{path: f.path, members: map[string]any{name: value}, asked: map[string]bool{}, wrong: f.wrong}
		quota := readQuota(one, name)
		if quota == nil {
			f.fail(name, "It must be an object.")
			return nil
		}
		quotas = append(quotas, *quota)
	}
	return quotas
}

// writable makes sure that a plan is not one of the configuration, which holds
// over those of the store. One that is retired is the store's to change.
func (s *Server) writable(planID string) error {
	if p, known := s.o.Gate.Plan(planID); known && p.Source != plan.FromStore && p.Source != plan.Retired {
		return conflict("plan_read_only", "The plan "+p.ID+" is of the source "+string(p.Source)+": it is changed there, not here.")
	}
	return nil
}

// storedPlan returns the plan of that id that the store holds, if any.
func (s *Server) storedPlan(ctx context.Context, planID string) (p plan.Plan, known bool, err error) {
	plans, err := s.o.Store.Plans(ctx)
	if err != nil {
		return p, false, fmt.Errorf("reading the plans: %w", err)
	}
	i := slices.IndexFunc(plans, func(p plan.Plan) bool { return p.ID == planID })
	if i < 0 {
		return p, false, nil
	}
	return plans[i], true, nil
}

func (s *Server) deletePlan(ctx context.Context, c *call) (*answer, error) {
	a, err := s.write(ctx, c, func(time.Time) (*change, error) {
		old, known, err := s.storedPlan(ctx, c.id())
		if err != nil {
			return nil, err
		}
		if _, inForce := s.o.Gate.Plan(c.id()); !known && !inForce {
			return nil, notFound("plan", c.id())
		}
		if err := s.writable(c.id()); err != nil {
			return nil, err
		}
		if in := s.settings(); c.id() == in.DefaultPlan || c.id() == in.FallbackPlan {
			return nil, conflict("plan_in_use", "The configuration names this plan.")
		}
		ch := &change{
			audit: []entry{{Action: "plan.delete", Target: old.ID, Before: members(s.shapePlan(&old))}},
			shown: ok(deleted{old.ID, "plan", true}),
		}
		ch.DeletePlans = []string{old.ID}
		return ch, nil
	})
	if errors.Is(err, store.ErrInUse) {
		return nil, conflict("plan_in_use", "Customers or keys hold this plan. Give them another one first.")
	}
	return a, err
}
