// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// A UsageReport is what a key, or a customer's keys of one mode, have used in
// the month that now is in. Its JSON is the answer of the API.
type UsageReport struct {
	Key      string           `json:"key,omitempty"`      // id; of a key's report
	Customer string           `json:"customer,omitempty"` // id; of a customer's report
	Period   ReportedPeriod   `json:"period"`
	Requests int64            `json:"requests"` // admitted and not refunded
	Units    map[string]int64 `json:"units"`    // used, by unit; requests is always there
	Refused  int64            `json:"refused"`  // requests refused by us
	Quotas   []ReportedQuota  `json:"quotas"`   // that hold, in the plan's order
	Quota    *ReportedQuota   `json:"quota"`    // the first of Quotas; null where there is none
}

// A ReportedPeriod is half-open: [Start, End), in UTC.
type ReportedPeriod struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// A ReportedQuota is a quota and its state.
type ReportedQuota struct {
	Unit      string     `json:"unit"`
	Scope     plan.Scope `json:"scope"`
	Span      plan.Span  `json:"period"`
	Limit     int64      `json:"limit"`
	Used      int64      `json:"used"`
	Remaining int64      `json:"remaining"` // never negative
	Over      int64      `json:"over"`      // admitted past the quota in force
	ResetsAt  time.Time  `json:"resets_at"`
}

// KeyUsage reports what the key of that id has used, exact at the time of
// asking. Errors: store.ErrNotFound, or a fault.
func (g *Gate) KeyUsage(ctx context.Context, id string) (*UsageReport, error) { panic("stub") }

// CustomerUsage reports what the customer's keys of one mode have used
// together, exact at the time of asking. Its quotas are the pooled ones.
// Errors: store.ErrNotFound, or a fault.
func (g *Gate) CustomerUsage(ctx context.Context, id string, mode apikey.Mode) (*UsageReport, error) {
	panic("stub")
}
