// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

// Replayed says what Replay ended anew.
type Replayed struct {
	Revoked int // keys
	Erased  int // customers
	Records int // of the journal
}

// Replay puts the tombstones of another engine over the records of this one:
// what was ended there after this one was backed up stays ended. It works in
// small steps and may be repeated.
func (e *Engine) Replay(ctx context.Context, from store.Journal) (r Replayed, err error) {
	at := store.Range{}
	for {
		var tombs []store.Record
		err := from.Scan(ctx, store.Tombstones, at, func(k, v []byte) bool {
			tombs = append(tombs, store.Record{Book: store.Tombstones, Key: bytes.Clone(k), Value: append([]byte{}, v...)})
			return len(tombs) < step
		})
		if err != nil || len(tombs) == 0 {
			return r, err
		}
		// They stay tombstones here as well: there may be another restore.
		if err := e.Commit(ctx, store.Batch{Put: tombs}); err != nil {
			return r, err
		}
		for _, t := range tombs {
			if err := e.replayOne(ctx, t, &r); err != nil {
				return r, fmt.Errorf("replaying %s: %w", t.Key, err)
			}
		}
		at.From = append(tombs[len(tombs)-1].Key, 0)
	}
}

func (e *Engine) replayOne(ctx context.Context, t store.Record, r *Replayed) (err error) {
	name := string(t.Key)
	done := false
	if id, ok := strings.CutPrefix(name, keyTomb); ok {
		if done, err = e.revokeAnew(ctx, id, t.Value); done {
			r.Revoked++
		}
	} else if id, ok := strings.CutPrefix(name, customerTomb); ok {
		if done, err = e.eraseAnew(ctx, id, t.Value); done {
			r.Erased++
		}
	} else if id, ok := strings.CutPrefix(name, usageTomb); ok {
		err = e.RenameUsage(ctx, id, string(t.Value))
	} else if record, ok := store.Buried(t); ok {
		if done, err = e.replaceAnew(ctx, record); done {
			r.Records++
		}
	}
	return err
}

func (e *Engine) revokeAnew(ctx context.Context, id string, last []byte) (done bool, err error) {
	now, err := e.Key(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // made after the backup: it does not exist, nor does its secret
	}
	if err != nil {
		return false, err
	}
	var k apikey.Key
	if err := json.Unmarshal(last, &k); err != nil {
		return false, err
	}
	done = now.State != apikey.Revoked
	k.Revision = now.Revision
	_, err = e.Write(ctx, store.Mutations{Keys: []apikey.Key{k}})
	if duplicate := new(store.DuplicateError); errors.As(err, &duplicate) {
		// Its secret belonged to another key when the backup was made.
		now.State, now.RevokedAt = apikey.Revoked, k.RevokedAt
		_, err = e.Write(ctx, store.Mutations{Keys: []apikey.Key{now}})
	}
	return done && err == nil, err
}

func (e *Engine) eraseAnew(ctx context.Context, id string, last []byte) (done bool, err error) {
	now, err := e.Customer(ctx, store.CustomerRef{ID: id})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var c customer.Customer
	if err := json.Unmarshal(last, &c); err != nil {
		return false, err
	}
	done = now.ErasedAt.IsZero()
	c.Revision = now.Revision
	_, err = e.Write(ctx, store.Mutations{Customers: []customer.Customer{c}})
	if duplicate := new(store.DuplicateError); errors.As(err, &duplicate) {
		c.Email, c.ExternalID, c.StripeCustomer = "", "", ""
		_, err = e.Write(ctx, store.Mutations{Customers: []customer.Customer{c}})
	}
	return done && err == nil, err
}

// replaceAnew puts record in the place of the one that the backup still held.
func (e *Engine) replaceAnew(ctx context.Context, record store.Record) (done bool, err error) {
	switch have, err := e.Read(ctx, record.Book, record.Key); {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case bytes.Equal(have, record.Value):
		return false, nil
	}
	return true, e.Commit(ctx, store.Batch{Put: []store.Record{record}})
}
