// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

const (
	// guardAllows is how many bad credentials one client may show in guardWindow.
	guardAllows = 30
	guardWindow = time.Minute
	guardParts  = 16
	guardSize   = 4096 // clients remembered in each part
)

// guard slows down who guesses secrets. It knows clients by their IPv4 address
// or the /64 of their IPv6 address, and never more than a bounded number.
type guard struct {
	parts [guardParts]guardPart
}

type guardPart struct {
	mu      sync.Mutex // guards clients
	clients map[netip.Addr]attempts
}

// attempts are the bad credentials of one client since the window began.
type attempts struct {
	began int64 // monotonic nanoseconds
	count int
}

func newGuard() *guard {
	g := &guard{}
	for i := range g.parts {
		g.parts[i].clients = map[netip.Addr]attempts{}
	}
	return g
}

// bad counts a bad credential and returns how it is refused. Good secrets are
// never brought before the guard, nor are clients without an address.
func (g *guard) bad(ip netip.Addr, now int64) *Refusal {
	if !ip.IsValid() {
		return &Refusal{Reason: InvalidKey}
	}
	client := network(ip)
	p := g.part(client)
	p.mu.Lock()
	defer p.mu.Unlock()
	a, known := p.clients[client]
	if !known && len(p.clients) >= guardSize {
		p.forget(now)
	}
	if !known || now-a.began >= int64(guardWindow) {
		a = attempts{began: now}
	}
	if a.count >= guardAllows {
		return &Refusal{Reason: TooManyAttempts, RetryAfter: time.Duration(a.began + int64(guardWindow) - now)}
	}
	a.count++
	p.clients[client] = a
	return &Refusal{Reason: InvalidKey}
}

// forget makes room among a few clients: those whose window is over, else one
// that is not being refused, else any one.
func (p *guardPart) forget(now int64) {
	var victim netip.Addr
	looks := 64
	for client, a := range p.clients {
		if now-a.began >= int64(guardWindow) {
			delete(p.clients, client)
		} else if !victim.IsValid() || a.count < guardAllows {
			victim = client
		}
		if looks--; looks == 0 {
			break
		}
	}
	if len(p.clients) >= guardSize {
		delete(p.clients, victim)
	}
}

func (g *guard) part(client netip.Addr) *guardPart {
	b := client.As16()
	mixed := binary.LittleEndian.Uint64(b[:8]) ^ binary.LittleEndian.Uint64(b[8:])
	return &g.parts[(mixed*0x9E3779B97F4A7C15)>>60%guardParts]
}

// network returns what tells clients apart: an IPv6 user has a whole /64.
func network(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}
