// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

func runLedger(t *testing.T, open Open) {
	each(t, open, "rows are booked once for each node and number", ledgerOnce)
	each(t, open, "usage is summed by every bucket, group and filter", ledgerQueries)
	each(t, open, "rows of a key under two customers in one append are all found by the key", ledgerTwoOwners)
	each(t, open, "old rows are pruned at all levels, and nothing else", ledgerPrune)
	each(t, open, "renaming a customer moves its usage and loses none", ledgerRename)
	each(t, open, "nodes append concurrently", ledgerConcurrent)
}

func appendRows(t *testing.T, e store.Engine, node string, sequence uint64, rows ...store.UsageRow) {
	t.Helper()
	if err := e.Append(context.Background(), node, sequence, rows); err != nil {
		t.Fatalf("append: %v", err)
	}
}

func usageRow(hour int, customer, key string, requests int64) store.UsageRow {
	return store.UsageRow{
		Start: Start.Add(time.Duration(hour) * time.Hour), Customer: customer, Key: key,
		Plan: "free", Route: "default", Outcome: "allowed",
		UsageCount: store.UsageCount{Requests: requests, Units: map[string]int64{"requests": requests}},
	}
}

func requests(t *testing.T, e store.Engine, q store.UsageQuery) int64 {
	t.Helper()
	if q.Bucket == "" {
		q.Bucket = store.HourBucket
	}
	if q.To.IsZero() {
		q.To = Start.AddDate(2, 0, 0)
	}
	rows, err := e.Usage(context.Background(), q)
	if err != nil {
		t.Fatalf("usage: %v", err)
	}
	sum := int64(0)
	for _, r := range rows {
		sum += r.Requests
	}
	return sum
}

func ledgerOnce(t *testing.T, e store.Engine) {
	row := usageRow(0, "c", "k", 5)
	appendRows(t, e, "n1", 1, row)
	appendRows(t, e, "n1", 1, row)
	appendRows(t, e, "n2", 1, row)
	appendRows(t, e, "n1", 4, row)
	appendRows(t, e, "n1", 3, row)
	if got := requests(t, e, store.UsageQuery{}); got != 15 {
		t.Errorf("got %d requests, want 15: three appends are new", got)
	}
	for node, want := range map[string]uint64{"n1": 4, "n2": 1, "n3": 0} {
		if got, err := e.Sequence(context.Background(), node); err != nil || got != want {
			t.Errorf("%s: got sequence %d, %v, want %d", node, got, err, want)
		}
	}
	if err := e.Append(context.Background(), "n1", 5, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
	if got, _ := e.Sequence(context.Background(), "n1"); got != 5 {
		t.Errorf("got sequence %d after no rows, want 5", got)
	}
}

// manyRows returns usage of all kinds over some months.
func ledgerTwoOwners(t *testing.T, e store.Engine) {
	appendRows(t, e, "n1", 1, usageRow(0, "", "k", 5), usageRow(0, "c", "k", 7))
	if got := requests(t, e, store.UsageQuery{Key: "k"}); got != 12 {
		t.Errorf("got %d requests of the key, want 12", got)
	}
}

func manyRows() []store.UsageRow {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
	var rows []store.UsageRow
	for range 600 {
		key := random.IntN(7)
		r := store.UsageRow{
			Start:    Start.Add(time.Duration(random.IntN(75*24)) * time.Hour),
			Customer: fmt.Sprint("cust", key%3), Key: fmt.Sprint("key", key),
			Plan:  []string{"free", "pro"}[random.IntN(2)],
			Route: []string{"default", "chat", "images"}[random.IntN(3)],
		}
		switch random.IntN(4) {
		case 0:
			r.Outcome, r.Refused = "rate_limited", 1+random.Int64N(9)
		case 1:
			r.Outcome, r.Refunded = "upstream_error", 1+random.Int64N(9)
		default:
			r.Outcome, r.Requests = "allowed", 1+random.Int64N(9)
			r.Units = map[string]int64{"requests": r.Requests, "tokens": random.Int64N(1000)}
		}
		rows = append(rows, r)
	}
	for n := range 5 { // nobody's: no key was known
		rows = append(rows, store.UsageRow{
			Start: Start.Add(time.Duration(n) * time.Hour), Route: "default", Outcome: "missing_key",
			UsageCount: store.UsageCount{Refused: 3},
		})
	}
	return rows
}

func ledgerQueries(t *testing.T, e store.Engine) {
	rows := manyRows()
	for i := 0; i < len(rows); i += 100 {
		appendRows(t, e, "n", uint64(i+1), rows[i:min(i+100, len(rows))]...)
	}
	from := time.Date(2026, time.November, 5, 0, 0, 0, 0, time.UTC)
	spans := map[store.Bucket][2]time.Time{
		store.HourBucket:  {from, from.Add(200 * time.Hour)},
		store.DayBucket:   {from, from.AddDate(0, 0, 40)},
		store.MonthBucket: {time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, time.January, 1, 0, 0, 0, 0, time.UTC)},
	}
	answered := 0
	for bucket, span := range spans {
		for _, group := range []store.Group{store.Ungrouped, store.ByKey, store.ByCustomer, store.ByRoute, store.ByOutcome, store.ByPlan} {
			for _, customer := range []string{"", "cust1", "nobody"} {
				for _, key := range []string{"", "key1", "key2"} {
					for _, route := range []string{"", "chat"} {
						q := store.UsageQuery{From: span[0], To: span[1], Bucket: bucket, Group: group, Customer: customer, Key: key, Route: route}
						want := sumPlainly(rows, q)
						got, err := e.Usage(context.Background(), q)
						if err != nil {
							t.Fatalf("%+v: %v", q, err)
						}
						answered += len(want)
						if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
							t.Errorf("%+v:\ngot  %+v\nwant %+v", q, got, want)
						}
					}
				}
			}
		}
	}
	if answered < 1000 {
		t.Errorf("got %d rows in all: the queries select too little to show anything", answered)
	}
	if _, err := e.Usage(context.Background(), store.UsageQuery{Bucket: "week", To: Start}); err == nil {
		t.Error("an unknown bucket was accepted")
	}
	if _, err := e.Usage(context.Background(), store.UsageQuery{Bucket: store.DayBucket, Group: "mood", To: Start}); err == nil {
		t.Error("an unknown group was accepted")
	}
}

