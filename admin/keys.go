// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/store"
)

func (s *Server) createKey(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	next := apikey.Key{State: apikey.Active, Mode: apikey.Live}
	ref := f.text("customer", maxEmail)
	readKey(f, &next)
	if mode := f.word("mode", string(apikey.Live), string(apikey.Test)); mode != "" {
		next.Mode = apikey.Mode(mode)
	}
	hash, imported := readHash(f, "hash")
	if ref == "" {
		f.fail("customer", "It is required: an id, an external id or an e-mail address.")
	}
	if !next.ExpiresAt.IsZero() && !c.now.Before(next.ExpiresAt) {
		f.fail("expires_at", "It has passed.")
	}
	s.checkPlan(f, "plan", next.Plan)
	if err := f.finish(); err != nil {
		return nil, err
	}
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		owner, isNew, err := s.ownerOf(ctx, ref, next.Plan, now)
		if err != nil {
			return nil, err
		}
		next.ID, next.Customer, next.CreatedAt = id.New("key", now), owner.ID, now.UTC()
		if err := s.checkOwner(f, &next, &owner, now); err != nil {
			return nil, err
		}
		secret, held, err := s.mint(next.Mode, hash, imported)
		if err != nil {
			return nil, err
		}
		next.Secrets = []apikey.HeldSecret{held}
		return s.creation(&next, &owner, isNew, secret, now), nil
	})
}

// ownerOf returns the customer that ref names, or a new one where it is an
// unknown e-mail address: that one then also holds the plan, so that its pooled
// quotas are the plan's.
func (s *Server) ownerOf(ctx context.Context, ref, planID string, now time.Time) (owner customer.Customer, isNew bool, err error) {
	owner, err = s.findCustomer(ctx, ref)
	switch {
	case err == nil && !owner.ErasedAt.IsZero():
		return owner, false, conflict("erased", "This customer was erased.")
	case err == nil:
		return owner, false, nil
	case !errors.Is(err, store.ErrNotFound):
		return owner, false, fmt.Errorf("reading a customer: %w", err)
	case !isEmail(ref):
		p := notFound("customer", ref)
		p.field = "customer"
		return owner, false, p
	}
	return customer.Customer{ID: id.New("cust", now), Email: strings.ToLower(ref), Plan: planID, CreatedAt: now.UTC()}, true, nil
}

// checkOwner makes sure that the key has a plan and holds nothing past it.
func (s *Server) checkOwner(f *fields, k *apikey.Key, owner *customer.Customer, now time.Time) error {
	decides, _ := s.plansOf(k, owner, now)
	if decides == "" {
		return planRequired()
	}
	s.checkScopes(f, k, decides)
	return f.finish()
}

// mint makes a secret, or holds the hash of one that was made elsewhere.
func (s *Server) mint(mode apikey.Mode, hash apikey.Hash, imported bool) (*string, apikey.HeldSecret, error) {
	if imported {
		return nil, apikey.HeldSecret{Hash: hash}, nil
	}
	secret, err := apikey.Mint(s.o.KeyPrefix, mode, rand.Reader)
	if err != nil {
		return nil, apikey.HeldSecret{}, fmt.Errorf("minting a secret: %w", err)
	}
	shown := secret.Reveal()
	return &shown, apikey.HeldSecret{Hash: secret.Hash(), Start: secret.Start()}, nil
}

// creation is the change that makes a key and, where it is new, its customer.
func (s *Server) creation(k *apikey.Key, owner *customer.Customer, isNew bool, secret *string, now time.Time) *change {
	shape := s.shapeKey(k, owner, time.Time{}, now)
	ch := &change{
		shown: created(createdKey{shape, secret, secret != nil}), kept: createdKey{shape, nil, false},
		subjects: []string{owner.ID}, isNew: isNew,
	}
	if isNew {
		ch.Customers = []customer.Customer{*owner}
		ch.audit = append(ch.audit, changed("customer.create", owner.ID, owner.ID, nil, members(s.shapeCustomer(owner, now))))
	}
	ch.Keys = []apikey.Key{*k}
	ch.audit = append(ch.audit, changed("key.create", k.ID, owner.ID, nil, members(shape)))
	ch.Records.Expect = append(ch.Records.Expect, notErased(owner.ID))
	_, bounding := s.plansOf(k, owner, now)
	if most := liveKeys(bounding); most > 0 {
		ch.MaxKeys = []store.MaxKeys{{Customer: owner.ID, Live: most, Now: now}}
	}
	return ch
}

