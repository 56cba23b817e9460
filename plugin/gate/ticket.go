// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
)

const (
	inlineRates  = 4 // more need memory of their own
	inlineHolds  = 8
	inlineQuotas = 4
)

// A Ticket is one call that passes. It is not to be copied once admitted; who
// is done with one may give it to Admit again.
type Ticket struct {
	Key      *apikey.Key        // nil where none is known, or where it is not good
	Customer *customer.Customer // of Key
	Plan     *plan.Plan         // that decides Key's rates
	Route    *plan.Route
	Cost     int64    // units of Route.Unit reserved
	Would    *Refusal // in shadow mode: what would have been refused

	gate     *Gate
	entry    *entry
	terms    *terms
	now      time.Time
	shadow   bool
	admitted bool // something is to be settled
	outcome  string
	usage    int64

	full      []int64      // of each rate: when its bucket is full again
	spent     []bool       // whether each rate was spent: not one that refused
	holds     []meter.Hold // of each count
	quotaUsed []int64      // of each quota, once settled
	entered   int          // how many flights were entered

	settled  atomic.Bool
	released atomic.Bool

	fullSpace  [inlineRates]int64
	spentSpace [inlineRates]bool
	holdSpace  [inlineHolds]meter.Hold
	usedSpace  [inlineQuotas]int64
}

// begin overwrites t for a new call.
func (t *Ticket) begin(g *Gate, c *Call) {
	if c.Now.IsZero() {
		c.Now = g.o.Now()
	}
	t.Key, t.Customer, t.Plan, t.Route, t.Cost, t.Would = nil, nil, nil, c.Route, 0, nil
	t.gate, t.entry, t.terms, t.now, t.shadow = g, nil, nil, c.Now, c.Shadow
	t.admitted, t.outcome, t.usage, t.entered = false, Allowed, 0, 0
	t.settled.Store(false)
	t.released.Store(false)
	t.full, t.spent = t.fullSpace[:0], t.spentSpace[:0]
	t.holds, t.quotaUsed = t.holdSpace[:0], t.usedSpace[:0]
}

// know tells who calls. In shadow mode a key that is not good is nobody's.
func (t *Ticket) know(e *entry) {
	t.entry = e
	if t.shadow && (e.closed == InvalidKey || e.closed == ExpiredKey) {
		return
	}
	t.Key, t.Customer, t.Plan = &e.key, &e.customer, e.plan.Plan
}

// Outcome is "allowed", "upstream_error" or the code of a refusal.
func (t *Ticket) Outcome() string { return t.outcome }

// Usage returns the units of Route.Unit that were settled: 0 before, and after a refund.
func (t *Ticket) Usage() int64 { return t.usage }

// revokedPatience is how long Revoked waits for the Directory.
const revokedPatience = 2 * time.Second

// Revoked reports whether the secret of an admitted call no longer opens its
// key: long answers and streams ask every few seconds and end when it does not.
// It costs next to nothing while nothing was written about the key. What cannot
// be read is logged and counts as not revoked. It may be called beside the other
// methods, but not beside another Admit.
func (t *Ticket) Revoked() bool {
	e := t.entry
	if e == nil || t.shadow {
		return false
	}
	now := t.gate.o.Now()
	k := &e.key
	if e.dropped.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), revokedPatience)
		defer cancel()
		found, err := t.gate.o.Directory.Lookup(ctx, []apikey.Hash{e.hash})
		if err != nil {
			t.gate.o.Logger.Error("looking up the key of a stream", slog.Any("error", err))
			return false
		}
		if !found[0].Found {
			return true
		}
		k = &found[0].Key
	}
	return k.Status(now) != apikey.StatusActive || !k.Opens(e.hash, now)
}
