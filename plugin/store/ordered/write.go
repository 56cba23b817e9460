// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"context"
	"fmt"
	"slices"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// Write implements store.Directory.
func (e *Engine) Write(ctx context.Context, m store.Mutations) (uint64, error) {
	if err := checkMutations(m); err != nil {
		return 0, err
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	var w *write
	err := e.update(ctx, func(tx Tx) error {
		w = &write{tx: tx, m: m, counted: make(map[string]int64), unwritten: make(map[string]string)}
		return w.run()
	})
	if err != nil {
		e.tellUnknown(w)
		return 0, err
	}
	if w.changed {
		e.watches.tell(w.change)
	}
	if w.unfinished {
		// The write itself is durable. What is left is said in the tree, and
		// is taken up again by the next such write or by Resume.
		_ = e.Resume(ctx)
	}
	return w.change.Revision, nil
}

// tellUnknown tells of a write whose outcome is not known: a disk may fail after
// the write can be read. Caches must not outlive it.
func (e *Engine) tellUnknown(w *write) {
	if w == nil || !w.changed || w.change.Revision == 0 {
		return
	}
	if revision, err := e.Revision(context.Background()); err == nil && revision >= w.change.Revision {
		e.watches.tell(w.change)
	}
}

// write is one run of a Write's transaction.
type write struct {
	tx         Tx
	m          store.Mutations
	change     store.Change
	changed    bool
	unfinished bool // index entries are left to be moved
	counted    map[string]int64

	customers  []customerWrite
	byCustomer map[string]int // index in customers
	keys       []keyWrite
	edits      edits
	unwritten  map[string]string // plans of customers this write leaves alone
}

type customerWrite struct {
	old  *customer.Customer
	next customer.Customer
}

type keyWrite struct {
	old  *apikey.Key
	next apikey.Key
}

func (w *write) run() error {
	b := w.tx.Bucket(counts)
	revision := asNumber(b.Get([]byte(revisionCount)))
	w.changed = len(w.m.Customers)+len(w.m.Keys)+len(w.m.Plans)+len(w.m.DeletePlans) > 0
	if w.changed {
		revision++
		if err := b.Put([]byte(revisionCount), number(revision)); err != nil {
			return err
		}
	}
	w.change.Revision = revision
	for _, do := range []func() error{
		w.readCustomers, w.readKeys, w.putEntries,
		w.putCustomers, w.putKeys, w.putPlans, w.deletePlans,
		w.putCounts, w.checkMaxKeys,
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return commit(w.tx, w.m.Records)
}

func (w *write) readCustomers() error {
	w.customers = make([]customerWrite, 0, len(w.m.Customers))
	w.byCustomer = make(map[string]int, len(w.m.Customers))
	for i, next := range w.m.Customers {
		if _, twice := w.byCustomer[next.ID]; twice {
			return &store.DuplicateError{Field: "id", ID: next.ID}
		}
		w.byCustomer[next.ID] = i
		old, err := current(w.tx.Bucket(customers), customers, next.ID, next.Revision,
			func(c *customer.Customer) uint64 { return c.Revision })
		if err != nil {
			return err
		}
		next.Revision = w.change.Revision
		var had []entry
		if old != nil {
			had = customerEntries(old)
		} else {
			w.counted[customersCount]++
		}
		w.edits.change(next.ID, had, customerEntries(&next))
		w.customers = append(w.customers, customerWrite{old, next})
		w.change.Customers = append(w.change.Customers, next.ID)
	}
	return nil
}

func (w *write) readKeys() error {
	w.keys = make([]keyWrite, 0, len(w.m.Keys))
	seen := make(map[string]bool, len(w.m.Keys))
	for _, next := range w.m.Keys {
		if seen[next.ID] {
			return &store.DuplicateError{Field: "id", ID: next.ID}
		}
		seen[next.ID] = true
		old, err := current(w.tx.Bucket(keys), keys, next.ID, next.Revision,
			func(k *apikey.Key) uint64 { return k.Revision })
		if err != nil {
			return err
		}
		next.Revision = w.change.Revision
		before, after, err := w.customerPlans(next.Customer)
		if err != nil {
			return err
		}
		var had []entry
		if old != nil {
			if old.Customer != next.Customer {
				return fmt.Errorf("key %s cannot change its customer", next.ID)
			}
			had = keyEntries(old, before)
			w.counted[keysCount+string(old.State)]--
		}
		w.counted[keysCount+string(next.State)]++
		w.edits.change(next.ID, had, keyEntries(&next, after))
		w.keys = append(w.keys, keyWrite{old, next})
		w.change.Keys = append(w.change.Keys, keyChange(old, &next))
	}
	return nil
}

// customerPlans returns the plan of a key's customer before and after this write.
func (w *write) customerPlans(id string) (before, after string, err error) {
	if i, written := w.byCustomer[id]; written {
		c := &w.customers[i]
		if c.old != nil {
			before = c.old.Plan
		}
		return before, c.next.Plan, nil
	}
	if p, known := w.unwritten[id]; known {
		return p, p, nil
	}
	var c struct{ Plan string }
	if err := decode(w.tx.Bucket(customers), customers, []byte(id), &c); err != nil {
		return "", "", err
	}
	w.unwritten[id] = c.Plan
	return c.Plan, c.Plan, nil
}

func keyChange(old, next *apikey.Key) store.KeyChange {
	c := store.KeyChange{ID: next.ID, Customer: next.Customer}
	for _, s := range next.Secrets {
		c.Hashes = append(c.Hashes, s.Hash)
	}
	if old != nil {
		for _, s := range old.Secrets {
			if !slices.Contains(c.Hashes, s.Hash) {
				c.Hashes = append(c.Hashes, s.Hash)
			}
		}
	}
	return c
}

func (w *write) putEntries() error { return w.edits.apply(w.tx) }

func (w *write) putCustomers() error {
	for i := range w.customers {
		c := &w.customers[i]
		raw, err := put(w.tx.Bucket(customers), c.next.ID, &c.next)
		if err != nil {
			return err
		}
		if !c.next.ErasedAt.IsZero() {
			if err := bury(w.tx, customerTomb+c.next.ID, raw); err != nil {
				return err
			}
		}
		if c.old != nil && c.old.Plan != c.next.Plan {
			if err := w.movePlan(c.next.ID, c.old.Plan); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *write) putKeys() error {
	for i := range w.keys {
		k := &w.keys[i]
		raw, err := put(w.tx.Bucket(keys), k.next.ID, &k.next)
		if err != nil {
			return err
		}
		if k.next.State == apikey.Revoked {
			if err := bury(w.tx, keyTomb+k.next.ID, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *write) putPlans() error {
	b := w.tx.Bucket(plans)
	for _, p := range w.m.Plans {
		_, err := current(b, plans, p.ID, p.Revision, func(p *plan.Plan) uint64 { return p.Revision })
		if err != nil {
			return err
		}
		p.Revision = w.change.Revision
		if _, err := put(b, p.ID, p); err != nil {
			return err
		}
		w.change.Plans = append(w.change.Plans, p.ID)
	}
	return nil
}

func (w *write) deletePlans() error {
	b := w.tx.Bucket(plans)
	for _, id := range w.m.DeletePlans {
		if b.Get([]byte(id)) == nil {
			return fmt.Errorf("%s %s: %w", plans, id, store.ErrNotFound)
		}
		for _, index := range []string{customersHoldingPlan, keysHoldingPlan} {
			if anyUnder(w.tx.Bucket(index), part(nil, id)) {
				return fmt.Errorf("%s %s: %w", plans, id, store.ErrInUse)
			}
		}
		if err := b.Delete([]byte(id)); err != nil {
			return err
		}
		w.change.Plans = append(w.change.Plans, id)
	}
	return nil
}

func (w *write) putCounts() error {
	for name, change := range w.counted {
		if err := count(w.tx, name, change); err != nil {
			return err
		}
	}
	return nil
}

func (w *write) checkMaxKeys() error {
	for _, bound := range w.m.MaxKeys {
		if live(w.tx, bound) > bound.Live {
			return fmt.Errorf("customer %s: %w", bound.Customer, store.ErrTooManyKeys)
		}
	}
	return nil
}
