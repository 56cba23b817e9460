// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// Unattributed is the route under which the Ledger books what a crash has
// taken from it.
const Unattributed = "unattributed"

// attribute books, for the keys whose slots are given, the difference between
// what was counted and what the Ledger knows of it. It is derived from months,
// in which every call of a key is counted once. Where a subscription's month
// begins within an hour, the calls of that hour before it are not booked again:
// the difference may come out too small by them, never too large.
func (m *Meter) attribute(ctx context.Context, slots []untold) {
	for _, u := range slots {
		row, err := m.difference(ctx, u)
		if err != nil {
			m.o.Logger.Error("telling the ledger what a crash took from it", "error", err)
			continue
		}
		if row.Requests > 0 || row.Refused > 0 || len(row.Units) > 0 {
			m.rollups.add(row)
		}
	}
}

func (m *Meter) difference(ctx context.Context, u untold) (store.UsageRow, error) {
	id, err := m.book.id(ctx, u.n)
	if err != nil || id.Owner.Kind != OfKey || id.Calendar.Span != plan.Month {
		return store.UsageRow{}, err
	}
	numbers, err := m.book.numbers(ctx, id)
	if err != nil || !slices.Contains(numbers, number{u.n, u.tag}) {
		return store.UsageRow{}, err
	}
	period := id.Calendar.Period(u.ordinal)
	checkpoint, err := m.book.checkpoint(ctx, period.Start, u.n)
	if err != nil {
		return store.UsageRow{}, err
	}
	booked, customer, err := m.booked(ctx, id.Owner.ID, id.Calendar, period)
	if err != nil {
		return store.UsageRow{}, err
	}
	if m.o.Customer != nil {
		if customer, err = m.o.Customer(ctx, id.Owner.ID); err != nil {
			return store.UsageRow{}, err
		}
	}
	at := m.o.Now()
	if !at.Before(period.End) {
		at = period.End.Add(-time.Second)
	}
	row := store.UsageRow{
		Start: at.UTC().Truncate(time.Hour), Key: id.Owner.ID, Customer: customer,
		Route: Unattributed, Outcome: "allowed",
	}
	used := u.counts.admitted - u.counts.refunded - checkpoint.adjusted
	if id.Unit == Calls {
		row.Requests = max(used-booked.Requests, 0)
		row.Refused = max(u.counts.refused-booked.Refused, 0)
	} else if missing := used - booked.Units[id.Unit]; missing > 0 {
		row.Units = map[string]int64{id.Unit: missing}
	}
	return row, nil
}

// booked returns what the Ledger knows of a key in a period, and whose it was.
func (m *Meter) booked(ctx context.Context, key string, c usage.Calendar, p usage.Period) (sum store.UsageCount, customer string, err error) {
	hour := p.Start.Truncate(time.Hour)
	bucket := store.HourBucket
	if c.Anchor == 0 {
		bucket = store.MonthBucket
	}
	rows, err := m.o.Ledger.Usage(ctx, store.UsageQuery{
		From: hour, To: p.End, Bucket: bucket, Group: store.ByCustomer, Key: key,
	})
	sum.Units = make(map[string]int64)
	for _, row := range rows {
		customer = row.Customer
		sum.Requests += row.Requests
		sum.Refused += row.Refused
		for unit, n := range row.Units {
			sum.Units[unit] += n
		}
	}
	return sum, customer, err
}
