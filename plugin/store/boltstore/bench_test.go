// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

// million is how many keys the benchmarks load; KEYTOLL_BENCH_KEYS overrides it.
func million(b *testing.B) int {
	n := 1_000_000
	if s := os.Getenv("KEYTOLL_BENCH_KEYS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// benchKey returns the n-th key of the benchmarks: ten keys a customer, random
// beginnings, some disabled, some with a plan of their own.
func benchKey(n int) apikey.Key {
	k := storetest.Key(n, storetest.ID("cust", n/10))
	h := storetest.Hash(n)
	k.Secrets[0].Start = fmt.Sprintf("sk_live_%02x%02x", h[0], h[1])
	switch n % 1000 {
	case 17:
		k.State = apikey.Disabled
	case 18:
		k.Plan = "vip"
	case 19:
		k.ExpiresAt = storetest.Start
	}
	return k
}

// load writes the keys in batches of a thousand, as an import does.
func load(b *testing.B, s store.Engine, keys int) {
	ctx := context.Background()
	began := time.Now()
	for from := 0; from < keys; from += 1000 {
		var m store.Mutations
		for n := from; n < min(from+1000, keys); n++ {
			if n%10 == 0 {
				m.Customers = append(m.Customers, storetest.Customer(n/10))
			}
			m.Keys = append(m.Keys, benchKey(n))
		}
		if _, err := s.Write(ctx, m); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("loaded %d keys at %.0f keys/s", keys, float64(keys)/time.Since(began).Seconds())
}

// BenchmarkMillion measures everything on one store of a million keys.
func BenchmarkMillion(b *testing.B) {
	ctx := context.Background()
	keys := million(b)
	dir := b.TempDir()
	s := open(b, dir)
	load(b, s, keys)
	size, err := s.Size()
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("the file has %d MiB", size.File>>20)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	s = open(b, dir)
	b.Logf("opened in %v", time.Since(began))

	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		took := make([]time.Duration, 0, 1<<20)
		for b.Loop() {
			h := storetest.Hash(rand.IntN(keys))
			start := time.Now()
			m, err := s.Lookup(ctx, []apikey.Hash{h})
			took = append(took, time.Since(start))
			if err != nil || !m[0].Found {
				b.Fatal(m, err)
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	})
	for _, q := range []struct {
		name  string
		query store.KeyQuery
	}{
		{"newest", store.KeyQuery{}},
		{"customer", store.KeyQuery{Customer: storetest.ID("cust", 7)}},
		{"active", store.KeyQuery{Status: apikey.StatusActive, Now: storetest.Start}},
		{"disabled", store.KeyQuery{Status: apikey.StatusDisabled}},
		{"expired", store.KeyQuery{Status: apikey.StatusExpired, Now: storetest.Start}},
		{"plan common", store.KeyQuery{Plan: "free"}},
		{"plan rare", store.KeyQuery{Plan: "vip"}},
		{"plan and status", store.KeyQuery{Plan: "vip", Status: apikey.StatusDisabled}},
		{"prefix rare", store.KeyQuery{PageQuery: store.PageQuery{Prefix: "sk_live_a0b1"}}},
		{"prefix common", store.KeyQuery{PageQuery: store.PageQuery{Prefix: "sk_live_"}}},
		{"prefix of the oldest", store.KeyQuery{PageQuery: store.PageQuery{Prefix: "Key 1", After: storetest.ID("key", 100_000)}}},
		{"prefix of nobody", store.KeyQuery{PageQuery: store.PageQuery{Prefix: "zzz"}}},
		{"prefix common, plan rare", store.KeyQuery{Plan: "vip", PageQuery: store.PageQuery{Prefix: "sk_live_"}}},
		{"prefix common, status rare", store.KeyQuery{Status: apikey.StatusRevoked, PageQuery: store.PageQuery{Prefix: "key"}}},
	} {
		b.Run("list "+q.name, func(b *testing.B) {
			q.query.Limit = 50
			for b.Loop() {
				if _, err := s.ListKeys(ctx, q.query); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("write 1 key", func(b *testing.B) {
		n := keys + 10_000_000
		for b.Loop() {
			n++
			if _, err := s.Write(ctx, store.Mutations{Keys: []apikey.Key{storetest.Key(n, storetest.ID("cust", n%1000))}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write 1000 keys", func(b *testing.B) {
		n := keys + 20_000_000
		for b.Loop() {
			var m store.Mutations
			for range 1000 {
				n++
				m.Keys = append(m.Keys, storetest.Key(n, storetest.ID("cust", n%1000)))
			}
			if _, err := s.Write(ctx, m); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "keys/s")
	})
	for _, rows := range []int{100, 500, 10_000} {
		b.Run(fmt.Sprintf("append %d rows", rows), func(b *testing.B) {
			benchAppend(b, s, rows)
		})
	}
}

func benchAppend(b *testing.B, s store.Engine, rows int) {
	ctx := context.Background()
	node := fmt.Sprint("node", rows)
	sequence, err := s.Sequence(ctx, node)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		batch := make([]store.UsageRow, rows)
		for i := range batch {
			n := rand.IntN(20_000)
			batch[i] = store.UsageRow{
				Start: storetest.Start, Customer: storetest.ID("cust", n/10), Key: storetest.ID("key", n),
				Plan: "free", Route: "default", Outcome: "allowed",
				UsageCount: store.UsageCount{Requests: 1, Units: map[string]int64{plan.Requests: 1}},
			}
		}
		sequence++
		if err := s.Append(ctx, node, sequence, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
