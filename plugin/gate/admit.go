// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// usualLength is how long a secret of our form is at most, but for a long prefix.
const usualLength = 96

// A Call is what the gate needs to know of a request.
type Call struct {
	Secret    string      // as the client showed it; "" for none
	Ambiguous bool        // two different secrets were shown
	Route     *plan.Route // nil where the handler knows routes only and none matched
	ClientIP  netip.Addr
	Now       time.Time // with a monotonic reading; zero: filled in
	Shadow    bool      // enforce off: admit whatever the decision, but record it

	Method, Path string        // for the ring of denials
	RequestID    func() string // called for refusals only; may be nil
}

// Admit decides a call. Exactly one of the three holds: nil, nil: admitted, t
// is to be settled; a refusal, which has consumed nothing; or a fault: it
// cannot be decided. t is overwritten, also on a refusal, with what is known.
//
// In shadow mode every call is admitted, also where it cannot be decided.
func (g *Gate) Admit(ctx context.Context, c *Call, t *Ticket) (*Refusal, error) {
	t.begin(g, c)
	if c.Route != nil && c.Route.Public {
		return nil, nil
	}
	refusal, err := g.decide(ctx, c, t)
	if err != nil && c.Shadow {
		g.o.Logger.Error("deciding in shadow mode", slog.Any("error", err))
		refusal, err = &Refusal{Reason: Unavailable}, nil
	}
	if err != nil {
		t.outcome = string(Unavailable)
		return nil, err
	}
	if refusal != nil {
		g.deny(ctx, c, t, refusal)
	}
	if refusal != nil && c.Shadow {
		t.Would = refusal
		return nil, nil
	}
	if refusal == nil && t.entry != nil {
		g.used(t.entry, c.Now)
	}
	return refusal, nil
}

// decide makes the checks in their order. In shadow mode a key that is good
// goes on to spend, so that its use is counted.
func (g *Gate) decide(ctx context.Context, c *Call, t *Ticket) (*Refusal, error) {
	if c.Route == nil {
		return &Refusal{Reason: UnknownRoute}, nil
	}
	e, refusal, err := g.identify(ctx, c)
	if err != nil {
		return nil, err
	}
	if e != nil {
		t.know(e)
	}
	if refusal != nil {
		return refusal, nil
	}
	refusal = g.pays(e)
	if refusal == nil && e.fault != nil {
		return nil, e.fault
	}
	terms := e.on(ctx, g, c.Route, c.Now)
	if refusal == nil {
		refusal = terms.mayCall()
	}
	if refusal == nil && !e.key.AllowsIP(c.ClientIP) {
		refusal = &Refusal{Reason: IPNotAllowed}
	}
	if refusal != nil && !c.Shadow {
		return refusal, nil
	}
	t.terms, t.Cost = terms, terms.cost
	limited, err := g.spend(ctx, t)
	if refusal == nil {
		refusal = limited
	}
	return refusal, err
}

// Identify finds the key of a call and fills t.Key, t.Customer and t.Plan, with
// the same refusals as Admit up to the customer's subscription, which is not
// asked. It spends and counts nothing but bad attempts, and t is not to be settled.
func (g *Gate) Identify(ctx context.Context, c *Call, t *Ticket) (*Refusal, error) {
	t.begin(g, c)
	e, refusal, err := g.identify(ctx, c)
	if e != nil {
		t.know(e)
	}
	if refusal != nil {
		g.deny(ctx, c, t, refusal)
	}
	return refusal, err
}

// identify finds the entry of the secret that was shown. Beside a refusal the
// entry is the key that was meant, or nil.
func (g *Gate) identify(ctx context.Context, c *Call) (*entry, *Refusal, error) {
	switch {
	case c.Ambiguous:
		return nil, &Refusal{Reason: AmbiguousKey}, nil
	case c.Secret == "":
		return nil, &Refusal{Reason: MissingKey}, nil
	case len(c.Secret) > apikey.MaxSecretLength, apikey.Inspect(c.Secret) == apikey.Corrupt:
		return nil, g.guard.bad(c.ClientIP, g.clock(c.Now)), nil
	}
	hash := hashOf(c.Secret)
	e, err := g.find(ctx, &hash, c.Now)
	switch {
	case err != nil:
		return nil, nil, err
	case e == nil, e.closed == InvalidKey:
		return e, g.guard.bad(c.ClientIP, g.clock(c.Now)), nil
	case e.closed == ExpiredKey:
		return e, &Refusal{Reason: ExpiredKey}, nil
	}
	return e, nil, nil
}

// hashOf is apikey.Secret.Hash without making a copy on the heap.
func hashOf(secret string) apikey.Hash {
	if len(secret) <= usualLength {
		var buffer [usualLength]byte
		return sha256.Sum256(buffer[:copy(buffer[:], secret)])
	}
	var buffer [apikey.MaxSecretLength]byte
	return sha256.Sum256(buffer[:copy(buffer[:], secret)])
}

// find returns what is known of a hash, or nil if no key has it.
func (g *Gate) find(ctx context.Context, h *apikey.Hash, now time.Time) (*entry, error) {
	e := g.cache.find(h)
	if e != nil && e.rules == g.rules.Load() && now.UnixNano() < e.validUntil {
		return e, nil
	}
	r, err := g.current(ctx)
	if err != nil {
		return nil, err
	}
	if e != nil {
		next := g.compile(r, e.hash, &store.Match{Key: e.key, Customer: e.customer}, now)
		g.cache.replace(e, next)
		return next, nil
	}
	return g.load(ctx, r, *h, now)
}

// load reads the key of a hash from the Directory.
func (g *Gate) load(ctx context.Context, r *rules, h apikey.Hash, now time.Time) (*entry, error) {
	mark := g.cache.mark(&h)
	found, err := g.o.Directory.Lookup(ctx, []apikey.Hash{h})
	if err != nil {
		return nil, fmt.Errorf("looking a key up: %w", err)
	}
	if !found[0].Found {
		return nil, nil
	}
	e := g.compile(r, h, &found[0], now)
	g.cache.put(e, mark)
	return e, nil
}

// pays refuses the keys of a customer whose subscription gives no access.
func (g *Gate) pays(e *entry) *Refusal {
	if e.closed != PaymentRequired {
		return nil
	}
	return &Refusal{Reason: PaymentRequired, UpgradeURL: upgradeURL(e)}
}

// mayCall refuses where the scope or the plan does not allow the route.
func (t *terms) mayCall() *Refusal {
	switch t.denied {
	case "":
		return nil
	case InsufficientScope:
		return &Refusal{Reason: InsufficientScope, Scope: t.route.Scope}
	}
	return &Refusal{Reason: t.denied}
}
