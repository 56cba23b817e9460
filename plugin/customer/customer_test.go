// SPDX-License-Identifier: Apache-2.0

package customer

import (
	"testing"
	"time"
)

func TestTheStrongestPlanHolds(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	override := func(until time.Time) PlanOverride { return PlanOverride{Plan: "trial", Until: until} }
	subscribed := func(s SubscriptionStatus, plan string, grace time.Time) *Subscription {
		return &Subscription{Status: s, Plan: plan, GraceUntil: grace}
	}
	type answer struct {
		plan   string
		source PlanSource
		may    bool
	}
	for name, c := range map[string]struct {
		customer            Customer
		fallback, byDefault string
		want                answer
	}{
		"nothing at all":                      {Customer{}, "", "", answer{"", FromDefault, true}},
		"the default":                         {Customer{}, "basic", "free", answer{"free", FromDefault, true}},
		"what the seller gave":                {Customer{Plan: "pro"}, "basic", "free", answer{"pro", FromCustomer, true}},
		"a live subscription":                 {Customer{Plan: "pro", Subscription: subscribed(SubscribedActive, "scale", now)}, "basic", "free", answer{"scale", FromStripe, true}},
		"a trial subscription":                {Customer{Subscription: subscribed(Trialing, "scale", now)}, "", "free", answer{"scale", FromStripe, true}},
		"a subscription to an unknown price":  {Customer{Plan: "pro", Subscription: subscribed(SubscribedActive, "", now)}, "basic", "free", answer{"pro", FromCustomer, true}},
		"past due within its grace":           {Customer{Subscription: subscribed(PastDue, "scale", now.Add(1))}, "basic", "free", answer{"scale", FromStripe, true}},
		"past due at the end of its grace":    {Customer{Subscription: subscribed(PastDue, "scale", now)}, "basic", "free", answer{"basic", FromStripe, true}},
		"unpaid without a fallback":           {Customer{Plan: "pro", Subscription: subscribed(Unpaid, "scale", now)}, "", "free", answer{"pro", FromCustomer, false}},
		"canceled with a fallback":            {Customer{Plan: "pro", Subscription: subscribed(Canceled, "scale", now)}, "basic", "free", answer{"basic", FromStripe, true}},
		"paused":                              {Customer{Subscription: subscribed(Paused, "scale", now)}, "", "free", answer{"free", FromDefault, false}},
		"incomplete":                          {Customer{Subscription: subscribed(Incomplete, "scale", now)}, "", "free", answer{"free", FromDefault, false}},
		"an unknown status":                   {Customer{Subscription: subscribed("new_in_2028", "scale", now)}, "", "free", answer{"free", FromDefault, false}},
		"an override":                         {Customer{Plan: "pro", PlanOverride: override(time.Time{}), Subscription: subscribed(SubscribedActive, "scale", now)}, "basic", "free", answer{"trial", FromOverride, true}},
		"an override lets who is unpaid call": {Customer{PlanOverride: override(now.Add(1)), Subscription: subscribed(Unpaid, "scale", now)}, "", "free", answer{"trial", FromOverride, true}},
		"an override that ends now":           {Customer{Plan: "pro", PlanOverride: override(now)}, "basic", "free", answer{"pro", FromCustomer, true}},
	} {
		plan, source := c.customer.PlanAt(now, c.fallback, c.byDefault)
		got := answer{plan, source, c.customer.MayCall(now, c.fallback)}
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestOnlyAnActiveSubscriptionBillsOverage(t *testing.T) {
	for status, want := range map[SubscriptionStatus]struct{ bills, live bool }{
		SubscribedActive: {true, true}, Trialing: {false, true}, PastDue: {false, true}, Unpaid: {false, true}, Paused: {false, true},
		Incomplete: {false, true}, IncompleteExpired: {false, false}, Canceled: {false, false},
	} {
		s := Subscription{Status: status}
		if s.BillsOverage() != want.bills || s.Live() != want.live {
			t.Errorf("%s: bills %v, live %v; want %+v", status, s.BillsOverage(), s.Live(), want)
		}
	}
}
