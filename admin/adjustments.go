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
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// An adjustment corrects what a customer has used in one period: a record of
// the book of adjustments, under the customer's id and its own. That of the
// current period also moves the customer's counter, and with it pooled quotas.
type adjustment struct {
	ID        string      `json:"id"`
	Object    string      `json:"object"`
	Customer  string      `json:"customer"`
	Unit      string      `json:"unit"`
	Amount    int64       `json:"amount"` // may be negative
	Period    periodShape `json:"period"`
	Reason    string      `json:"reason"`
	CreatedAt time.Time   `json:"created_at"`
}

// adjustmentsOf are the records of one customer.
func adjustmentsOf(customerID string) store.Range { return store.Prefixed([]byte(customerID + "/")) }

func (a *adjustment) record() store.Record {
	return store.Record{Book: store.Adjustments, Key: []byte(a.Customer + "/" + a.ID), Value: mustJSON(a)}
}

func (s *Server) adjust(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	next := adjustment{
		Object: "adjustment", Customer: c.id(), Unit: readUnit(f),
		Amount: f.integer("amount", -plan.MaxCount, plan.MaxCount), Reason: f.text("reason", maxReason),
	}
	if next.Amount == 0 {
		f.fail("amount", "It is required, and not 0.")
	}
	if next.Reason == "" {
		f.fail("reason", "It is required.")
	}
	month := f.text("period", 7)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		owner, err := s.customer(ctx, c.id())
		if err != nil {
			return nil, err
		}
		calendar := gate.Calendar(&owner, now)
		period, wrong := periodOf(calendar, month, now)
		if wrong != "" {
			return nil, wrongField("period", wrong)
		}
		next.ID, next.CreatedAt, next.Period = id.New("adj", now), now.UTC(), periodShape{period.Start, period.End}
		ch := &change{
			audit: []entry{{Action: "usage.adjust", Target: next.ID, Customer: &next.Customer, After: members(next), Reason: next.Reason}},
			shown: created(next), subjects: []string{next.Customer},
		}
		ch.Records.Put = []store.Record{next.record()}
		if period.Ordinal == calendar.Ordinal(now) {
			ch.before = func() (undo func(), err error) { return s.moveCounter(ctx, &owner, next.Unit, next.Amount, now) }
		}
		return ch, nil
	})
}

// moveCounter adds n to what the customer's live keys have used, and returns
// how to take it back.
func (s *Server) moveCounter(ctx context.Context, owner *customer.Customer, unit string, n int64, now time.Time) (undo func(), err error) {
	counter := s.o.Meter.Counter(customerCounter(owner.ID, unit, gate.Calendar(owner, now)))
	if err := counter.Adjust(ctx, now, n); err != nil {
		return nil, err
	}
	return func() {
		if err := counter.Adjust(context.WithoutCancel(ctx), now, -n); err != nil {
			s.o.Logger.Error("taking an adjustment back", "customer", owner.ID, "unit", unit, "units", -n, "error", err)
		}
	}, nil
}

func customerCounter(customerID, unit string, in usage.Calendar) meter.ID {
	return meter.ID{Owner: meter.Owner{Kind: meter.OfCustomer, ID: customerID, Mode: apikey.Live}, Unit: unit, Calendar: in}
}

// readUnit reads the name of a unit; requests where there is none.
func readUnit(f *fields) string {
	unit := f.text("unit", 64)
	if !f.has("unit") {
		return plan.Requests
	}
	if problem := plan.UnitProblem(unit); problem != "" {
		f.fail("unit", sentence("it "+problem))
	}
	return unit
}

// periodOf returns the period of the calendar that begins in a month written as
// 2026-11, the current one where none is named, or what is wrong.
func periodOf(in usage.Calendar, month string, now time.Time) (p usage.Period, wrong string) {
	if month == "" {
		return in.At(now), ""
	}
	first, err := time.Parse("2006-01", month)
	if err != nil || first.Year() < 1970 {
		return p, "It must be a month, as 2026-11."
	}
	p = in.At(first.AddDate(0, 1, 0).Add(-time.Second))
	switch {
	case p.Start.After(now):
		return p, "It has not begun yet."
	case p.Start.Before(first):
		return p, "No billing period of this customer begins in that month."
	}
	return p, ""
}

func (s *Server) listAdjustments(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	if _, err := s.customer(ctx, c.id()); err != nil {
		return nil, err
	}
	all, err := s.adjustments(ctx, c.id())
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	return ok(cut(all, page, func(a adjustment) string { return a.ID })), nil
}

// adjustments returns those of a customer, oldest first.
func (s *Server) adjustments(ctx context.Context, customerID string) (all []adjustment, err error) {
	var broken error
	err = s.o.Store.Scan(ctx, store.Adjustments, adjustmentsOf(customerID), func(_, value []byte) bool {
		var a adjustment
		broken = json.Unmarshal(value, &a)
		all = append(all, a)
		return broken == nil
	})
	if err = errors.Join(err, broken); err != nil {
		return nil, fmt.Errorf("reading adjustments: %w", err)
	}
	return all, nil
}
