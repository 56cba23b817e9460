// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

func (s *Server) disableKey(ctx context.Context, c *call) (*answer, error) {
	return s.setState(ctx, c, "key.disable", apikey.Disabled)
}

func (s *Server) enableKey(ctx context.Context, c *call) (*answer, error) {
	return s.setState(ctx, c, "key.enable", apikey.Active)
}

func (s *Server) revokeKey(ctx context.Context, c *call) (*answer, error) {
	return s.setState(ctx, c, "key.revoke", apikey.Revoked)
}

// setState decides what is to become of a key, from the next request on.
// Revoking is final; doing again what was done changes nothing.
func (s *Server) setState(ctx context.Context, c *call, action string, state apikey.State) (*answer, error) {
	f := c.document.reading()
	reason := f.text("reason", maxReason)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.changeKey(ctx, c, action, func(k *apikey.Key, _ *customer.Customer, ch *change, now time.Time) error {
		if k.State == apikey.Revoked && state != apikey.Revoked {
			return conflict("revoked", "A revoked key stays revoked. Create another one.")
		}
		setState(k, state, now)
		ch.reason = reason
		return nil
	})
}

func setState(k *apikey.Key, state apikey.State, now time.Time) {
	if state == apikey.Revoked && k.State != apikey.Revoked {
		k.RevokedAt = now.UTC()
	}
	k.State = state
}

// rotateKey gives a key a new secret. The old one works until its grace is
// over; what the key is and has used stays.
func (s *Server) rotateKey(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	grace := readGrace(f)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.changeKey(ctx, c, "key.rotate", func(k *apikey.Key, _ *customer.Customer, ch *change, now time.Time) error {
		if k.State == apikey.Revoked {
			return conflict("revoked", "A revoked key stays revoked. Create another one.")
		}
		secret, held, err := s.mint(k.Mode, apikey.Hash{}, false)
		if err != nil {
			return err
		}
		k.Rotate(held, grace, now.UTC())
		ch.secret = secret
		return nil
	})
}

// showKey answers with a key and, where one was made, its secret.
func (ch *change) showKey(shape keyShape) {
	if ch.secret == nil {
		ch.shown = ok(shape)
		return
	}
	ch.shown, ch.kept = ok(createdKey{shape, ch.secret, true}), createdKey{shape, nil, false}
}

// maxHashes is how many hashes one call revokes.
const maxHashes = 500

// revoked is the answer to hashes that were to be revoked.
type revoked struct {
	Data     []keyShape `json:"data"`      // the keys, each once
	NotFound []string   `json:"not_found"` // hashes that open none
}

// revokeHashes revokes the keys that the hashes open: for secrets that leaked.
func (s *Server) revokeHashes(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	texts := f.texts("hashes", maxHashes, func(text string) string {
		if _, err := apikey.ParseHash(text); err != nil {
			return "is not a SHA-256 in hex (64 characters) or base64 (43 or 44)"
		}
		return ""
	})
	reason := f.text("reason", maxReason)
	if len(texts) == 0 {
		f.fail("hashes", "It is required.")
	}
	if err := f.finish(); err != nil {
		return nil, err
	}
	hashes := make([]apikey.Hash, len(texts))
	for i, text := range texts {
		hashes[i], _ = apikey.ParseHash(text) // was read before
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		found, err := s.o.Store.Lookup(ctx, hashes)
		if err != nil {
			return nil, fmt.Errorf("looking hashes up: %w", err)
		}
		return s.revocation(ctx, found, texts, reason, now)
	})
}

func (s *Server) revocation(ctx context.Context, found []store.Match, texts []string, reason string, now time.Time) (*change, error) {
	a := revoked{Data: []keyShape{}, NotFound: []string{}}
	ch, seen := &change{}, map[string]bool{}
	for i, m := range found {
		if !m.Found {
			a.NotFound = append(a.NotFound, texts[i])
			continue
		}
		if seen[m.Key.ID] {
			continue
		}
		seen[m.Key.ID] = true
		before, err := s.shownKey(ctx, &m.Key, now)
		if err != nil {
			return nil, err
		}
		next := m.Key
		setState(&next, apikey.Revoked, now)
		shape := s.shapeKey(&next, &m.Customer, time.Time{}, now)
		shape.LastUsedAt = before.LastUsedAt
		a.Data = append(a.Data, shape)
		ch.subjects = append(ch.subjects, next.Customer)
		if m.Key.State != apikey.Revoked {
			e := changed("key.revoke", next.ID, next.Customer, members(before), members(shape))
			e.Reason = reason
			ch.Keys, ch.audit = append(ch.Keys, next), append(ch.audit, e)
		}
	}
	ch.shown = ok(a)
	return ch, nil
}
