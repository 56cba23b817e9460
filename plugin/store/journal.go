// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
)

// Journal holds records of bytes in books, ordered by key within a book.
// Whoever writes a book knows the form of its records.
type Journal interface {
	// Read returns the value of a record, or ErrNotFound. The caller owns it.
	Read(ctx context.Context, book Book, key []byte) ([]byte, error)
	// Scan calls fn for the records of a range in order until fn returns false.
	// What fn is given is valid only during the call. fn must not call the
	// Journal.
	Scan(ctx context.Context, book Book, r Range, fn func(key, value []byte) bool) error
	// Commit makes the whole batch durable, or nothing of it. An Expect that
	// does not hold is ErrConflict.
	Commit(ctx context.Context, b Batch) error
}

// Book names a book. Its name appears in the engine's files.
type Book string

// The books.
const (
	Meta        Book = "meta"        // schema, epoch, node, marks
	Slots       Book = "slots"       // plugin/meter: dense numbers and segments
	Checkpoints Book = "checkpoints" // plugin/meter: totals by period and dense number
	Outbox      Book = "outbox"      // plugin/bill: usage to be sent
	Queue       Book = "queue"       // work to be done: Stripe events, deliveries
	Audit       Book = "audit"       // admin: who did what, by id
	Idempotency Book = "idempotency" // admin: answers that were given
	Sessions    Book = "sessions"    // admin: who is signed in
	Tokens      Book = "tokens"      // admin: admin tokens by hash
	Adjustments Book = "adjustments" // admin: corrections of usage, by customer and id
	LastUsed    Book = "last_used"   // plugin/gate: when a key was last used
	Tombstones  Book = "tombstones"  // revocations and erasures, replayed by a restore
)

// Range selects the records with From <= key < To; an empty To is the end.
type Range struct {
	From, To []byte
	Reverse  bool // last first
}

// Prefixed returns the range of all keys that begin with prefix.
func Prefixed(prefix []byte) Range {
	to := bytes.Clone(prefix)
	for i := len(to) - 1; i >= 0; i-- {
		if to[i]++; to[i] != 0 {
			return Range{From: prefix, To: to[:i+1]}
		}
	}
	return Range{From: prefix}
}

// A Record is put, deleted (a nil Value) or expected.
type Record struct {
	Book  Book
	Key   []byte
	Value []byte
}

// A Batch is committed atomically: first every Expect is compared (a nil Value
// expects no record), then every Put is made, in order.
type Batch struct {
	Expect []Record
	Put    []Record
}

// Empty reports whether b does nothing.
func (b Batch) Empty() bool { return len(b.Expect) == 0 && len(b.Put) == 0 }
