// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// Usage implements store.Ledger.
func (e *Engine) Usage(ctx context.Context, q store.UsageQuery) (rows []store.UsageRow, err error) {
	g := &grouping{query: q, sums: make(map[cell]*store.UsageCount)}
	if err := g.check(); err != nil {
		return nil, err
	}
	err = e.view(ctx, func(tx Tx) error { return g.walk(ctx, tx) })
	if err != nil {
		return nil, err
	}
	return g.rows(), nil
}

// grouping sums rows up as a query asks.
type grouping struct {
	query store.UsageQuery
	level level
	sums  map[cell]*store.UsageCount
}

// cell is one bucket of time of one group.
type cell struct {
	start int64
	group string
}

func (g *grouping) check() error {
	switch g.query.Bucket {
	case store.HourBucket, store.DayBucket, store.MonthBucket:
	default:
		return fmt.Errorf("usage by %q", g.query.Bucket)
	}
	switch {
	case g.query.Key != "" || g.query.Group == store.ByKey:
		g.level = ofKey
	case g.query.Customer != "" || g.query.Group == store.ByCustomer:
		g.level = ofCustomer
	case g.query.Group == store.Ungrouped, g.query.Group == store.ByRoute,
		g.query.Group == store.ByOutcome, g.query.Group == store.ByPlan:
		g.level = ofAll
	default:
		return fmt.Errorf("usage grouped by %q", g.query.Group)
	}
	return nil
}

func (g *grouping) walk(ctx context.Context, tx Tx) error {
	stored := g.query.Bucket
	if stored == store.MonthBucket {
		stored = store.DayBucket
	}
	c := tx.Bucket(g.level.bucket(stored)).Cursor()
	for _, owner := range g.owners(tx) {
		if err := g.walkOwner(ctx, c, owner); err != nil {
			return err
		}
	}
	return nil
}

// owners returns what the wanted rows begin with, after their time.
func (g *grouping) owners(tx Tx) [][]byte {
	q := g.query
	switch {
	case q.Key != "" && q.Customer == "":
		var to [][]byte
		prefix := part(nil, q.Key)
		c := tx.Bucket(usageOwners).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			to = append(to, g.level.owner(nil, string(k[len(prefix):]), q.Key))
		}
		return to
	case q.Key != "":
		return [][]byte{g.level.owner(nil, q.Customer, q.Key)}
	case q.Customer != "":
		return [][]byte{part(nil, q.Customer)}
	}
	return [][]byte{nil}
}

func (g *grouping) walkOwner(ctx context.Context, c Cursor, owner []byte) error {
	to := startKey(g.query.To)
	seek := append(startKey(g.query.From), owner...)
	walked := 0
	k, v := c.Seek(seek)
	for k != nil && bytes.Compare(k[:8], to) < 0 {
		if walked++; walked%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case bytes.HasPrefix(k[8:], owner):
			if err := g.add(k, v); err != nil {
				return err
			}
			k, v = c.Next()
		case bytes.Compare(k[8:], owner) < 0:
			k, v = c.Seek(append(append(seek[:0], k[:8]...), owner...))
		default: // past the owner: on to the next time
			next := number(asNumber(k[:8]) + 1)
			k, v = c.Seek(append(append(seek[:0], next...), owner...))
		}
	}
	return nil
}

func (g *grouping) add(key, value []byte) error {
	r := g.level.row(key)
	if g.query.Route != "" && r.Route != g.query.Route {
		return nil
	}
	c, err := asCount(value)
	if err != nil {
		return err
	}
	at := cell{g.bucketOf(r.Start).Unix(), *g.dimension(&r)}
	if have := g.sums[at]; have != nil {
		addInto(have, c)
		return nil
	}
	g.sums[at] = &c
	return nil
}

func addInto(to *store.UsageCount, c store.UsageCount) {
	to.Requests += c.Requests
	to.Refused += c.Refused
	to.Refunded += c.Refunded
	if to.Units == nil {
		to.Units = c.Units
		return
	}
	for unit, n := range c.Units {
		to.Units[unit] += n
	}
}

func (g *grouping) bucketOf(start time.Time) time.Time {
	if g.query.Bucket == store.MonthBucket {
		return time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return start
}

// dimension returns the field of r that is grouped by.
func (g *grouping) dimension(r *store.UsageRow) *string {
	switch g.query.Group {
	case store.ByKey:
		return &r.Key
	case store.ByCustomer:
		return &r.Customer
	case store.ByRoute:
		return &r.Route
	case store.ByOutcome:
		return &r.Outcome
	case store.ByPlan:
		return &r.Plan
	}
	return new(string)
}

func (g *grouping) rows() []store.UsageRow {
	cells := make([]cell, 0, len(g.sums))
	for at := range g.sums {
		cells = append(cells, at)
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.group, b.group))
	})
	rows := make([]store.UsageRow, len(cells))
	for i, at := range cells {
		rows[i] = store.UsageRow{Start: time.Unix(at.start, 0).UTC(), UsageCount: *g.sums[at]}
		*g.dimension(&rows[i]) = at.group
	}
	return rows
}
