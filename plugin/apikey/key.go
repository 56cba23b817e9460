// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// State is what was decided about a key. Whether it has expired is not a state:
// that follows from the clock, see Key.Status.
type State string

// The states of a key. Revoked is final.
const (
	Active   State = "active"
	Disabled State = "disabled"
	Revoked  State = "revoked"
)

// Status is what a key is at one moment, as the API shows it.
type Status string

// The statuses of a key.
const (
	StatusActive   Status = "active"
	StatusDisabled Status = "disabled"
	StatusRevoked  Status = "revoked"
	StatusExpired  Status = "expired"
)

// MaxSecrets is how many secrets of one key may live at once: the newest, and
// the one that a rotation is replacing.
const MaxSecrets = 2

// A Key is the record of one API key. The zero time stands for "never" or "no
// end". A Key is a value: who holds one may keep it, its slices and maps are
// not changed by anybody.
type Key struct {
	ID         string         `json:"id"`
	Customer   string         `json:"customer"`
	Name       string         `json:"name,omitempty"`
	Mode       Mode           `json:"mode"`
	State      State          `json:"state"`
	Plan       string         `json:"plan,omitempty"` // replaces the customer's for rates, concurrency, scopes, routes, per-key quotas
	Secrets    []HeldSecret   `json:"secrets"`        // newest first, at most MaxSecrets
	Scopes     []string       `json:"scopes,omitempty"`
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"` // empty: from anywhere

	Overrides plan.Overrides `json:"overrides,omitzero"` // of this key alone; every limit in it is per key

	ExpiresAt time.Time `json:"expires_at,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`

	Metadata map[string]json.RawMessage `json:"metadata,omitempty"`

	// Revision is set by the store at each write; a write that names another
	// than the stored one is refused. 0 makes a new key.
	Revision uint64 `json:"revision"`
}

// HeldSecret is what is kept of a secret.
type HeldSecret struct {
	Hash   Hash      `json:"hash"`
	Start  string    `json:"start"`            // for display: the prefix and four characters; empty for imported ones
	EndsAt time.Time `json:"ends_at,omitzero"` // when the grace of a rotation ends
}

// Start returns what may be shown of the key's newest secret.
func (k *Key) Start() string {
	if len(k.Secrets) == 0 {
		return ""
	}
	return k.Secrets[0].Start
}

// Status returns what the key is at now: revoked before disabled before expired.
func (k *Key) Status(now time.Time) Status {
	switch {
	case k.State == Revoked:
		return StatusRevoked
	case k.State == Disabled:
		return StatusDisabled
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return StatusExpired
	}
	return StatusActive
}

// Opens reports whether the secret with hash h opens the key at now: whether it
// is one of the key's and not past the grace of a rotation.
func (k *Key) Opens(h Hash, now time.Time) bool {
	return slices.ContainsFunc(k.Secrets, func(s HeldSecret) bool {
		return s.Hash.Equal(h) && (s.EndsAt.IsZero() || now.Before(s.EndsAt))
	})
}

// Rotate puts next before the key's secrets. The former newest works until
// grace is over; with no grace it ends at once. A third secret ends the oldest.
func (k *Key) Rotate(next HeldSecret, grace time.Duration, now time.Time) {
	kept := []HeldSecret{next}
	if grace > 0 && len(k.Secrets) > 0 {
		old := k.Secrets[0]
		if ends := now.Add(grace); old.EndsAt.IsZero() || ends.Before(old.EndsAt) {
			old.EndsAt = ends
		}
		kept = append(kept, old)
	}
	k.Secrets = kept
}

// AllowsIP reports whether a caller at ip may use the key. IPv4 addresses
// mapped into IPv6 are taken as IPv4.
func (k *Key) AllowsIP(ip netip.Addr) bool {
	if len(k.AllowedIPs) == 0 {
		return true
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(k.AllowedIPs, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// HasScope reports whether the key holds scope. A key that names no scope
// holds all that its plan gives.
func (k *Key) HasScope(scope string) bool {
	return len(k.Scopes) == 0 || slices.Contains(k.Scopes, scope)
}
