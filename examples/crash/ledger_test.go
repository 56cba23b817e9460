// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// TestAKillBooksRequestsThatWereInFlightForMinutes: their key's checkpoint says
// the same as its slot, but the Ledger is told of a request only when it ends.
func TestAKillBooksRequestsThatWereInFlightForMinutes(t *testing.T) {
	c := clockAt(2026, time.November, 10, 12, 0)
	h := houseAt(t, c)
	slow, busy := h.enrolled("solo"), h.enrolled("solo")
	if _, refusal, err := h.admit(slow.secrets[0], plainRoute); refusal != nil || err != nil {
		t.Fatal(refusal, err)
	}
	for range 2 {
		if err := h.meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.pass(10 * time.Minute)
		h.spendAll(busy, 1)
	}
	if err := h.meter.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := t.TempDir()
	if err := h.platter.kill(left); err != nil {
		t.Fatal(err)
	}
	again := newHouse(t, newPlatter(left, "boot"), c.now, c.since)
	if err := again.meter.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	for a, want := range map[*account]int64{slow: 1, busy: 2} {
		if got := again.booked(a); got != want {
			t.Errorf("the ledger has %d requests, want %d", got, want)
		}
	}
}

// booked is how many requests of an account the Ledger knows of this month.
func (h *house) booked(a *account) (requests int64) {
	h.t.Helper()
	p := usage.Months.At(h.now())
	rows, err := h.store.Usage(context.Background(), store.UsageQuery{From: p.Start, To: p.End, Bucket: store.MonthBucket, Key: a.keys[0]})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, row := range rows {
		requests += row.Requests
	}
	return requests
}
