// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// Ledger keeps usage by hour and by day at three levels: all, customer, key;
// each by plan, route and outcome. It is derived from what nodes append: bills
// are made from the meter's slots, see plugin/meter.
type Ledger interface {
	// Append books the rows under the node's sequence number. A number that is
	// not above the node's last one changes nothing and is no error.
	Append(ctx context.Context, node string, sequence uint64, rows []UsageRow) error
	// Sequence returns the last number booked for the node; 0 before the first.
	Sequence(ctx context.Context, node string) (uint64, error)
	// Usage returns one row for each bucket and group in which anything was
	// booked, in order of Start and then of the group.
	Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error)
	// PruneUsage deletes rows of hours and of days that begin before the given
	// times, in small steps, and returns how many.
	PruneUsage(ctx context.Context, hours, days time.Time) (int, error)
	// RenameUsage books all rows of one customer as another's: erasure.
	RenameUsage(ctx context.Context, customer, pseudonym string) error
}

// A UsageRow counts what happened in one bucket of time. In Append every
// dimension is given ("" where there is none: no key was known) and Start is
// the hour. In answers only the grouped dimension is set.
type UsageRow struct {
	Start                               time.Time // of the bucket, UTC
	Key, Customer, Plan, Route, Outcome string
	UsageCount
}

// UsageCount counts requests and units.
type UsageCount struct {
	Requests int64            // admitted and not refunded
	Refused  int64            // by us
	Refunded int64            // admitted, then refunded: the upstream failed
	Units    map[string]int64 // of Requests, by unit; nil where there are none
}

// Group names the dimension usage is grouped by.
type Group string

// The groups of usage.
const (
	Ungrouped  Group = ""
	ByKey      Group = "key"
	ByCustomer Group = "customer"
	ByRoute    Group = "route"
	ByOutcome  Group = "outcome"
	ByPlan     Group = "plan"
)

// Bucket names the length of the times usage is summed over.
type Bucket string

// The buckets of usage.
const (
	HourBucket  Bucket = "hour"
	DayBucket   Bucket = "day"
	MonthBucket Bucket = "month"
)

// UsageQuery selects rows of buckets with From <= Start < To (both are already
// whole buckets). Empty filters select all.
type UsageQuery struct {
	From, To             time.Time
	Bucket               Bucket
	Group                Group
	Customer, Key, Route string
}
