// SPDX-License-Identifier: Apache-2.0

// Package memstore keeps everything in memory: for tests, and for who tries
// things out. What it does is certified by storetest; it forgets all of it when
// the process ends.
package memstore

import (
	"maps"
	"sync"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// New returns an empty engine.
func New() *ordered.Engine {
	return ordered.New(&tree{buckets: make(map[string]*node)})
}

// tree holds each bucket as a balanced tree whose nodes never change once they
// are published: a transaction that only reads takes the roots and needs no
// lock from then on.
type tree struct {
	updating sync.Mutex     // held by the one transaction that writes
	viewing  sync.WaitGroup // transactions that read

	mu      sync.RWMutex     // guards what follows
	buckets map[string]*node // replaced, never changed
	closed  bool
}

// View implements ordered.Tree.
func (t *tree) View(fn func(ordered.Tx) error) error {
	t.mu.RLock()
	if t.closed {
		t.mu.RUnlock()
		return store.ErrClosed
	}
	buckets := t.buckets
	t.viewing.Add(1)
	t.mu.RUnlock()
	defer t.viewing.Done()
	return fn(view(buckets))
}

// Update implements ordered.Tree.
func (t *tree) Update(fn func(ordered.Tx) error) error {
	t.updating.Lock()
	defer t.updating.Unlock()
	t.mu.RLock()
	u := &update{base: t.buckets, open: make(map[string]*bucket), maker: new(maker)}
	closed := t.closed
	t.mu.RUnlock()
	if closed {
		return store.ErrClosed
	}
	if err := fn(u); err != nil {
		return err
	}
	next := u.publish()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buckets = next
	return nil
}

// Close implements ordered.Tree.
func (t *tree) Close() error {
	t.updating.Lock()
	defer t.updating.Unlock()
	t.mu.Lock()
	t.closed = true
	t.buckets = nil
	t.mu.Unlock()
	t.viewing.Wait()
	return nil
}

// view is a transaction that only reads.
type view map[string]*node

// Bucket implements ordered.Tx.
func (v view) Bucket(name string) ordered.Bucket { return &bucket{root: v[name]} }

// update is the transaction that writes.
type update struct {
	base  map[string]*node
	open  map[string]*bucket
	maker *maker
}

// Bucket implements ordered.Tx.
func (u *update) Bucket(name string) ordered.Bucket {
	b := u.open[name]
	if b == nil {
		b = &bucket{root: u.base[name], maker: u.maker}
		u.open[name] = b
	}
	return b
}

func (u *update) publish() map[string]*node {
	next := make(map[string]*node, len(u.base)+len(u.open))
	maps.Copy(next, u.base)
	for name, b := range u.open {
		next[name] = b.root
		b.maker = nil
	}
	return next
}
