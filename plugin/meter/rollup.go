// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// rollupRows are appended to the Ledger at once: a transaction of some milliseconds.
const rollupRows = 500

// rollups are the rows that the Ledger is to be told: each exactly once.
type rollups struct {
	mu       sync.Mutex // guards the rest; held while the Ledger is told
	sequence uint64     // of the last append that is known to have been booked
	offered  []store.UsageRow
	waiting  map[rollupKey]*store.UsageRow
}

type rollupKey struct {
	start                               time.Time
	key, customer, plan, route, outcome string
}

func (r *rollups) open(ctx context.Context, ledger store.Ledger, node string) (err error) {
	if r.sequence, err = ledger.Sequence(ctx, node); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	r.waiting = make(map[rollupKey]*store.UsageRow)
	return nil
}

// FlushUsage tells the Ledger what was tallied so far.
func (m *Meter) FlushUsage(ctx context.Context) error {
	r := &m.rollups
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range m.told.take() {
		for _, row := range t.take() {
			r.add(row)
		}
	}
	return r.append(ctx, m.o.Ledger, m.o.Node)
}

// add merges a row with those that wait. The caller holds r.mu.
func (r *rollups) add(row store.UsageRow) {
	key := rollupKey{row.Start, row.Key, row.Customer, row.Plan, row.Route, row.Outcome}
	has := r.waiting[key]
	if has == nil {
		r.waiting[key] = &row
		return
	}
	has.Requests += row.Requests
	has.Refused += row.Refused
	has.Refunded += row.Refunded
	for unit, n := range row.Units {
		if has.Units == nil {
			has.Units = make(map[string]int64)
		}
		has.Units[unit] += n
	}
}

// append offers the waiting rows under the next numbers. Rows whose booking is
// in doubt are offered again, unchanged and under their own number. The caller
// holds r.mu.
func (r *rollups) append(ctx context.Context, ledger store.Ledger, node string) error {
	for {
		if r.offered == nil {
			for key, row := range r.waiting {
				r.offered = append(r.offered, *row)
				delete(r.waiting, key)
				if len(r.offered) == rollupRows {
					break
				}
			}
		}
		if r.offered == nil {
			return nil
		}
		if err := ledger.Append(ctx, node, r.sequence+1, r.offered); err != nil {
			return fmt.Errorf("telling the ledger: %w", err)
		}
		r.sequence++
		r.offered = nil
	}
}
