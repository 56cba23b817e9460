// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

// Requests is the unit that is metered when nothing else is said.
const Requests = "requests"

// Scope tells whose calls share a limit.
type Scope string

// The scopes of a limit.
const (
	PerKey      Scope = "key"
	PerCustomer Scope = "customer" // shared by all keys of the customer of one mode
)

// A Rate admits Count units in each Per, and Burst of them at once after a rest:
// over a time t at most Burst + Count·t/Per units.
type Rate struct {
	Unit  string        `json:"unit"`
	Count int64         `json:"count"`
	Per   time.Duration `json:"-"`
	Burst int64         `json:"burst"`
	Scope Scope         `json:"scope"`
}

// Span names the length of a quota's periods.
type Span string

// The spans of a quota.
const (
	Hour  Span = "hour"
	Day   Span = "day"
	Month Span = "month"
)

// Overage is what happens past a quota.
type Overage string

// The kinds of overage.
const (
	Block Overage = "block" // refuse
	Bill  Overage = "bill"  // admit and bill, up to Quota.Max
)

// A Quota admits Limit units in each period.
type Quota struct {
	Unit    string  `json:"unit"`
	Limit   int64   `json:"limit"`
	Span    Span    `json:"period"`
	Scope   Scope   `json:"scope"` // in an override of a customer empty: that of the plan's quota
	Overage Overage `json:"overage"`
	Max     *int64  `json:"max"` // units past Limit; nil: ten times Limit where overage is billed
}

// Bound returns how many units a period admits in all, overage included.
func (q Quota) Bound() int64 {
	if q.Overage != Bill {
		return q.Limit
	}
	return min(q.Limit+q.MaxOverage(), MaxCount)
}

// MaxOverage returns how many units past Limit are admitted.
func (q Quota) MaxOverage() int64 {
	switch {
	case q.Overage != Bill:
		return 0
	case q.Max != nil:
		return *q.Max
	}
	return min(10*min(q.Limit, MaxCount/10), MaxCount)
}

// Concurrency bounds how many requests are in flight at once. A zero Limit is none.
type Concurrency struct {
	Limit int64 `json:"limit"`
	Scope Scope `json:"scope"`
}

// Overrides replace limits of a plan for one customer or one key, until an end.
type Overrides struct {
	Rates       *[]Rate      `json:"rates,omitempty"` // nil: the plan's; empty: no rate
	Quota       *Quota       `json:"quota,omitempty"` // replaces the plan's quotas of its unit (and scope, where it names one)
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	Until       time.Time    `json:"until,omitzero"` // zero: no end
	Reason      string       `json:"reason,omitempty"`
}

// InForce reports whether o replaces anything at now.
func (o Overrides) InForce(now time.Time) bool {
	return (o.Rates != nil || o.Quota != nil || o.Concurrency != nil) && (o.Until.IsZero() || now.Before(o.Until))
}