// sumPlainly says plainly what a query means.
func sumPlainly(rows []store.UsageRow, q store.UsageQuery) []store.UsageRow {
	var sums []store.UsageRow
	for _, r := range rows {
		start := r.Start
		switch q.Bucket {
		case store.DayBucket:
			start = start.Truncate(24 * time.Hour)
		case store.MonthBucket:
			start = time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
		}
		if start.Before(q.From) || !start.Before(q.To) || q.Customer != "" && r.Customer != q.Customer ||
			q.Key != "" && r.Key != q.Key || q.Route != "" && r.Route != q.Route {
			continue
		}
		g := store.UsageRow{Start: start}
		switch q.Group {
		case store.ByKey:
			g.Key = r.Key
		case store.ByCustomer:
			g.Customer = r.Customer
		case store.ByRoute:
			g.Route = r.Route
		case store.ByOutcome:
			g.Outcome = r.Outcome
		case store.ByPlan:
			g.Plan = r.Plan
		}
		sums = addPlainly(sums, g, r.UsageCount)
	}
	slices.SortFunc(sums, func(a, b store.UsageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Customer, b.Customer),
			cmp.Compare(a.Route, b.Route), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Plan, b.Plan))
	})
	return sums
}

func addPlainly(sums []store.UsageRow, g store.UsageRow, c store.UsageCount) []store.UsageRow {
	i := slices.IndexFunc(sums, func(s store.UsageRow) bool {
		s.UsageCount = store.UsageCount{}
		return reflect.DeepEqual(s, g)
	})
	if i < 0 {
		sums, i = append(sums, g), len(sums)
	}
	s := &sums[i]
	s.Requests += c.Requests
	s.Refused += c.Refused
	s.Refunded += c.Refunded
	for unit, n := range c.Units {
		if s.Units == nil {
			s.Units = map[string]int64{}
		}
		s.Units[unit] += n
	}
	return sums
}

