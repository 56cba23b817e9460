// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// A level is one way to sum usage up. Its buckets, one of hours and one of
// days, are ordered by time first: what is booked now is written in one place,
// what is old is deleted in one piece, and the rows of one owner are one search
// for each time.
//
//	all:      start | plan, route, outcome
//	customer: start | customer | plan, route, outcome
//	key:      start | customer, key | plan, route, outcome
type level string

const (
	ofAll      level = "all"
	ofCustomer level = "customer"
	ofKey      level = "key"
)

// levels are all of them.
func levels() []level { return []level{ofAll, ofCustomer, ofKey} }

// bucket returns the name of the level's bucket for hours or days.
func (l level) bucket(b store.Bucket) string { return "usage_" + string(l) + "_" + string(b) }

// owner appends what rows of one owner begin with at the level.
func (l level) owner(to []byte, customer, key string) []byte {
	if l != ofAll {
		to = part(to, customer)
	}
	if l == ofKey {
		to = part(to, key)
	}
	return to
}

func (l level) rowKey(start time.Time, r *store.UsageRow) []byte {
	to := l.owner(startKey(start), r.Customer, r.Key)
	return part(part(part(to, r.Plan), r.Route), r.Outcome)
}

// row reads what rowKey wrote.
func (l level) row(key []byte) (r store.UsageRow) {
	r.Start = startOf(key)
	rest := key[8:]
	if l != ofAll {
		r.Customer, rest = cut(rest)
	}
	if l == ofKey {
		r.Key, rest = cut(rest)
	}
	r.Plan, rest = cut(rest)
	r.Route, rest = cut(rest)
	r.Outcome, _ = cut(rest)
	return r
}

func startKey(t time.Time) []byte { return number(uint64(max(t.Unix(), 0))) }

func startOf(key []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(key)), 0).UTC()
}

// Append implements store.Ledger.
func (e *Engine) Append(ctx context.Context, node string, sequence uint64, rows []store.UsageRow) error {
	if node == "" || sequence == 0 {
		return errors.New("usage is appended without a node or a sequence number")
	}
	sums := summed(rows)
	return e.update(ctx, func(tx Tx) error {
		nodes := tx.Bucket(usageNodes)
		if sequence <= asNumber(nodes.Get([]byte(node))) {
			return nil
		}
		if err := nodes.Put([]byte(node), number(sequence)); err != nil {
			return err
		}
		for _, bucket := range slices.Sorted(maps.Keys(sums)) {
			if err := addAll(tx.Bucket(bucket), sums[bucket]); err != nil {
				return err
			}
		}
		return own(tx, rows)
	})
}

// summed returns what is to be added, by bucket and key: many rows fall into
// one cell of a higher level.
func summed(rows []store.UsageRow) map[string]map[string]store.UsageCount {
	sums := make(map[string]map[string]store.UsageCount)
	for i := range rows {
		r := &rows[i]
		if isZero(r.UsageCount) {
			continue
		}
		hour := r.Start.UTC().Truncate(time.Hour)
		day := hour.Truncate(24 * time.Hour)
		for _, l := range levels() {
			addTo(sums, l.bucket(store.HourBucket), l.rowKey(hour, r), r.UsageCount)
			addTo(sums, l.bucket(store.DayBucket), l.rowKey(day, r), r.UsageCount)
		}
	}
	return sums
}

func addTo(sums map[string]map[string]store.UsageCount, bucket string, key []byte, c store.UsageCount) {
	cells := sums[bucket]
	if cells == nil {
		cells = make(map[string]store.UsageCount)
		sums[bucket] = cells
	}
	cells[string(key)] = plus(cells[string(key)], c)
}

// addAll adds to the cells of one bucket, in order of their keys.
func addAll(b Bucket, cells map[string]store.UsageCount) error {
	for _, key := range slices.Sorted(maps.Keys(cells)) {
		sum := cells[key]
		if have := b.Get([]byte(key)); have != nil {
			c, err := asCount(have)
			if err != nil {
				return err
			}
			sum = plus(c, sum)
		}
		if err := b.Put([]byte(key), countBytes(sum)); err != nil {
			return err
		}
	}
	return nil
}

// own notes which customer the rows of a key stand under.
func own(tx Tx, rows []store.UsageRow) error {
	b := tx.Bucket(usageOwners)
	type owned struct{ key, customer string }
	seen := make(map[owned]bool)
	for i := range rows {
		r := &rows[i]
		if r.Key == "" || seen[owned{r.Key, r.Customer}] || isZero(r.UsageCount) {
			continue
		}
		seen[owned{r.Key, r.Customer}] = true
		if k := under(r.Key, r.Customer); b.Get(k) == nil {
			if err := b.Put(k, []byte{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sequence implements store.Ledger.
func (e *Engine) Sequence(ctx context.Context, node string) (sequence uint64, err error) {
	err = e.view(ctx, func(tx Tx) error {
		sequence = asNumber(tx.Bucket(usageNodes).Get([]byte(node)))
		return nil
	})
	return sequence, err
}
