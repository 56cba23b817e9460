// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/meter"
)

// MaxDenials is how many denials are kept; the oldest make room.
const MaxDenials = 10_000

// maxPath is how many bytes of a path a denial keeps.
const maxPath = 200

// A Denial is one call that was refused, or would have been in shadow mode.
type Denial struct {
	Sequence  uint64 // counts denials since the start, from 1
	Time      time.Time
	Reason    Reason
	Shadow    bool   // it passed: enforcement is off
	Key       string // ids; "" where none is known
	Customer  string
	Start     string // of the key's newest secret, for display
	Route     string
	Method    string
	Path      string // at most 200 bytes
	IP        netip.Addr
	RequestID string
}

// DenialQuery selects denials; empty fields select all.
type DenialQuery struct {
	Limit    int    // at least 1
	Before   uint64 // a Sequence: only older ones; 0: from the newest
	Reason   Reason
	Key      string
	Customer string
	Route    string
	Since    time.Time
}

func (q *DenialQuery) selects(d *Denial) bool {
	return (q.Reason == "" || q.Reason == d.Reason) && (q.Key == "" || q.Key == d.Key) &&
		(q.Customer == "" || q.Customer == d.Customer) && (q.Route == "" || q.Route == d.Route) &&
		!d.Time.Before(q.Since)
}

// denials are the last MaxDenials, in a ring.
type denials struct {
	mu        sync.Mutex // guards all below
	ring      []Denial   // that of sequence s at (s-1) % MaxDenials
	last      uint64
	followers map[chan Denial]struct{}
}

func (d *denials) add(one Denial) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	one.Sequence = d.last
	if len(d.ring) < MaxDenials {
		d.ring = append(d.ring, one)
	} else {
		d.ring[(one.Sequence-1)%MaxDenials] = one
	}
	for f := range d.followers {
		select {
		case f <- one:
		default: // it reads too slowly
		}
	}
}

// Denials returns what q selects, newest first, and whether there is more.
func (g *Gate) Denials(q DenialQuery) (found []Denial, more bool) {
	d := &g.denials
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.last
	if q.Before > 0 {
		from = min(from, q.Before-1)
	}
	for s := from; s > 0 && s+uint64(len(d.ring)) > d.last; s-- {
		one := &d.ring[(s-1)%MaxDenials]
		if !q.selects(one) {
			continue
		}
		if len(found) >= max(q.Limit, 1) {
			return found, true
		}
		found = append(found, *one)
	}
	return found, false
}

// FollowDenials sends each denial from now on. Who reads too slowly misses
// some: there is no waiting. The channel is never closed; stop ends the sending.
func (g *Gate) FollowDenials(buffer int) (following <-chan Denial, stop func()) {
	d, f := &g.denials, make(chan Denial, max(buffer, 1))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followers == nil {
		d.followers = map[chan Denial]struct{}{}
	}
	d.followers[f] = struct{}{}
	return f, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.followers, f)
	}
}

// EraseDenials forgets where the customer's denied calls came from and what
// they asked for, and books them under pseudonym.
func (g *Gate) EraseDenials(customer, pseudonym string) {
	d := &g.denials
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.ring {
		if one := &d.ring[i]; one.Customer == customer {
			one.Customer, one.Path, one.IP = pseudonym, "", netip.Addr{}
		}
	}
}

// Deny records a refusal that the caller decided on without Admit: by the
// path, the method or an upgrade. It returns the refusal.
func (g *Gate) Deny(c *Call, reason Reason) *Refusal {
	var t Ticket
	t.begin(g, c)
	refusal := &Refusal{Reason: reason}
	g.deny(context.Background(), c, &t, refusal)
	return refusal
}

// deny books a refusal: in the ring, and in the counts of the key it concerns.
// A call that shadow mode lets pass is counted when it is settled.
func (g *Gate) deny(ctx context.Context, c *Call, t *Ticket, r *Refusal) {
	one := Denial{
		Time: c.Now.Round(0), Reason: r.Reason, Shadow: c.Shadow,
		Method: strings.Clone(c.Method), Path: strings.Clone(c.Path[:min(len(c.Path), maxPath)]), IP: c.ClientIP,
	}
	var planID string
	if c.Route != nil {
		one.Route = c.Route.Name
	}
	tally := g.nobody
	if e := t.entry; e != nil {
		one.Key, one.Customer, one.Start = e.key.ID, e.customer.ID, e.key.Start()
		tally = e.tally
		if e.plan.Plan != nil {
			planID = e.plan.ID
		}
	}
	if c.RequestID != nil {
		one.RequestID = c.RequestID()
	}
	g.denials.add(one)
	if c.Shadow {
		return
	}
	t.outcome = string(r.Reason)
	if e := t.entry; e != nil {
		refuse(ctx, e.calls, c.Now)
		refuse(ctx, e.pooledCalls, c.Now)
	}
	tally.Add(c.Now, planID, one.Route, string(r.Reason), meter.Count{Refused: 1})
}

// refusePatience is how long a refusal waits for the counter of the refused: it
// is told in time even where nothing can be counted.
const refusePatience = 100 * time.Millisecond

// refuse counts a refused request. A counter opens when it is reserved of, and
// who is always refused reserves nothing.
func refuse(ctx context.Context, c *meter.Counter, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, refusePatience)
	defer cancel()
	h, _, err := c.Reserve(ctx, now, 0, meter.Unlimited, meter.Unlimited)
	if err == nil {
		c.Refuse(now)
		h.Cancel()
	}
}
