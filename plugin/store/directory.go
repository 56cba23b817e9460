// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
)

// Directory holds customers, keys and plans.
type Directory interface {
	// Lookup finds the keys that the hashes open (or once did, until their
	// secret was ended) and their customers, in the order of hashes; Found is
	// false where there is none.
	Lookup(ctx context.Context, hashes []apikey.Hash) ([]Match, error)

	// Key returns the key of that id, or ErrNotFound.
	Key(ctx context.Context, id string) (apikey.Key, error)
	// Customer returns the customer of that reference, or ErrNotFound.
	Customer(ctx context.Context, ref CustomerRef) (customer.Customer, error)
	// Plans returns the stored plans, by id.
	Plans(ctx context.Context) ([]plan.Plan, error)

	// ListKeys and ListCustomers return one page, newest first. The work is
	// bounded by the rarest filter, not by how many records there are.
	ListKeys(ctx context.Context, q KeyQuery) (Page[apikey.Key], error)
	ListCustomers(ctx context.Context, q CustomerQuery) (Page[customer.Customer], error)
	// CountKeys returns how many keys there are by state and plan, and
	// customers in all, from maintained counters.
	Count(ctx context.Context) (Counts, error)

	// Write makes all mutations in one transaction, or none, and returns its
	// revision. Revisions have no gaps. Before it returns, every function
	// watching this Directory value has been told of the change.
	// Errors: ErrConflict, ErrNotFound, ErrInUse, ErrTooManyKeys, *DuplicateError.
	Write(ctx context.Context, m Mutations) (revision uint64, err error)
	// Revision returns that of the last write; 0 before the first.
	Revision(ctx context.Context) (uint64, error)
	// Watch calls fn for each later write, in order of revisions and one at a
	// time, until stop is called; stop waits for a call that is running. fn
	// must be quick and must not call the Directory.
	Watch(fn func(Change)) (stop func())
}

// Match is what a hash was found to open.
type Match struct {
	Found    bool
	Key      apikey.Key
	Customer customer.Customer
}

// CustomerRef names a customer by exactly one of its fields.
type CustomerRef struct {
	ID, Email, ExternalID, StripeCustomer string
}

// Mutations are made together. Records with a zero Revision are new; others
// must still have the Revision they name. The store sets Revision itself.
type Mutations struct {
	Customers   []customer.Customer
	Keys        []apikey.Key
	Plans       []plan.Plan
	DeletePlans []string // ErrInUse where a customer or a key that is not revoked holds it

	// MaxKeys are checked after the other mutations.
	MaxKeys []MaxKeys

	// Records are written to the Journal in the same transaction.
	Records Batch
}

// MaxKeys bounds how many keys of a customer may be neither revoked nor expired at now.
type MaxKeys struct {
	Customer string
	Live     int
	Now      time.Time
}

// A Change says what a write touched, for caches to drop.
type Change struct {
	Revision  uint64
	Keys      []KeyChange
	Customers []string // ids
	Plans     []string // ids
}

// KeyChange says which key was written and which hashes it had before or has now.
type KeyChange struct {
	ID, Customer string
	Hashes       []apikey.Hash
}

// PageQuery is what all lists take.
type PageQuery struct {
	Limit int    // at least 1
	After string // the id of the last record seen; "" for the first page
	// Prefix is matched, case folded, against the beginnings of name, e-mail,
	// start (keys), external id and id.
	Prefix string
}

// KeyQuery selects keys; empty fields select all.
type KeyQuery struct {
	PageQuery
	Customer string // id
	Plan     string // the key's own plan or, where it has none, its customer's Plan
	OrNone   bool   // beside Plan, the default: also keys for which neither names a plan
	Status   apikey.Status
	Now      time.Time // for Status
}

// CustomerQuery selects customers; empty fields select all.
type CustomerQuery struct {
	PageQuery
	Plan   string // Customer.Plan
	OrNone bool   // beside Plan, the default: also those without one
}

// A Page is a part of a list.
type Page[T any] struct {
	Items []T
	More  bool
}

// Counts says how many records there are.
type Counts struct {
	Customers int64
	Keys      map[apikey.State]int64
}
