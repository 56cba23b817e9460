// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// Tally gathers what the Ledger is told of one key. It shares nothing with
// another key's; what it gathered is not lost when nobody holds it any more.
type Tally struct {
	m             *Meter
	key, customer string
	cells         atomic.Pointer[[]*cell]
	changed       atomic.Bool // since it was last gathered

	mu   sync.Mutex // guards the rest, and the list of cells and their hours against changes
	past []store.UsageRow
}

type tallyKey struct{ key, customer string }

// Count is what one request adds to a tally: one of the first three is 1.
type Count struct {
	Requests, Refused, Refunded int64
	Unit                        string
	Units                       int64
}

// cell counts one combination of dimensions in one hour. What is written lies
// on a cache line of its own.
type cell struct {
	plan, route, outcome, unit string

	hour                               atomic.Int64 // since 1970
	requests, refused, refunded, units atomic.Int64

	_ [24]byte
}

// Tally returns the rollup cells of a key (of nobody: two empty strings).
func (m *Meter) Tally(key, customer string) *Tally {
	return m.tallies.of(tallyKey{key, customer}, func() *Tally {
		return &Tally{m: m, key: key, customer: customer}
	})
}

// Add counts one request that ended with outcome; units were used in unit.
// It allocates nothing for a combination seen before in this hour.
func (t *Tally) Add(now time.Time, plan, route, outcome string, c Count) {
	hour := now.Unix() / 3600
	at := t.find(plan, route, outcome, c.Unit)
	if at == nil || at.hour.Load() != hour {
		at = t.turn(hour, plan, route, outcome, c)
	}
	if at != nil {
		at.add(c)
	}
	if !t.changed.Load() && t.changed.CompareAndSwap(false, true) {
		t.m.told.push(t)
	}
}

func (t *Tally) find(plan, route, outcome, unit string) *cell {
	cells := t.cells.Load()
	if cells == nil {
		return nil
	}
	for _, c := range *cells {
		if c.route == route && c.outcome == outcome && c.unit == unit && c.plan == plan {
			return c
		}
	}
	return nil
}

// turn returns the combination's cell, new or turned to the hour. A count that
// comes later than its hour is booked at once: then there is none.
func (t *Tally) turn(hour int64, plan, route, outcome string, c Count) *cell {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.find(plan, route, outcome, c.Unit)
	if at == nil {
		at = &cell{plan: plan, route: route, outcome: outcome, unit: c.Unit}
		at.hour.Store(hour)
		var cells []*cell
		if old := t.cells.Load(); old != nil {
			cells = slices.Clone(*old)
		}
		cells = append(cells, at)
		t.cells.Store(&cells)
	}
	switch is := at.hour.Load(); {
	case is > hour:
		late := &cell{plan: plan, route: route, outcome: outcome, unit: c.Unit}
		late.hour.Store(hour)
		late.add(c)
		t.past = late.take(t, t.past)
		return nil
	case is < hour:
		t.past = at.take(t, t.past)
		at.hour.Store(hour)
	}
	return at
}

func (c *cell) add(n Count) {
	if n.Requests != 0 {
		c.requests.Add(n.Requests)
	}
	if n.Refused != 0 {
		c.refused.Add(n.Refused)
	}
	if n.Refunded != 0 {
		c.refunded.Add(n.Refunded)
	}
	if n.Units != 0 && n.Unit != "" {
		c.units.Add(n.Units)
	}
}

// take appends what the cell counted, if anything, and leaves it at zero.
func (c *cell) take(t *Tally, rows []store.UsageRow) []store.UsageRow {
	row := store.UsageRow{
		Start: time.Unix(c.hour.Load()*3600, 0).UTC(),
		Key:   t.key, Customer: t.customer, Plan: c.plan, Route: c.route, Outcome: c.outcome,
		UsageCount: store.UsageCount{
			Requests: c.requests.Swap(0), Refused: c.refused.Swap(0), Refunded: c.refunded.Swap(0),
		},
	}
	if units := c.units.Swap(0); units != 0 {
		row.Units = map[string]int64{c.unit: units}
	}
	if row.Requests|row.Refused|row.Refunded == 0 && row.Units == nil {
		return rows
	}
	return append(rows, row)
}

// take returns what was tallied since it was last taken.
func (t *Tally) take() []store.UsageRow {
	t.changed.Store(false) // before the cells are read
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := t.past
	t.past = nil
	if cells := t.cells.Load(); cells != nil {
		for _, c := range *cells {
			rows = c.take(t, rows)
		}
	}
	return rows
}
