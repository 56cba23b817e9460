// SPDX-License-Identifier: Apache-2.0

// Package meter counts exactly, without a write per request.
package meter

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// ErrUnavailable: the counter's slot could not be had in time. The request
// cannot be decided.
var ErrUnavailable = errors.New("counter is not available")

// Kind tells what owns a counter.
type Kind byte

// The kinds of owners.
const (
	OfKey Kind = iota + 1
	OfCustomer
	OfGrant
)

// Owner owns counters. Test keys of a customer share one, live ones another.
type Owner struct {
	Kind Kind
	ID   string
	Mode apikey.Mode
}

// Calls is the unit in which the number of requests is counted, whatever they cost.
const Calls = "calls"

// ID names a counter for ever; with an ordinal of its calendar, a slot.
type ID struct {
	Owner    Owner
	Unit     string
	Calendar usage.Calendar
}

// Options are what a meter needs.
type Options struct {
	Dir     string // where slot files live; "" keeps them in memory
	Journal store.Journal
	Ledger  store.Ledger
	Node    string
	Now     func() time.Time
	Logger  *slog.Logger
}

// Meter holds the counters of this node. Its methods may be called concurrently.
type Meter struct{}

// Open recovers what was counted and starts the meter's own goroutines.
func Open(ctx context.Context, o Options) (*Meter, error) { panic("stub") }

// Close syncs, writes checkpoints and rollups, and marks the files clean.
func (m *Meter) Close(ctx context.Context) error { panic("stub") }

// Counter returns the counter of id: always the same one while anybody holds
// it. It does no I/O.
func (m *Meter) Counter(id ID) *Counter { panic("stub") }

// Peek reads a counter without making one: of this period, or of a former
// one from its checkpoint.
func (m *Meter) Peek(ctx context.Context, id ID, ordinal int64) (Reading, error) { panic("stub") }

// Tally returns the rollup cells of a key (of nobody: two empty strings).
func (m *Meter) Tally(key, customer string) *Tally { panic("stub") }

// Flush makes everything counted so far durable, rollups included.
func (m *Meter) Flush(ctx context.Context) error { panic("stub") }

// Counter counts units of one owner in the period that now is in.
type Counter struct{}

// Unlimited as a bound admits everything.
const Unlimited = int64(1<<63 - 1)

// Reserve admits n units if the period's use stays within bound. quota is
// the limit without overage: what goes past it is counted in Reading.Over.
// full is true if the bound does not allow it. It allocates nothing and does
// not block, unless the counter has no slot or no lease yet: then it waits for
// one until ctx ends, at most a second, and returns ErrUnavailable.
func (c *Counter) Reserve(ctx context.Context, now time.Time, n, quota, bound int64) (h Hold, full bool, err error) {
	panic("stub")
}

// Refuse counts one refused request in the current period, if the counter has a slot.
func (c *Counter) Refuse(now time.Time) { panic("stub") }

// Read returns the counter's state in the period that now is in.
func (c *Counter) Read(now time.Time) Reading { panic("stub") }

// Adjust corrects the period's use by n, which may be negative.
func (c *Counter) Adjust(ctx context.Context, now time.Time, n int64) error { panic("stub") }

// Reading is a counter's state in one period.
type Reading struct {
	Period   usage.Period
	Admitted int64
	Refunded int64
	Billed   int64
	Over     int64
	Refused  int64
}

// Used returns how many units are spent: admitted and not refunded.
func (r Reading) Used() int64 { return max(r.Admitted-r.Refunded, 0) }

// A Hold is what one request has reserved of one counter; it keeps the period
// it was admitted in. Exactly one of its methods is to be called, once. The
// zero Hold holds nothing.
type Hold struct{}

// Cancel gives the reservation back: the request was refused after all.
func (h Hold) Cancel() { panic("stub") }

// Refund gives it back: the request was forwarded and failed.
func (h Hold) Refund() { panic("stub") }

// Keep leaves the units used and bills nothing: no answer is known.
func (h Hold) Keep() { panic("stub") }

// Bill settles the request at n units, whether more or less than reserved.
func (h Hold) Bill(n int64) { panic("stub") }

// Remaining returns what is left of quota in the hold's period, never negative.
func (h Hold) Remaining(quota int64) int64 { panic("stub") }

// Tally gathers what the Ledger is told of one key.
type Tally struct{}

// Add counts one request that ended with outcome; units were used in unit.
// It allocates nothing for a combination seen before in this hour.
func (t *Tally) Add(now time.Time, plan, route, outcome string, c Count) { panic("stub") }

// Count is what one request adds to a tally: one of the first three is 1.
type Count struct {
	Requests, Refused, Refunded int64
	Unit                        string
	Units                       int64
}
