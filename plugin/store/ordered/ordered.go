// SPDX-License-Identifier: Apache-2.0

// Package ordered makes a whole store.Engine of any tree: an ordered map of
// bytes with transactions. memstore and boltstore are such trees; what is
// written into them, and how it is found again, is decided here once.
//
// Records are JSON, in one bucket for each kind. Every index is a bucket of its
// own whose keys end with the id of the record, so that walking it backwards
// gives the newest first.
package ordered

import (
	"context"
	"sync"

	"github.com/keytoll/keytoll/plugin/store"
)

// Tree is an ordered map of bytes in named buckets. Its methods may be called
// concurrently.
type Tree interface {
	// View shows fn one consistent state. It does not wait for Update.
	View(fn func(Tx) error) error
	// Update makes what fn writes durable at once, or nothing of it where fn
	// or the tree fails. Updates run one after the other.
	Update(fn func(Tx) error) error
	// Close waits for what is running. Later calls return store.ErrClosed.
	Close() error
}

// Tx is a transaction. It, and all bytes got from it, are valid until fn returns.
type Tx interface {
	// Bucket returns the bucket of that name. One that does not exist is empty;
	// writing makes it.
	Bucket(name string) Bucket
}

// Bucket is one ordered map. Put, Delete and Cursor follow bbolt: keys are not
// empty, Get returns nil for what is absent, deleting it is no error.
type Bucket interface {
	Get(key []byte) []byte
	Put(key, value []byte) error
	Delete(key []byte) error
	Cursor() Cursor
}

// Cursor walks a bucket in order of keys; a nil key is past the end. A bucket
// is not to be written while one of its cursors is in use.
type Cursor interface {
	Last() (key, value []byte)
	Seek(key []byte) (k, value []byte) // the first key at or after key
	Next() (key, value []byte)
	Prev() (key, value []byte)
}

// The buckets. The names are part of the file's schema.
const (
	keys      = "keys"      // id → JSON
	customers = "customers" // id → JSON
	plans     = "plans"     // id → JSON

	hashes    = "hashes"           // hash → key id
	emails    = "emails"           // → customer id
	externals = "external_ids"     // → customer id
	stripes   = "stripe_customers" // → customer id

	keysByCustomer       = "keys_by_customer"       // customer, id → standing
	keysByPlan           = "keys_by_plan"           // the plan a list shows or "", id
	keysByState          = "keys_by_state"          // state, id → standing
	keysByExpiry         = "keys_by_expiry"         // time, id; of active keys
	keysByWord           = "keys_by_word"           // folded beginning, id
	keysHoldingPlan      = "keys_holding_plan"      // own plan, id; not revoked
	customersByPlan      = "customers_by_plan"      // plan or "", id
	customersByWord      = "customers_by_word"      // folded beginning, id
	customersHoldingPlan = "customers_holding_plan" // any plan of a customer, id; not erased

	counts  = "counts"  // name → number
	reindex = "reindex" // customer → plans whose index entries are to be moved

	usageNodes  = "usage_nodes"  // node → last sequence
	usageOwners = "usage_owners" // key, customer: who has rows at the level of keys
	loans       = "loans"        // bucket → JSON
	loanNodes   = "loan_nodes"   // bucket, node → JSON

	bookPrefix = "book_" // and the name of the book
)

// Engine is a store.Engine over a Tree.
type Engine struct {
	tree Tree

	writing sync.Mutex // holds the order of Write and of telling watchers
	watches watches
	effort  effort // of lists
}

var _ store.Engine = (*Engine)(nil)

// New returns the engine over tree. It owns tree from then on.
func New(tree Tree) *Engine { return &Engine{tree: tree, effort: usualEffort()} }

// Close closes the tree.
func (e *Engine) Close() error { return e.tree.Close() }

func (e *Engine) view(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.tree.View(fn)
}

func (e *Engine) update(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.tree.Update(fn)
}

// step is how many records one transaction of long work touches at most.
const step = 500
