// SPDX-License-Identifier: Apache-2.0

// Package customer holds who pays: a person or an organisation.
package customer

import (
	"encoding/json"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// A Customer owns keys and has a plan. The zero time stands for "never" or "no
// end". A Customer is a value: its maps are not changed by who holds one.
type Customer struct {
	ID         string `json:"id"`
	Email      string `json:"email,omitempty"` // lower case; unique where not empty
	Name       string `json:"name,omitempty"`
	ExternalID string `json:"external_id,omitempty"` // the seller's own; unique where not empty
	Plan       string `json:"plan,omitempty"`        // what the seller gave; see PlanAt

	StripeCustomer string        `json:"stripe_customer,omitempty"` // unique where not empty
	Subscription   *Subscription `json:"subscription,omitempty"`    // nil: never subscribed

	Overrides    plan.Overrides `json:"overrides,omitzero"`
	PlanOverride PlanOverride   `json:"plan_override,omitzero"`

	CreatedAt time.Time `json:"created_at"`
	ErasedAt  time.Time `json:"erased_at,omitzero"` // personal data is gone, billing rows stay

	Metadata map[string]json.RawMessage `json:"metadata,omitempty"`

	// Revision is set by the store at each write; see apikey.Key.
	Revision uint64 `json:"revision"`
}

// PlanOverride gives a customer another plan until an end.
type PlanOverride struct {
	Plan   string    `json:"plan"`
	Until  time.Time `json:"until,omitzero"` // zero: no end
	Reason string    `json:"reason,omitempty"`
}

// InForce reports whether the override holds at now.
func (o PlanOverride) InForce(now time.Time) bool {
	return o.Plan != "" && (o.Until.IsZero() || now.Before(o.Until))
}

// PlanSource tells where a customer's plan comes from.
type PlanSource string

// The sources of a customer's plan, strongest first.
const (
	FromOverride PlanSource = "override"
	FromStripe   PlanSource = "stripe"
	FromCustomer PlanSource = "customer"
	FromDefault  PlanSource = "default"
)

// PlanAt returns the plan that holds for the customer at now and where it comes
// from. fallback is the plan of ended or unpaid subscriptions ("" if none),
// byDefault the plan of who has no other ("" if none). The empty plan means
// that none holds.
func (c *Customer) PlanAt(now time.Time, fallback, byDefault string) (string, PlanSource) {
	if c.PlanOverride.InForce(now) {
		return c.PlanOverride.Plan, FromOverride
	}
	if s := c.Subscription; s != nil {
		if s.Access(now) {
			if s.Plan != "" {
				return s.Plan, FromStripe
			}
		} else if fallback != "" {
			return fallback, FromStripe
		}
	}
	if c.Plan != "" {
		return c.Plan, FromCustomer
	}
	return byDefault, FromDefault
}

// MayCall reports whether the customer's subscription lets its keys call at
// now: who never subscribed always may, and who has a plan override or whose
// seller named a fallback plan may whatever Stripe says.
func (c *Customer) MayCall(now time.Time, fallback string) bool {
	return c.Subscription == nil || c.Subscription.Access(now) || fallback != "" || c.PlanOverride.InForce(now)
}
