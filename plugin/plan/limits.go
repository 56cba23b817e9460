// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"math"
	"time"
)

// Requests is the unit that is metered when nothing else is said.
const Requests = "requests"

// Scope tells whose calls share a limit.
type Scope string

// The scopes of a limit.
const (
	PerKey      Scope = "key"
	PerCustomer Scope = "customer" // shared by all keys of the customer of one mode
)

func (s Scope) valid() bool { return s == PerKey || s == PerCustomer }

// A Rate admits Count units in each Per, and Burst of them at once after a rest:
// over a time t at most Burst + Count·t/Per units. Where Count is Unlimited it
// bounds nothing, and Burst is 0.
//
// In JSON: {"unit":"requests","count":10,"per":"1s","burst":20,"scope":"key"}.
// Unit, burst and scope may be left out; count is a number or "unlimited", per
// is what ParsePer reads.
type Rate struct {
	Unit  string
	Count int64
	Per   time.Duration
	Burst int64
	Scope Scope
}

// Unlimited reports whether r bounds nothing.
func (r Rate) Unlimited() bool { return r.Count == Unlimited }

// Span names the length of a quota's periods.
type Span string

// The spans of a quota.
const (
	Hour  Span = "hour"
	Day   Span = "day"
	Month Span = "month"
)

func (s Span) valid() bool { return s == Hour || s == Day || s == Month }

// Overage is what happens past a quota.
type Overage string

// The kinds of overage.
const (
	Block Overage = "block" // refuse
	Bill  Overage = "bill"  // admit and bill, up to Quota.Max
)

func (o Overage) valid() bool { return o == Block || o == Bill }

// A Quota admits Limit units in each period, or any number where Limit is
// Unlimited.
//
// In JSON: {"unit":"requests","limit":1000,"period":"month","scope":"key",
// "overage":"bill","max":5000}. Limit and max are numbers or "unlimited"; unit,
// scope, overage and max may be left out.
type Quota struct {
	Unit    string
	Limit   int64
	Span    Span
	Scope   Scope   // in an override of a customer empty: that of the plan's quota
	Overage Overage // in an override empty: that of the plan's quota
	Max     *int64  // units past Limit; nil: ten times Limit where overage is billed
}

// Unlimited reports whether q bounds nothing.
func (q Quota) Unlimited() bool { return q.Limit == Unlimited }

// Inherit fills in what q, an override, leaves open: what the quota that it
// replaces says, or the usual where it replaces none (the zero Quota).
func (q Quota) Inherit(from Quota) Quota {
	q.Unit = cmp.Or(q.Unit, from.Unit, Requests)
	q.Scope = cmp.Or(q.Scope, from.Scope, PerKey)
	q.Span = cmp.Or(q.Span, from.Span, Month)
	switch {
	case q.Overage != "":
	case q.Unlimited():
		q.Overage = Block
	default:
		q.Overage, q.Max = cmp.Or(from.Overage, Block), from.Max
	}
	return q
}

// Bound returns how many units a period admits in all, overage included: the
// largest int64 where q is unlimited.
func (q Quota) Bound() int64 {
	switch {
	case q.Unlimited():
		return math.MaxInt64
	case q.Overage != Bill:
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

// Concurrency bounds how many requests are in flight at once. A zero Limit
// bounds nothing; in JSON it is "unlimited".
type Concurrency struct {
	Limit int64
	Scope Scope
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
