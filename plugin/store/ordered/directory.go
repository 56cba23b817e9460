// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// Lookup implements store.Directory.
func (e *Engine) Lookup(ctx context.Context, wanted []apikey.Hash) ([]store.Match, error) {
	matches := make([]store.Match, len(wanted))
	err := e.view(ctx, func(tx Tx) error {
		index, kb, cb := tx.Bucket(hashes), tx.Bucket(keys), tx.Bucket(customers)
		for i := range wanted {
			id := index.Get(wanted[i][:])
			if id == nil {
				continue
			}
			m := &matches[i]
			if err := decode(kb, keys, id, &m.Key); err != nil {
				return damaged(err)
			}
			if err := decode(cb, customers, []byte(m.Key.Customer), &m.Customer); err != nil {
				return damaged(err)
			}
			m.Found = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return matches, nil
}

// damaged hides ErrNotFound: that an index names a record that is missing is a
// fault, not an answer.
func damaged(err error) error { return errors.New("index leads nowhere: " + err.Error()) }

// decode reads one JSON record; ErrNotFound where there is none.
func decode(b Bucket, kind string, id []byte, to any) error {
	raw := b.Get(id)
	if raw == nil {
		return fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("reading record %s of %s: %w", id, kind, err)
	}
	return nil
}

// Key implements store.Directory.
func (e *Engine) Key(ctx context.Context, id string) (k apikey.Key, err error) {
	err = e.view(ctx, func(tx Tx) error { return decode(tx.Bucket(keys), keys, []byte(id), &k) })
	return k, err
}

// Customer implements store.Directory.
func (e *Engine) Customer(ctx context.Context, ref store.CustomerRef) (c customer.Customer, err error) {
	err = e.view(ctx, func(tx Tx) error {
		id := []byte(ref.ID)
		switch {
		case ref.Email != "":
			id = tx.Bucket(emails).Get(part(nil, ref.Email))
		case ref.ExternalID != "":
			id = tx.Bucket(externals).Get(part(nil, ref.ExternalID))
		case ref.StripeCustomer != "":
			id = tx.Bucket(stripes).Get(part(nil, ref.StripeCustomer))
		}
		if len(id) == 0 {
			return store.ErrNotFound
		}
		return decode(tx.Bucket(customers), customers, id, &c)
	})
	return c, err
}

// Plans implements store.Directory.
func (e *Engine) Plans(ctx context.Context) (all []plan.Plan, err error) {
	err = e.view(ctx, func(tx Tx) error {
		c := tx.Bucket(plans).Cursor()
		for id, raw := c.Seek(nil); id != nil; id, raw = c.Next() {
			var p plan.Plan
			if err := json.Unmarshal(raw, &p); err != nil {
				return fmt.Errorf("reading record %s of %s: %w", id, plans, err)
			}
			all = append(all, p)
		}
		return nil
	})
	return all, err
}

// The names of the maintained counts.
const (
	customersCount = "customers"
	keysCount      = "keys/" // and the state
	revisionCount  = "revision"
)

// Count implements store.Directory.
func (e *Engine) Count(ctx context.Context) (n store.Counts, err error) {
	n.Keys = make(map[apikey.State]int64)
	err = e.view(ctx, func(tx Tx) error {
		b := tx.Bucket(counts)
		n.Customers = int64(asNumber(b.Get([]byte(customersCount))))
		for _, s := range []apikey.State{apikey.Active, apikey.Disabled, apikey.Revoked} {
			n.Keys[s] = int64(asNumber(b.Get([]byte(keysCount + string(s)))))
		}
		return nil
	})
	return n, err
}

// Revision implements store.Directory.
func (e *Engine) Revision(ctx context.Context) (revision uint64, err error) {
	err = e.view(ctx, func(tx Tx) error {
		revision = asNumber(tx.Bucket(counts).Get([]byte(revisionCount)))
		return nil
	})
	return revision, err
}

func count(tx Tx, name string, change int64) error {
	if change == 0 {
		return nil
	}
	b := tx.Bucket(counts)
	return b.Put([]byte(name), number(asNumber(b.Get([]byte(name)))+uint64(change)))
}
