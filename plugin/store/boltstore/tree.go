// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// tree is a bbolt file as an ordered.Tree.
type tree struct {
	db     *bolt.DB
	path   string
	logger *slog.Logger
	broken atomic.Pointer[error] // why nothing may be written any more
}

// View implements ordered.Tree.
func (t *tree) View(fn func(ordered.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer t.recover(&err)
	return t.explain(t.db.View(func(tx *bolt.Tx) error { return fn(view{tx}) }))
}

// Update implements ordered.Tree.
func (t *tree) Update(fn func(ordered.Tx) error) (err error) {
	if why := t.broken.Load(); why != nil {
		return *why
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	finished := false
	defer func() {
		if !finished { // a panic: bbolt may still hold its lock
			why := fmt.Errorf("writing %s: it is damaged and takes no more writes; stop, check it and restore a backup", t.path)
			t.broken.Store(&why)
		}
	}()
	defer t.recover(&err)
	err = t.explain(t.db.Update(func(tx *bolt.Tx) error { return fn(update{tx}) }))
	finished = true
	return err
}

// recover turns the panics of a damaged file into errors: bbolt panics at pages
// it does not understand, and reading past the end of a file is a fault.
func (t *tree) recover(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if t.logger != nil {
		t.logger.Error("reading the store panicked", slog.String("file", t.path), slog.Any("panic", p),
			slog.String("stack", string(debug.Stack())))
	}
	*err = fmt.Errorf("%s is damaged (%v): check it, and restore a backup", t.path, p)
}

// explain gives bbolt's errors the names of this package's.
func (t *tree) explain(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// Close implements ordered.Tree.
func (t *tree) Close() error {
	if t.broken.Load() != nil {
		return nil // bbolt's lock is lost: the process must end to let go
	}
	return t.db.Close()
}

// view is a transaction that only reads.
type view struct{ tx *bolt.Tx }

// Bucket implements ordered.Tx.
func (v view) Bucket(name string) ordered.Bucket {
	if b := v.tx.Bucket([]byte(name)); b != nil {
		return bucket{b}
	}
	return absent{}
}

// update is a transaction that writes.
type update struct{ tx *bolt.Tx }

// Bucket implements ordered.Tx.
func (u update) Bucket(name string) ordered.Bucket {
	b, err := u.tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return absent{err}
	}
	if name == "keys" || name == "customers" {
		b.FillPercent = 0.9 // ids grow: pages are filled once
	}
	return bucket{b}
}

type bucket struct{ *bolt.Bucket }

// Cursor implements ordered.Bucket.
func (b bucket) Cursor() ordered.Cursor { return b.Bucket.Cursor() }

// absent is a bucket that does not exist.
type absent struct{ err error }

// Get implements ordered.Bucket.
func (absent) Get([]byte) []byte { return nil }

// Put implements ordered.Bucket.
func (a absent) Put(_, _ []byte) error { return errors.Join(a.err, berrors.ErrTxNotWritable) }

// Delete implements ordered.Bucket.
func (a absent) Delete([]byte) error { return errors.Join(a.err, berrors.ErrTxNotWritable) }

// Cursor implements ordered.Bucket.
func (absent) Cursor() ordered.Cursor { return nowhere{} }

type nowhere struct{}

// Last implements ordered.Cursor.
func (nowhere) Last() (key, value []byte) { return nil, nil }

// Seek implements ordered.Cursor.
func (nowhere) Seek([]byte) (key, value []byte) { return nil, nil }

// Next implements ordered.Cursor.
func (nowhere) Next() (key, value []byte) { return nil, nil }

// Prev implements ordered.Cursor.
func (nowhere) Prev() (key, value []byte) { return nil, nil }