func (s *Server) patchKey(ctx context.Context, c *call) (*answer, error) {
	return s.changeKey(ctx, c, "key.update", func(k *apikey.Key, owner *customer.Customer, ch *change, now time.Time) error {
		old := *k
		f := c.document.patching(keyFields(&old))
		readKey(f, k)
		if k.Plan != old.Plan {
			s.checkPlan(f, "plan", k.Plan)
		}
		decides, bounding := s.plansOf(k, owner, now)
		if decides == "" {
			return planRequired()
		}
		if _, there := c.document.members["scopes"]; there || k.Plan != old.Plan {
			s.checkScopes(f, k, decides)
		}
		if most := liveKeys(bounding); most > 0 && old.Status(now) == apikey.StatusExpired && k.Status(now) != apikey.StatusExpired {
			ch.MaxKeys = []store.MaxKeys{{Customer: owner.ID, Live: most, Now: now}}
		}
		return f.finish()
	})
}

// changeKey changes the key that the call names, and answers with it.
func (s *Server) changeKey(ctx context.Context, c *call, action string, to func(k *apikey.Key, owner *customer.Customer, ch *change, now time.Time) error) (*answer, error) {
	return s.write(ctx, c, func(now time.Time) (*change, error) {
		old, err := s.key(ctx, c.id())
		if err != nil {
			return nil, err
		}
		owner, err := s.customer(ctx, old.Customer)
		if err != nil {
			return nil, err
		}
		before, err := s.shownKey(ctx, &old, now)
		if err != nil {
			return nil, err
		}
		next, ch := old, &change{subjects: []string{old.Customer}}
		if err := to(&next, &owner, ch, now); err != nil {
			return nil, err
		}
		shape := s.shapeKey(&next, &owner, time.Time{}, now)
		shape.LastUsedAt = before.LastUsedAt
		if e := changed(action, next.ID, next.Customer, members(before), members(shape)); len(e.After) > 0 {
			e.Reason = ch.reason
			ch.Keys, ch.audit = []apikey.Key{next}, []entry{e}
		}
		ch.showKey(shape)
		return ch, nil
	})
}

// key returns the key of that id, or a problem.
func (s *Server) key(ctx context.Context, ref string) (apikey.Key, error) {
	found, err := s.o.Store.Key(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return found, notFound("key", ref)
	}
	if err != nil {
		return found, fmt.Errorf("reading a key: %w", err)
	}
	return found, nil
}

func (s *Server) showKey(ctx context.Context, c *call) (*answer, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	found, err := s.key(ctx, c.id())
	if err != nil {
		return nil, err
	}
	shape, err := s.shownKey(ctx, &found, c.now)
	return ok(shape), err
}

func (s *Server) listKeys(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("customer", "status", "plan")
	if err != nil {
		return nil, err
	}
	wanted := store.KeyQuery{
		Customer: q.text("customer"), Plan: q.text("plan"), Now: c.now,
		Status: apikey.Status(q.word("status", "", string(apikey.StatusActive), string(apikey.StatusDisabled), string(apikey.StatusRevoked), string(apikey.StatusExpired))),
	}
	wanted.OrNone = wanted.Plan == s.settings().DefaultPlan
	if wanted.PageQuery, err = q.page(); err != nil {
		return nil, err
	}
	var page store.Page[apikey.Key]
	if wanted.Customer, err = s.filterCustomer(ctx, wanted.Customer); err == nil {
		page, err = s.o.Store.ListKeys(ctx, wanted)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	shapes := make([]keyShape, 0, len(page.Items))
	for i := range page.Items {
		shape, err := s.shownKey(ctx, &page.Items[i], c.now)
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, shape)
	}
	return ok(paged(shapes, page.More, func(k keyShape) string { return k.ID })), nil
}

// filterCustomer returns the id of the customer a filter names; an error that
// is store.ErrNotFound where nobody is.
func (s *Server) filterCustomer(ctx context.Context, ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	found, err := s.findCustomer(ctx, ref)
	return found.ID, err
}
