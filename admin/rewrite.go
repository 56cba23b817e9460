// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/keytoll/keytoll/plugin/store"
)

// rewriteStep is how many records are looked at or changed at once.
const rewriteStep = 500

// rewrite replaces the records of a range for which to reports true, and returns how many. Steps are small so that nobody waits
// for long; a record that is changed meanwhile is looked at again.
func rewrite(ctx context.Context, journal store.Journal, book store.Book, r store.Range, to func(value []byte) ([]byte, bool)) (int, error) {
	total := 0
	for {
		var batch store.Batch
		looked, next := 0, []byte(nil)
		err := journal.Scan(ctx, book, r, func(key, value []byte) bool {
			if looked == rewriteStep {
				next = bytes.Clone(key)
				return false
			}
			looked++
			if changed, is := to(value); is {
				key = bytes.Clone(key)
				batch.Expect = append(batch.Expect, store.Record{Book: book, Key: key, Value: bytes.Clone(value)})
				batch.Put = append(batch.Put, store.Record{Book: book, Key: key, Value: changed})
			}
			return true
		})
		if err != nil {
			return total, fmt.Errorf("reading the book %s: %w", book, err)
		}
		if !batch.Empty() {
			if err := journal.Commit(ctx, batch); errors.Is(err, store.ErrConflict) {
				continue
			} else if err != nil {
				return total, fmt.Errorf("rewriting the book %s: %w", book, err)
			}
			total += len(batch.Put)
		}
		if next == nil {
			return total, nil
		}
		r.From = next
	}
}
