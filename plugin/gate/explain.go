// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// Subject names the key to explain, by its id or by the hash of its secret.
type Subject struct {
	Key   string
	Hash  apikey.Hash // where Key is ""
	Route *plan.Route // nil: the default route
}

// An Explanation tells how a call would be decided now and why. Nothing is
// spent by asking. Its JSON is the answer of the API.
type Explanation struct {
	Key        string           `json:"key"`
	Customer   string           `json:"customer"`
	Plan       string           `json:"plan"`      // that decides rates, scopes and routes
	PlanFrom   string           `json:"plan_from"` // key, override, stripe, customer, default
	Pooled     string           `json:"pooled_plan"`
	PooledFrom string           `json:"pooled_plan_from"`
	Admitted   bool             `json:"admitted"` // whether a call would pass now
	Code       Reason           `json:"code,omitempty"`
	Checks     []ExplainedCheck `json:"checks"` // in the order they are made
	Limits     []ExplainedLimit `json:"limits"`
}

// An ExplainedCheck is one step of a decision.
type ExplainedCheck struct {
	Check  string `json:"check"`
	Pass   bool   `json:"pass"`
	Detail string `json:"detail,omitempty"`
}

// An ExplainedLimit is one limit, where it comes from, and its state.
type ExplainedLimit struct {
	Kind      string     `json:"kind"`           // rate, concurrency, quota
	Name      string     `json:"name,omitempty"` // as in RateLimit-Policy
	Unit      string     `json:"unit,omitempty"`
	Scope     plan.Scope `json:"scope"`
	From      string     `json:"from"`  // "key override", "customer override", "plan pro", "route chat"
	Limit     int64      `json:"limit"` // the burst of a rate, the quota, or how many at once
	Count     int64      `json:"count,omitempty"`
	Per       string     `json:"per,omitempty"`    // of a rate
	Period    plan.Span  `json:"period,omitempty"` // of a quota
	Max       *int64     `json:"max,omitempty"`    // units past a quota that are billed
	Used      int64      `json:"used"`
	Remaining int64      `json:"remaining"`
	ResetsAt  *time.Time `json:"resets_at,omitempty"`
}

// Explain tells how a call of that key would be decided now. Errors:
// store.ErrNotFound, or a fault.
func (g *Gate) Explain(ctx context.Context, s Subject) (*Explanation, error) { panic("stub") }
