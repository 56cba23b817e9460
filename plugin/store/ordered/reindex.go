// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

// A key without a plan of its own is listed under its customer's. When that
// changes, the entries of up to step keys move in the same transaction; what is
// left is noted in the bucket reindex and moves in steps of its own. Until then
// a list by plan may miss such keys; it never shows a wrong one.

// move is what is noted of a customer whose entries are to be moved.
type move struct {
	From  []string `json:"from"`  // plans the keys may still be listed under
	After string   `json:"after"` // the last key that was moved
}

// movePlan starts to move the entries of a customer's keys away from a plan.
func (w *write) movePlan(id, from string) error {
	var m move
	if raw := w.tx.Bucket(reindex).Get([]byte(id)); raw != nil {
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
	}
	if !slices.Contains(m.From, from) {
		m.From = append(m.From, from)
	}
	m.After = ""
	finished, err := moveSome(w.tx, id, m)
	w.unfinished = w.unfinished || !finished
	return err
}

// moveSome moves the entries of one step and notes what is left.
func moveSome(tx Tx, id string, m move) (finished bool, err error) {
	var c customer.Customer
	if err := decode(tx.Bucket(customers), customers, []byte(id), &c); err != nil {
		return false, err
	}
	moved, finished := keysToMove(tx, id, m.After)
	for _, k := range moved {
		own := ""
		if k.own {
			var record apikey.Key
			if err := decode(tx.Bucket(keys), keys, []byte(k.id), &record); err != nil {
				return false, err
			}
			own = record.Plan
		}
		if err := moveKey(tx.Bucket(keysByPlan), k.id, own, c.Plan, m.From); err != nil {
			return false, err
		}
		m.After = k.id
	}
	if finished {
		return true, tx.Bucket(reindex).Delete([]byte(id))
	}
	_, err = put(tx.Bucket(reindex), id, m)
	return false, err
}

type movedKey struct {
	id  string
	own bool // has a plan of its own
}

func keysToMove(tx Tx, customer, after string) (found []movedKey, finished bool) {
	prefix := part(nil, customer)
	c := tx.Bucket(keysByCustomer).Cursor()
	for k, v := c.Seek(append(bytes.Clone(prefix), after...)); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		id := string(k[len(prefix):])
		if id == after {
			continue
		}
		if len(found) == step {
			return found, false
		}
		found = append(found, movedKey{id, standingOwnPlan(v)})
	}
	return found, true
}

func moveKey(b Bucket, id, own, customers string, from []string) error {
	to := own
	if to == "" {
		to = customers
	}
	for _, f := range from {
		if f != to {
			if err := b.Delete(under(f, id)); err != nil {
				return err
			}
		}
	}
	return b.Put(under(to, id), []byte{})
}

// Resume finishes what an earlier write, or an earlier process, left to be done
// in steps. Opening an engine calls it.
func (e *Engine) Resume(ctx context.Context) error {
	for {
		var left bool
		err := e.view(ctx, func(tx Tx) error {
			id, _ := tx.Bucket(reindex).Cursor().Seek(nil)
			left = id != nil
			return nil
		})
		if err != nil || !left {
			return err
		}
		if err := e.update(ctx, resumeFirst); err != nil {
			return err
		}
	}
}

func resumeFirst(tx Tx) error {
	k, raw := tx.Bucket(reindex).Cursor().Seek(nil)
	if k == nil {
		return nil
	}
	var m move
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	_, err := moveSome(tx, string(k), m)
	return err
}

func anyUnder(b Bucket, prefix []byte) bool {
	k, _ := b.Cursor().Seek(prefix)
	return bytes.HasPrefix(k, prefix)
}

// live counts the customer's keys that are neither revoked nor expired, up to
// one more than the bound.
func live(tx Tx, bound store.MaxKeys) int {
	prefix := part(nil, bound.Customer)
	n := 0
	c := tx.Bucket(keysByCustomer).Cursor()
	for k, standing := c.Seek(prefix); bytes.HasPrefix(k, prefix) && n <= bound.Live; k, standing = c.Next() {
		if !standingRevoked(standing) && !standingExpired(standing, bound.Now) {
			n++
		}
	}
	return n
}