func ledgerPrune(t *testing.T, e store.Engine) {
	var rows []store.UsageRow
	for hour := range 24 * 6 {
		for n := range 8 {
			rows = append(rows, usageRow(hour, fmt.Sprint("c", n%4), fmt.Sprint("k", n), 1))
		}
	}
	appendRows(t, e, "n", 1, rows...)
	hours := Start.Truncate(24*time.Hour).AddDate(0, 0, 4)
	days := Start.Truncate(24*time.Hour).AddDate(0, 0, 2)
	n, err := e.PruneUsage(context.Background(), hours, days)
	if err != nil || n == 0 {
		t.Fatalf("got %d, %v, want rows pruned", n, err)
	}
	for _, group := range []store.Group{store.Ungrouped, store.ByCustomer, store.ByKey} {
		for bucket, cut := range map[store.Bucket]time.Time{store.HourBucket: hours, store.DayBucket: days} {
			want := int64(0)
			for _, r := range rows {
				if !r.Start.Before(cut) {
					want += r.Requests
				}
			}
			if got := requests(t, e, store.UsageQuery{Bucket: bucket, Group: group}); got != want {
				t.Errorf("%s by %q: got %d requests left, want %d", bucket, group, got, want)
			}
		}
	}
	if n, err := e.PruneUsage(context.Background(), hours, days); err != nil || n != 0 {
		t.Errorf("pruned again: got %d, %v, want none", n, err)
	}
}

func ledgerRename(t *testing.T, e store.Engine) {
	var rows []store.UsageRow
	for hour := range 300 {
		rows = append(rows, usageRow(hour, "c1", fmt.Sprint("k", hour%2), 1), usageRow(hour, "c10", "k9", 1), usageRow(hour, "c0", "k8", 1))
	}
	appendRows(t, e, "n", 1, rows...)
	appendRows(t, e, "n", 2, usageRow(0, "erased", "k0", 7))
	for range 2 { // a repeat is harmless
		if err := e.RenameUsage(context.Background(), "c1", "erased"); err != nil {
			t.Fatalf("rename: %v", err)
		}
	}
	for _, bucket := range []store.Bucket{store.HourBucket, store.DayBucket} {
		for c, want := range map[string]int64{"c1": 0, "erased": 307, "c10": 300, "c0": 300} {
			if got := requests(t, e, store.UsageQuery{Customer: c, Bucket: bucket}); got != want {
				t.Errorf("%s by %s: got %d, want %d", c, bucket, got, want)
			}
			if got := requests(t, e, store.UsageQuery{Customer: c, Bucket: bucket, Group: store.ByKey}); got != want {
				t.Errorf("%s by %s and key: got %d, want %d", c, bucket, got, want)
			}
		}
		if got := requests(t, e, store.UsageQuery{Key: "k0", Bucket: bucket}); got != 157 {
			t.Errorf("k0 by %s: got %d, want 157", bucket, got)
		}
	}
	if err := e.RenameUsage(context.Background(), "nobody", "erased"); err != nil {
		t.Errorf("nobody: %v", err)
	}
}

func ledgerConcurrent(t *testing.T, e store.Engine) {
	const nodes, appends = 6, 15
	var wg sync.WaitGroup
	for n := range nodes {
		wg.Go(func() {
			for i := range appends {
				for range 2 { // each is repeated: its reply was lost
					err := e.Append(context.Background(), fmt.Sprint("n", n), uint64(i+1), []store.UsageRow{
						usageRow(i%3, fmt.Sprint("c", n%2), fmt.Sprint("k", i%4), 1),
					})
					if err != nil {
						t.Errorf("append: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	for _, group := range []store.Group{store.Ungrouped, store.ByCustomer, store.ByKey} {
		if got := requests(t, e, store.UsageQuery{Group: group}); got != nodes*appends {
			t.Errorf("by %q: got %d, want %d", group, got, nodes*appends)
		}
	}
}
