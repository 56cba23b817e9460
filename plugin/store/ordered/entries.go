// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/keytoll/keytoll/plugin/store"
)

// edits are the entries that a write gives up and takes. All records give up
// what they had before any takes what another may have given up; each index is
// written in its own order, which touches every page once.
type edits struct {
	drop []entry
	take []owned
}

// owned is an entry and the record it belongs to.
type owned struct {
	entry
	id string
}

// change notes how the entries of one record change.
func (e *edits) change(id string, old, next []entry) {
	for i := range old {
		if !has(next, &old[i]) {
			e.drop = append(e.drop, old[i])
		}
	}
	for i := range next {
		if !has(old, &next[i]) {
			e.take = append(e.take, owned{next[i], id})
		}
	}
}

func has(entries []entry, e *entry) bool {
	for i := range entries {
		if entries[i].bucket == e.bucket && bytes.Equal(entries[i].key, e.key) && bytes.Equal(entries[i].value, e.value) {
			return true
		}
	}
	return false
}

// apply writes the entries. Its error is a *store.DuplicateError where an entry
// that must be unique is another record's.
func (e *edits) apply(tx Tx) error {
	slices.SortStableFunc(e.take, func(a, b owned) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), bytes.Compare(a.key, b.key))
	})
	for i := range e.drop {
		if err := tx.Bucket(e.drop[i].bucket).Delete(e.drop[i].key); err != nil {
			return err
		}
	}
	var b Bucket
	for i := range e.take {
		t := &e.take[i]
		if i == 0 || e.take[i-1].bucket != t.bucket {
			b = tx.Bucket(t.bucket)
		}
		if t.unique != "" {
			if owner := b.Get(t.key); owner != nil && string(owner) != t.id {
				return &store.DuplicateError{Field: t.unique, ID: string(owner)}
			}
		}
		if err := b.Put(t.key, t.value); err != nil {
			return err
		}
	}
	return nil
}
