// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// erased is a record in the book of marks that says that a customer is gone:
// whoever makes a key for a customer expects that there is none.
func erased(customerID string) []byte { return []byte("erased/" + customerID) }

// notErased is expected of the customer of a new key.
func notErased(customerID string) store.Record {
	return store.Record{Book: store.Meta, Key: erased(customerID)}
}

// eraseCustomer forgets whom a customer was. Its id stays, and with it its
// usage and what was billed: made from a clock and random bits, it is the
// pseudonym. Erasing again goes on where a fault had ended it.
func (s *Server) eraseCustomer(ctx context.Context, c *call) (*answer, error) {
	a, err := s.write(ctx, c, func(now time.Time) (*change, error) {
		old, err := s.customer(ctx, c.id())
		if err != nil {
			return nil, err
		}
		if old.Subscription != nil && old.Subscription.Live() {
			return nil, conflict("subscription_live", "The customer's subscription is live. Cancel it first.")
		}
		next := pseudonymous(&old, now)
		ch := &change{shown: ok(s.shapeCustomer(&next, now))}
		if old.ErasedAt.IsZero() {
			ch.Customers = []customer.Customer{next}
			ch.audit = []entry{{Action: "customer.erase", Target: next.ID, Customer: &next.ID}}
			ch.Records.Put = []store.Record{{Book: store.Meta, Key: erased(next.ID), Value: []byte(next.ErasedAt.Format(time.RFC3339))}}
		}
		return ch, nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.eraseKeys(ctx, c, c.id()); err != nil {
		return nil, err
	}
	if err := s.o.Meter.Flush(ctx); err != nil {
		return nil, fmt.Errorf("settling usage: %w", err)
	}
	if err := s.eraseRecords(ctx, c.id()); err != nil {
		return nil, err
	}
	s.o.Gate.EraseDenials(c.id(), c.id())
	return a, nil
}

// pseudonymous returns what is kept of a customer: what bills are made of.
func pseudonymous(c *customer.Customer, now time.Time) customer.Customer {
	next := customer.Customer{
		ID: c.ID, Plan: c.Plan, StripeCustomer: c.StripeCustomer, Subscription: c.Subscription,
		Overrides: withoutReason(c.Overrides), PlanOverride: c.PlanOverride,
		CreatedAt: c.CreatedAt, ErasedAt: c.ErasedAt, Revision: c.Revision,
	}
	next.PlanOverride.Reason = ""
	if next.ErasedAt.IsZero() {
		next.ErasedAt = now.UTC()
	}
	return next
}

func withoutReason(o plan.Overrides) plan.Overrides {
	o.Reason = ""
	return o
}

// eraseStep is how many keys are revoked in one transaction.
const eraseStep = 100

// eraseKeys revokes the customer's keys and forgets what they say of it.
func (s *Server) eraseKeys(ctx context.Context, c *call, customerID string) error {
	after := ""
	for {
		page, err := s.o.Store.ListKeys(ctx, store.KeyQuery{
			PageQuery: store.PageQuery{Limit: eraseStep, After: after}, Customer: customerID, Now: c.now,
		})
		if err != nil {
			return fmt.Errorf("listing the keys of a customer: %w", err)
		}
		err = s.eraseStep(ctx, c, page.Items)
		switch {
		case errors.Is(err, store.ErrConflict):
			continue // read the same page again
		case err != nil:
			return err
		case !page.More:
			return nil
		}
		after = page.Items[len(page.Items)-1].ID
	}
}

func (s *Server) eraseStep(ctx context.Context, c *call, keys []apikey.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := s.o.Now()
	ch := change{}
	for i := range keys {
		next := keys[i]
		if next.State != apikey.Revoked {
			ch.audit = append(ch.audit, entry{
				Action: "key.revoke", Target: next.ID, Customer: &next.Customer,
				Before: map[string]any{"status": next.Status(now)}, After: map[string]any{"status": apikey.StatusRevoked},
			})
		}
		setState(&next, apikey.Revoked, now)
		next.Name, next.AllowedIPs, next.Metadata, next.Overrides = "", nil, nil, withoutReason(next.Overrides)
		ch.Keys = append(ch.Keys, next)
	}
	for _, e := range ch.audit {
		record, err := e.by(c, now).record()
		if err != nil {
			return err
		}
		ch.Records.Put = append(ch.Records.Put, record)
	}
	return s.commit(ctx, ch.Mutations)
}

// eraseRecords forgets what the audit log, the answers kept for repeated calls
// and the adjustments say of the customer.
func (s *Server) eraseRecords(ctx context.Context, customerID string) error {
	_, err := rewrite(ctx, s.o.Store, store.Audit, store.Range{}, func(value []byte) ([]byte, bool) {
		var e entry
		if json.Unmarshal(value, &e) != nil || e.Customer == nil || *e.Customer != customerID || !e.erase() {
			return nil, false
		}
		return mustJSON(e), true
	})
	if err != nil {
		return err
	}
	_, err = rewrite(ctx, s.o.Store, store.Idempotency, store.Range{}, func(value []byte) ([]byte, bool) {
		var g given
		if json.Unmarshal(value, &g) != nil || !slices.Contains(g.Subjects, customerID) || g.Erased {
			return nil, false
		}
		g.Body, g.Erased = nil, true
		return mustJSON(g), true
	})
	if err != nil {
		return err
	}
	_, err = rewrite(ctx, s.o.Store, store.Adjustments, adjustmentsOf(customerID), func(value []byte) ([]byte, bool) {
		var a adjustment
		if json.Unmarshal(value, &a) != nil || a.Reason == "" {
			return nil, false
		}
		a.Reason = ""
		return mustJSON(a), true
	})
	return err
}

// personal are the members of an audit entry that may tell who a customer is.
var personal = []string{"email", "name", "external_id", "metadata", "allowed_ips", "overrides", "overrides_reason", "plan_override", "reason"}

// erase forgets what e says of whom it is about, and reports whether there was
// anything.
func (e *entry) erase() bool {
	found := e.Reason != ""
	e.Reason = ""
	for _, side := range []map[string]any{e.Before, e.After} {
		for _, name := range personal {
			if _, there := side[name]; there {
				delete(side, name)
				found = true
			}
		}
	}
	return found
}

// mustJSON writes a record of ours, which is always JSON.
func mustJSON(record any) []byte {
	raw, err := json.Marshal(record)
	if err != nil {
		panic("admin: a record is not JSON: " + err.Error())
	}
	return raw
}
