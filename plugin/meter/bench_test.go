// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/usage"
)

const plenty = int64(1) << 50

func BenchmarkReserveAndBill(b *testing.B) {
	for _, place := range []struct{ name, dir string }{{"memory", ""}, {"files", b.TempDir()}} {
		b.Run(place.name, func(b *testing.B) {
			m := open(b, place.dir, newEngine(), newHand(start).now)
			c := m.Counter(keyID("a"))
			ctx := context.Background()
			warm(b, c)
			b.ReportAllocs()
			for b.Loop() {
				h, full, err := c.Reserve(ctx, start, 1, plenty, plenty)
				if full || err != nil {
					b.Fatal(full, err)
				}
				h.Bill(1)
			}
		})
	}
}

// BenchmarkDistinctOwners should take half the time with -cpu 2.
func BenchmarkDistinctOwners(b *testing.B) {
	m := open(b, b.TempDir(), newEngine(), newHand(start).now)
	var who atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := m.Counter(keyID(fmt.Sprint(who.Add(1))))
		warm(b, c)
		ctx := context.Background()
		for pb.Next() {
			h, full, err := c.Reserve(ctx, start, 1, plenty, plenty)
			if full || err != nil {
				b.Fatal(full, err)
			}
			h.Bill(1)
		}
	})
}

func BenchmarkUnlimited(b *testing.B) {
	m := open(b, b.TempDir(), newEngine(), newHand(start).now)
	c := m.Counter(keyID("a"))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		h, _, err := c.Reserve(ctx, start, 1, Unlimited, Unlimited)
		if err != nil {
			b.Fatal(err)
		}
		h.Bill(1)
	}
}

func BenchmarkTally(b *testing.B) {
	m := open(b, "", newEngine(), newHand(start).now)
	t := m.Tally("key_a", "cust_a")
	b.ReportAllocs()
	for b.Loop() {
		t.Add(start, "pro", "default", "allowed", Count{Requests: 1, Unit: plan.Requests, Units: 1})
	}
}

// BenchmarkFirstUse opens counters that nobody had before, many at once.
func BenchmarkFirstUse(b *testing.B) {
	m := open(b, b.TempDir(), newEngine(), newHand(start).now)
	var who atomic.Int64
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := keyID(fmt.Sprint(who.Add(1)))
			id.Calendar = usage.Days
			h, full, err := m.Counter(id).Reserve(context.Background(), start, 1, 10, 10)
			if full || err != nil {
				b.Fatal(full, err)
			}
			h.Bill(1)
		}
	})
}

// warm lets the lease grow to the pace of the benchmark.
func warm(b *testing.B, c *Counter) {
	for range 10_000 {
		h, full, err := c.Reserve(context.Background(), start, 1, plenty, plenty)
		if full || err != nil {
			b.Fatal(full, err)
		}
		h.Bill(1)
	}
}
