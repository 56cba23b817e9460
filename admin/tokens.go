// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/store"
)

// tokenPrefix begins every admin token that is made here.
const tokenPrefix = "kta_"

// MintToken returns a new admin token with 256 random bits.
func MintToken() string {
	return tokenPrefix + rand.Text() + rand.Text()
}

// HashToken returns the only form of an admin token that is kept.
func HashToken(t string) apikey.Hash { return sha256.Sum256([]byte(t)) }

// ownerID is the id of the token of the configuration.
const ownerID = "tok_owner"

// A token is the record of an admin token, kept in the book of tokens under
// its hash.
type token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// tokenShape is how a token looks.
type tokenShape struct {
	ID        string     `json:"id"`
	Object    string     `json:"object"`
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	Status    string     `json:"status"` // active or expired
	Source    string     `json:"source"` // config or store
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func shapeToken(t token, now time.Time) tokenShape {
	shape := tokenShape{
		ID: t.ID, Object: "admin_token", Name: t.Name, Role: t.Role, Status: "active", Source: "store",
		CreatedAt: unlessZero(t.CreatedAt), ExpiresAt: unlessZero(t.ExpiresAt),
	}
	if t.expired(now) {
		shape.Status = "expired"
	}
	if t.ID == ownerID {
		shape.Source = "config"
	}
	return shape
}

func (t token) expired(now time.Time) bool { return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) }

// holder returns whom an admin token belongs to, or store.ErrNotFound.
func (s *Server) holder(ctx context.Context, shown string, now time.Time) (token, error) {
	hash := HashToken(shown)
	if hash.Equal(s.owner) {
		return token{ID: ownerID, Name: "owner", Role: RoleOwner}, nil
	}
	raw, err := s.o.Store.Read(ctx, store.Tokens, hash[:])
	if err != nil {
		return token{}, fmt.Errorf("reading an admin token: %w", err)
	}
	var t token
	if err := json.Unmarshal(raw, &t); err != nil {
		return token{}, fmt.Errorf("reading an admin token: %w", err)
	}
	if t.expired(now) {
		return token{}, store.ErrNotFound
	}
	return t, nil
}

// createdToken is the answer that shows a new token, once.
type createdToken struct {
	tokenShape
	Token           *string `json:"token"`
	SecretAvailable bool    `json:"secret_available"`
}

func (s *Server) createToken(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	t := token{Name: f.text("name", 80), Role: Role(f.text("role", 20)), ExpiresAt: f.when("expires_at")}
	if t.Name == "" {
		f.fail("name", "It is required.")
	}
	if !t.Role.Valid() {
		f.fail("role", "It must be one of owner, provision, support, meter, read.")
	}
	if t.expired(c.now) {
		f.fail("expires_at", "It has passed.")
	}
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		secret := MintToken()
		hash := HashToken(secret)
		t.ID, t.CreatedAt = id.New("tok", now), now.UTC()
		ch := &change{
			audit: []entry{{Action: "admin_token.create", Target: t.ID, After: members(shapeToken(t, now))}},
			shown: created(createdToken{shapeToken(t, now), &secret, true}),
			kept:  createdToken{shapeToken(t, now), nil, false},
		}
		raw, err := json.Marshal(t)
		ch.Records.Put = append(ch.Records.Put, store.Record{Book: store.Tokens, Key: hash[:], Value: raw})
		return ch, err
	})
}

// tokens returns all tokens that are kept, newest first, by their hash.
func (s *Server) tokens(ctx context.Context) (list []token, hashes [][]byte, err error) {
	type row struct {
		token
		hash []byte
	}
	var rows []row
	var broken error
	err = s.o.Store.Scan(ctx, store.Tokens, store.Range{}, func(key, value []byte) bool {
		var t token
		if broken = json.Unmarshal(value, &t); broken != nil {
			return false
		}
		rows = append(rows, row{t, slices.Clone(key)})
		return true
	})
	if err = errors.Join(err, broken); err != nil {
		return nil, nil, fmt.Errorf("reading the admin tokens: %w", err)
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(b.ID, a.ID) })
	for _, r := range rows {
		list, hashes = append(list, r.token), append(hashes, r.hash)
	}
	return list, hashes, nil
}

func (s *Server) listTokens(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	list, _, err := s.tokens(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, token{ID: ownerID, Name: "owner", Role: RoleOwner})
	shapes := make([]tokenShape, 0, len(list))
	for _, t := range list {
		if page.Prefix == "" || strings.HasPrefix(strings.ToLower(t.Name), strings.ToLower(page.Prefix)) || strings.HasPrefix(t.ID, page.Prefix) {
			shapes = append(shapes, shapeToken(t, c.now))
		}
	}
	return ok(cut(shapes, page, func(t tokenShape) string { return t.ID })), nil
}

func (s *Server) deleteToken(ctx context.Context, c *call) (*answer, error) {
	switch c.id() {
	case ownerID:
		return nil, conflict("owner_token", "The token of the configuration is changed there, not here.")
	case c.actor.ID:
		return nil, conflict("own_token", "A token cannot delete itself: use another one.")
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		list, hashes, err := s.tokens(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(t token) bool { return t.ID == c.id() })
		if i < 0 {
			return nil, notFound("admin token", c.id())
		}
		shape := shapeToken(list[i], now)
		ch := &change{
			audit: []entry{{Action: "admin_token.delete", Target: shape.ID, Before: members(shape)}},
			shown: ok(deleted{shape.ID, "admin_token", true}),
		}
		ch.Records.Put = append(ch.Records.Put, store.Record{Book: store.Tokens, Key: hashes[i]})
		return ch, nil
	})
}

// deleted is the answer to what was deleted.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}
