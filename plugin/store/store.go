// SPDX-License-Identifier: Apache-2.0

// Package store says what is kept and how: four small interfaces that every
// engine (memory, bbolt, PostgreSQL; Redis for rates alone) implements, and
// that storetest certifies.
//
//   - Directory: customers, keys and plans, with an ordered change feed
//   - Journal: books of records, written in atomic batches
//   - Ledger: usage by hour and day, booked exactly once
//   - Lender: units of a bucket, lent to nodes
//
// All methods may be called concurrently. A fault (disk full, server gone) is
// an error other than those declared here; nothing of a failed call is kept
// unless the call says otherwise.
package store

import (
	"errors"
	"fmt"
)

// The conditions a caller branches on.
var (
	// ErrNotFound: no record of that id.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the record has been changed since it was read. Read it again.
	ErrConflict = errors.New("changed by somebody else")
	// ErrInUse: the plan is held by a customer or a key.
	ErrInUse = errors.New("in use")
	// ErrTooManyKeys: the customer would have more live keys than allowed.
	ErrTooManyKeys = errors.New("too many live keys")
	// ErrClosed: the engine has been closed.
	ErrClosed = errors.New("store is closed")
)

// DuplicateError says that a field that must be unique is taken.
type DuplicateError struct {
	Field string // "email", "external_id", "stripe_customer_id", "hash", "id"
	ID    string // the record that has it
}

func (e *DuplicateError) Error() string { return fmt.Sprintf("%s is taken by %s", e.Field, e.ID) }

// Engine is a store that holds everything.
type Engine interface {
	Directory
	Journal
	Ledger
	Lender
	Close() error
}
