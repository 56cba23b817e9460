// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// pruneStep is how many records one transaction of Prune deletes at most.
const pruneStep = 500

// Prune deletes the records of a range that are old, in small steps, and
// returns how many. It may be broken off and run again at any time. A record
// that is written meanwhile is judged by what it was when it was read; one
// under the same key that was changed since stays.
func Prune(ctx context.Context, j Journal, book Book, r Range, old func(key, value []byte) bool) (pruned int, err error) {
	r.Reverse = false
	for {
		var b Batch
		read := 0
		var last []byte
		err := j.Scan(ctx, book, r, func(key, value []byte) bool {
			read++
			last = append(last[:0], key...)
			if old(key, value) {
				key = bytes.Clone(key)
				b.Expect = append(b.Expect, Record{Book: book, Key: key, Value: append([]byte{}, value...)})
				b.Put = append(b.Put, Record{Book: book, Key: key})
			}
			return len(b.Put) < pruneStep && read < 20*pruneStep
		})
		if err != nil {
			return pruned, err
		}
		n, err := deleteUnchanged(ctx, j, b)
		if pruned += n; err != nil || len(b.Put) < pruneStep && read < 20*pruneStep {
			return pruned, err
		}
		r.From = append(bytes.Clone(last), 0)
	}
}

// deleteUnchanged commits b at once or, where a record was changed meanwhile,
// record by record.
func deleteUnchanged(ctx context.Context, j Journal, b Batch) (n int, err error) {
	if b.Empty() {
		return 0, nil
	}
	err = j.Commit(ctx, b)
	if err == nil {
		return len(b.Put), nil
	}
	if !errors.Is(err, ErrConflict) {
		return 0, err
	}
	for i := range b.Put {
		switch err := j.Commit(ctx, Batch{Expect: b.Expect[i : i+1], Put: b.Put[i : i+1]}); {
		case err == nil:
			n++
		case !errors.Is(err, ErrConflict):
			return n, err
		}
	}
	return n, nil
}

// Cutoffs say what is too old to be kept. A zero time keeps everything.
type Cutoffs struct {
	Hours, Days time.Time // of usage
	// Loans that ended before are forgotten, by engines that keep them.
	Loans time.Time
	// Books lists the books to be pruned; each function reports whether a
	// record is old. Who writes a book knows.
	Books map[Book]func(key, value []byte) bool
}

// Pruned says how many records were deleted.
type Pruned struct {
	Usage, Loans int
	Books        map[Book]int
}

// Retain deletes what is too old, in small steps, so that no other write waits
// for long. What it did before an error stays done, and is returned.
func Retain(ctx context.Context, e Engine, c Cutoffs) (p Pruned, err error) {
	p.Books = make(map[Book]int)
	if p.Usage, err = e.PruneUsage(ctx, c.Hours, c.Days); err != nil {
		return p, err
	}
	if l, ok := e.(interface {
		PruneLoans(ctx context.Context, before time.Time) (int, error)
	}); ok {
		if p.Loans, err = l.PruneLoans(ctx, c.Loans); err != nil {
			return p, err
		}
	}
	for book, old := range c.Books {
		if p.Books[book], err = Prune(ctx, e, book, Range{}, old); err != nil {
			return p, err
		}
	}
	return p, nil
}
