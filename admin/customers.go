// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/store"
)

func (s *Server) createCustomer(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	var next customer.Customer
	readCustomer(f, &next)
	s.checkPlan(f, "plan", next.Plan)
	s.checkPlan(f, "plan_override.plan", next.PlanOverride.Plan)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		next.ID, next.CreatedAt = id.New("cust", now), now.UTC()
		shape := s.shapeCustomer(&next, now)
		return &change{
			Mutations: store.Mutations{Customers: []customer.Customer{next}},
			audit:     []entry{changed("customer.create", next.ID, next.ID, nil, members(shape))},
			shown:     created(shape), subjects: []string{next.ID},
		}, nil
	})
}

func (s *Server) patchCustomer(ctx context.Context, c *call) (*answer, error) {
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		old, err := s.customer(ctx, c.id())
		if err != nil {
			return nil, err
		}
		if !old.ErasedAt.IsZero() {
			return nil, conflict("erased", "This customer was erased.")
		}
		next := old
		f := c.document.patching(customerFields(&old))
		readCustomer(f, &next)
		if next.Plan != old.Plan {
			s.checkPlan(f, "plan", next.Plan)
		}
		if next.PlanOverride.Plan != old.PlanOverride.Plan {
			s.checkPlan(f, "plan_override.plan", next.PlanOverride.Plan)
		}
		if err := f.finish(); err != nil {
			return nil, err
		}
		shape := s.shapeCustomer(&next, now)
		e := changed("customer.update", next.ID, next.ID, members(s.shapeCustomer(&old, now)), members(shape))
		ch := &change{shown: ok(shape), subjects: []string{next.ID}}
		if len(e.After) > 0 {
			ch.Customers, ch.audit = []customer.Customer{next}, []entry{e}
		}
		return ch, nil
	})
}

// customer returns the customer of that id, or a problem.
func (s *Server) customer(ctx context.Context, ref string) (customer.Customer, error) {
	found, err := s.o.Store.Customer(ctx, store.CustomerRef{ID: ref})
	if errors.Is(err, store.ErrNotFound) {
		return found, notFound("customer", ref)
	}
	if err != nil {
		return found, fmt.Errorf("reading a customer: %w", err)
	}
	return found, nil
}

// find returns the customer that ref names by its id, its external id or its
// e-mail address, or store.ErrNotFound.
func (s *Server) findCustomer(ctx context.Context, ref string) (customer.Customer, error) {
	refs := []store.CustomerRef{{ExternalID: ref}}
	if id.Valid("cust", ref) {
		refs = []store.CustomerRef{{ID: ref}, {ExternalID: ref}}
	}
	if isEmail(ref) {
		refs = append(refs, store.CustomerRef{Email: strings.ToLower(ref)})
	}
	for _, ref := range refs {
		found, err := s.o.Store.Customer(ctx, ref)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return found, err
		}
	}
	return customer.Customer{}, store.ErrNotFound
}

func (s *Server) showCustomer(ctx context.Context, c *call) (*answer, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	found, err := s.customer(ctx, c.id())
	if err != nil {
		return nil, err
	}
	return ok(s.shapeCustomer(&found, c.now)), nil
}

func (s *Server) listCustomers(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("plan", "email", "external_id", "stripe_customer_id")
	if err != nil {
		return nil, err
	}
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	found := store.Page[customer.Customer]{}
	ref := store.CustomerRef{Email: strings.ToLower(q.text("email")), ExternalID: q.text("external_id"), StripeCustomer: q.text("stripe_customer_id")}
	if ref != (store.CustomerRef{}) {
		found, err = s.oneCustomer(ctx, ref, q)
	} else {
		found, err = s.o.Store.ListCustomers(ctx, store.CustomerQuery{
			PageQuery: page, Plan: q.text("plan"), OrNone: q.text("plan") == s.settings().DefaultPlan,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listing customers: %w", err)
	}
	shapes := make([]customerShape, 0, len(found.Items))
	for i := range found.Items {
		shapes = append(shapes, s.shapeCustomer(&found.Items[i], c.now))
	}
	return ok(paged(shapes, found.More, func(c customerShape) string { return c.ID })), nil
}

// oneCustomer returns a page with the customer that has a field that no other has.
func (s *Server) oneCustomer(ctx context.Context, ref store.CustomerRef, q *query) (page store.Page[customer.Customer], err error) {
	if text := q.text("after") + q.text("q") + q.text("plan"); text != "" ||
		ref != (store.CustomerRef{Email: ref.Email}) && ref != (store.CustomerRef{ExternalID: ref.ExternalID}) && ref != (store.CustomerRef{StripeCustomer: ref.StripeCustomer}) {
		return page, wrongParameter("email", "One of email, external_id and stripe_customer_id stands alone.")
	}
	found, err := s.o.Store.Customer(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return page, nil
	}
	page.Items = []customer.Customer{found}
	return page, err
}
