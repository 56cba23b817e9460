// SPDX-License-Identifier: Apache-2.0

// Package gate decides: Admit looks a key up and spends its rates, concurrency
// and quotas, all or nothing; Settle records what the answer has used.
package gate

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// Options are what a gate needs.
type Options struct {
	Directory store.Directory
	Journal   store.Journal
	Meter     *meter.Meter
	Now       func() time.Time // with a monotonic reading
	Logger    *slog.Logger
}

// Settings are what the configuration in force says. They are not changed
// once applied.
type Settings struct {
	Plans        []plan.Plan // of the configuration
	DefaultPlan  string      // "" for none
	FallbackPlan string      // of ended or unpaid subscriptions; "" for none
	UpgradeURL   string      // {customer} is replaced by the customer's id
}

// Gate decides for one node. Its methods may be called concurrently.
type Gate struct{}

// New returns a gate that refuses to decide until Apply was called once.
func New(ctx context.Context, o Options) (*Gate, error) { panic("stub") }

// Apply puts settings in force from the next request on. Plans of the
// configuration are written to the Directory; those gone from it stay as
// retired while anybody holds them, and are returned.
func (g *Gate) Apply(ctx context.Context, s Settings) (retired []string, err error) { panic("stub") }

// Close writes what is still to be written (last uses, rates).
func (g *Gate) Close(ctx context.Context) error { panic("stub") }

// Plan returns the plan in force of that id: config over store over Stripe.
func (g *Gate) Plan(id string) (*plan.Plan, bool) { panic("stub") }

// Plans returns all plans in force, by id.
func (g *Gate) Plans() []*plan.Plan { panic("stub") }

// Settings returns what was applied last.
func (g *Gate) Settings() *Settings { panic("stub") }

// A Call is what the gate needs to know of a request.
type Call struct {
	Secret    string      // as the client showed it; "" for none
	Ambiguous bool        // two different secrets were shown
	Route     *plan.Route // nil where the handler knows routes only and none matched
	ClientIP  netip.Addr
	Now       time.Time
	Shadow    bool // enforce off: admit whatever the decision, but record it

	Method, Path string        // for the ring of denials
	RequestID    func() string // called for refusals only
}

// Admit decides a call. Exactly one of the three holds: nil, nil: admitted, t
// is to be settled; a refusal, which has consumed nothing; or a fault: it
// cannot be decided. t is overwritten, also on a refusal, with what is known.
func (g *Gate) Admit(ctx context.Context, c *Call, t *Ticket) (*Refusal, error) { panic("stub") }

// Identify finds the key of a call and fills t.Key, t.Customer and t.Plan, with
// the same refusals as Admit up to the customer's subscription, which is not
// asked. It spends and counts nothing but bad attempts, and t is not to be settled.
func (g *Gate) Identify(ctx context.Context, c *Call, t *Ticket) (*Refusal, error) { panic("stub") }

// A Ticket is one call that passes. It is not to be copied once admitted.
type Ticket struct {
	Key      *apikey.Key        // nil where none is known
	Customer *customer.Customer // of Key
	Plan     *plan.Plan         // that decides Key's rates
	Route    *plan.Route
	Cost     int64    // units of Route.Unit reserved
	Would    *Refusal // in shadow mode: what would have been refused
}

// An Answer is what became of an admitted call.
type Answer struct {
	Status  int   // of the upstream's answer; 0: no answer, see Gone
	Gone    bool  // the client hung up before there was an answer
	Units   int64 // used, of Route.Unit, where Known
	Known   bool  // the answer said how many units it used
	Pending bool  // the answer's own cost is still to come: Settle is called again
}

// Settle bills, refunds or keeps what was reserved, once; later calls change
// nothing. It reports what it did in Outcome.
func (t *Ticket) Settle(a Answer) { panic("stub") }

// Release gives the concurrency slots back, once.
func (t *Ticket) Release() { panic("stub") }

// StillOpen reports whether the secret of an admitted call still opens its key:
// long answers and streams ask every few seconds and end when it does not. It
// costs next to nothing while nothing was written about the key. An error is a
// fault: it is not known.
func (t *Ticket) StillOpen(ctx context.Context) (bool, error) { panic("stub") }

// Usage returns the units of Route.Unit that were settled: 0 before, and after a refund.
func (t *Ticket) Usage() int64 { panic("stub") }

// Outcome is "allowed", "upstream_error" or the code of a refusal.
func (t *Ticket) Outcome() string { panic("stub") }

// Windows appends the state of every limit that holds for the call: rates in
// the plan's order, then quotas. It is known after Admit, also for a refusal
// by a limit.
func (t *Ticket) Windows(to []Window) []Window { panic("stub") }

// PolicyField is the value of RateLimit-Policy: made once per key, not per call.
// "" where no limit counts requests.
func (t *Ticket) PolicyField() string { panic("stub") }

// A Window is one limit and its state, as header fields and problems show it.
type Window struct {
	Name      string // "second", "minute-2", "90s", "quota"
	Quota     bool   // else a rate
	Unit      string
	Scope     plan.Scope
	Limit     int64 // the burst, or the quota
	Used      int64
	Remaining int64         // never negative
	Length    time.Duration // Rate.Per, or the length of the quota's period
	Reset     time.Duration // until the bucket is full, or the period ends
	Ends      time.Time     // of a quota's period
}
