// SPDX-License-Identifier: Apache-2.0

package customer

import "time"

// SubscriptionStatus is what Stripe says of a subscription.
// Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
type SubscriptionStatus string

// The statuses of a subscription.
const (
	Trialing          SubscriptionStatus = "trialing"
	SubscribedActive  SubscriptionStatus = "active"
	PastDue           SubscriptionStatus = "past_due"
	Unpaid            SubscriptionStatus = "unpaid"
	Canceled          SubscriptionStatus = "canceled"
	Incomplete        SubscriptionStatus = "incomplete"
	IncompleteExpired SubscriptionStatus = "incomplete_expired"
	Paused            SubscriptionStatus = "paused"
)

// A Subscription is what is known of a customer's subscription.
type Subscription struct {
	ID         string             `json:"id"`
	Status     SubscriptionStatus `json:"status"`
	Plan       string             `json:"plan,omitempty"`       // empty: on a price that no plan knows
	Anchor     time.Time          `json:"anchor,omitzero"`      // where its months begin
	GraceUntil time.Time          `json:"grace_until,omitzero"` // how long past_due still has access
}

// Access reports whether the subscription gives access at now.
func (s *Subscription) Access(now time.Time) bool {
	switch s.Status {
	case SubscribedActive, Trialing:
		return true
	case PastDue:
		return now.Before(s.GraceUntil)
	}
	return false
}

// Live reports whether the subscription has not ended, whether or not it is paid.
func (s *Subscription) Live() bool {
	return s.Status != Canceled && s.Status != IncompleteExpired
}

// BillsOverage reports whether units past a quota may be billed.
func (s *Subscription) BillsOverage() bool { return s.Status == SubscribedActive }
