// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net/netip"
	"time"
)

// MaxDenials is how many denials are kept; the oldest make room.
const MaxDenials = 10_000

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

// Denials returns what q selects, newest first, and whether there is more.
func (g *Gate) Denials(q DenialQuery) (found []Denial, more bool) { panic("stub") }

// FollowDenials sends each denial from now on. Who reads too slowly misses
// some: there is no waiting. The channel is never closed; stop ends the sending.
func (g *Gate) FollowDenials(buffer int) (denials <-chan Denial, stop func()) { panic("stub") }

// EraseDenials forgets where the customer's denied calls came from and what
// they asked for, and books them under pseudonym.
func (g *Gate) EraseDenials(customer, pseudonym string) { panic("stub") }

// Deny records a refusal that the caller decided on without Admit: by the
// path, the method or an upgrade. It returns the refusal.
func (g *Gate) Deny(c *Call, reason Reason) *Refusal { panic("stub") }
