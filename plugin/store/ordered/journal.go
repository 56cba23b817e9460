// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"fmt"

	"github.com/keytoll/keytoll/plugin/store"
)

// Read implements store.Journal.
func (e *Engine) Read(ctx context.Context, book store.Book, key []byte) (value []byte, err error) {
	err = e.view(ctx, func(tx Tx) error {
		v := page(tx, book).Get(key)
		if v == nil {
			return store.ErrNotFound
		}
		value = append([]byte{}, v...)
		return nil
	})
	return value, err
}

func page(tx Tx, book store.Book) Bucket { return tx.Bucket(bookPrefix + string(book)) }

// Scan implements store.Journal.
func (e *Engine) Scan(ctx context.Context, book store.Book, r store.Range, fn func(key, value []byte) bool) error {
	return e.view(ctx, func(tx Tx) error {
		c := page(tx, book).Cursor()
		n := 0
		for k, v := first(c, r); k != nil && within(k, r); k, v = following(c, r) {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if !fn(k, v) {
				return nil
			}
		}
		return nil
	})
}

func first(c Cursor, r store.Range) (key, value []byte) {
	if !r.Reverse {
		return c.Seek(r.From)
	}
	if len(r.To) == 0 {
		return c.Last()
	}
	if k, _ := c.Seek(r.To); k == nil {
		return c.Last()
	}
	return c.Prev()
}

func following(c Cursor, r store.Range) (key, value []byte) {
	if r.Reverse {
		return c.Prev()
	}
	return c.Next()
}

func within(k []byte, r store.Range) bool {
	return bytes.Compare(k, r.From) >= 0 && (len(r.To) == 0 || bytes.Compare(k, r.To) < 0)
}

// Commit implements store.Journal.
func (e *Engine) Commit(ctx context.Context, b store.Batch) error {
	if err := checkBatch(b); err != nil || b.Empty() {
		return err
	}
	return e.update(ctx, func(tx Tx) error { return commit(tx, b) })
}

// MaxRecordKey is how long, in bytes, the key of a journal record may be.
const MaxRecordKey = 16 << 10

// checkBatch finds what no tree could hold, before anything is written.
func checkBatch(b store.Batch) error {
	for _, records := range [][]store.Record{b.Expect, b.Put} {
		for _, r := range records {
			if r.Book == "" || len(r.Key) == 0 || len(r.Key) > MaxRecordKey {
				return fmt.Errorf("record of book %q has a key of %d bytes: 1 to %d are allowed", r.Book, len(r.Key), MaxRecordKey)
			}
		}
	}
	return nil
}

func commit(tx Tx, b store.Batch) error {
	for _, r := range b.Expect {
		have := page(tx, r.Book).Get(r.Key)
		if (have == nil) != (r.Value == nil) || !bytes.Equal(have, r.Value) {
			return store.ErrConflict
		}
	}
	for _, r := range b.Put {
		var err error
		if r.Value == nil {
			err = page(tx, r.Book).Delete(r.Key)
		} else {
			err = page(tx, r.Book).Put(r.Key, r.Value)
		}
		if err != nil {
			return fmt.Errorf("writing book %s: %w", r.Book, err)
		}
	}
	return nil
}
