// SPDX-License-Identifier: Apache-2.0

// Package plan holds what is sold: named limits and prices, and the routes of
// the sold API with their cost.
package plan

import "slices"

// Source tells who defined a plan. Where several define one name, config holds
// over store, store over Stripe.
type Source string

// The sources of a plan.
const (
	FromConfig Source = "config"
	FromStore  Source = "store"
	FromStripe Source = "stripe"
	Retired    Source = "retired" // gone from the configuration, still held by customers
)

// A Plan is a named set of limits and prices. It is a value: its slices are
// not changed once it is in force.
type Plan struct {
	ID          string      `json:"id"`
	Title       string      `json:"title,omitempty"`
	Rates       []Rate      `json:"rates"`
	Quotas      []Quota     `json:"quotas"`
	Concurrency Concurrency `json:"concurrency,omitzero"`
	MaxKeys     int         `json:"max_keys,omitempty"` // live keys per customer; 0: no limit
	Scopes      []string    `json:"scopes"`             // what keys may hold; empty: any
	Routes      []string    `json:"routes"`             // which routes keys may call; empty: all

	StripePrices []string      `json:"stripe_prices"`
	StripeMeters []StripeMeter `json:"stripe_meters"`
	NotForSale   bool          `json:"not_for_sale,omitempty"`

	Source   Source `json:"source"`
	Revision uint64 `json:"revision,omitempty"` // of the stored plan; see apikey.Key
}

// StripeMeter sends a unit's usage to a Stripe meter.
type StripeMeter struct {
	Event string `json:"event"`
	Unit  string `json:"unit"`
	All   bool   `json:"all"` // every unit, not only those past the quota
}

// AllowsRoute reports whether keys of the plan may call the route.
func (p *Plan) AllowsRoute(name string) bool {
	return len(p.Routes) == 0 || slices.Contains(p.Routes, name)
}

// AllowsScope reports whether keys of the plan may hold scope.
func (p *Plan) AllowsScope(scope string) bool {
	return len(p.Scopes) == 0 || slices.Contains(p.Scopes, scope)
}

// Defaults returns the plans that exist where none is defined: free, which is
// then the default plan, and pro.
func Defaults() []Plan {
	return []Plan{
		{
			ID: "free", Title: "Free",
			Rates:  []Rate{{Unit: Requests, Count: 10, Per: second, Burst: 10, Scope: PerKey}},
			Quotas: []Quota{{Unit: Requests, Limit: 1_000, Span: Month, Scope: PerKey, Overage: Block}},
			Source: FromConfig,
		},
		{
			ID: "pro", Title: "Pro",
			Rates:  []Rate{{Unit: Requests, Count: 100, Per: second, Burst: 100, Scope: PerKey}},
			Quotas: []Quota{{Unit: Requests, Limit: 100_000, Span: Month, Scope: PerKey, Overage: Block}},
			Source: FromConfig,
		},
	}
}
