// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

// entryOf makes an entry that only a cache looks at.
func entryOf(n int, customerID string, revision uint64) *entry {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	return &entry{
		hash:     apikey.Secret(b[:]).Hash(),
		key:      apikey.Key{Revision: revision},
		customer: customer.Customer{ID: customerID},
	}
}

func put(c *cache, e *entry) { c.put(e, c.mark(&e.hash)) }

func changeOf(e *entry) store.Change {
	return store.Change{Keys: []store.KeyChange{{Hashes: []apikey.Hash{e.hash}}}}
}

func TestTheCacheFindsWhatWasPut(t *testing.T) {
	c := newCache(8000)
	var all []*entry
	for i := range 4000 {
		all = append(all, entryOf(i, "cust", 1))
		put(c, all[i])
	}
	found := 0
	for _, e := range all {
		switch got := c.find(&e.hash); got {
		case e:
			found++
		case nil: // its set was full
		default:
			t.Fatal("found the entry of another hash")
		}
	}
	if found < 3800 {
		t.Errorf("found %d of 4000 in a cache for 8000", found)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c := newCache(800)
	for i := range 20_000 {
		put(c, entryOf(i, "cust", 1))
	}
	held := 0
	for i := range c.sets {
		for j := range c.sets[i].entries {
			if c.sets[i].entries[j].Load() != nil {
				held++
			}
		}
	}
	if held > 800 {
		t.Errorf("holds %d, at most 800 may be", held)
	}
	if got := len(c.byCustomer["cust"]); got != held {
		t.Errorf("knows %d entries of the customer, holds %d", got, held)
	}
}

func TestAnEntryInUseIsNotTheFirstToGo(t *testing.T) {
	c := newCache(ways)
	hot := entryOf(0, "cust", 1)
	put(c, hot)
	for i := 1; i < 500; i++ {
		c.find(&hot.hash)
		put(c, entryOf(i, "cust", 1))
	}
	if c.find(&hot.hash) == nil {
		t.Error("the entry that was found all the time is gone")
	}
}

func TestAWriteDropsKeysAndTheKeysOfCustomers(t *testing.T) {
	c := newCache(800)
	one, two, other := entryOf(1, "a", 1), entryOf(2, "a", 1), entryOf(3, "b", 1)
	put(c, one)
	put(c, two)
	put(c, other)
	c.changed(changeOf(one))
	if c.find(&one.hash) != nil || !one.dropped.Load() || c.find(&two.hash) == nil {
		t.Error("a write about a key is to drop that key")
	}
	c.changed(store.Change{Customers: []string{"a"}})
	if c.find(&two.hash) != nil || c.find(&other.hash) == nil {
		t.Error("a write about a customer is to drop that customer's keys")
	}
	if len(c.byCustomer["a"]) != 0 {
		t.Error("dropped entries are remembered")
	}
}

func TestAnEntryReadBeforeAWriteIsNotPutInAfterIt(t *testing.T) {
	for what, change := range map[string]func(*entry) store.Change{
		"key":      changeOf,
		"customer": func(e *entry) store.Change { return store.Change{Customers: []string{e.customer.ID}} },
	} {
		c, e := newCache(800), entryOf(1, "a", 1)
		mark := c.mark(&e.hash)
		c.changed(change(e))
		if c.put(e, mark); c.find(&e.hash) != nil || !e.dropped.Load() {
			t.Errorf("after a write about its %s a stale entry was put in", what)
		}
		put(c, e)
		c.changed(change(e))
		next := entryOf(1, "a", 1)
		if c.replace(e, next); c.find(&e.hash) != nil || !next.dropped.Load() {
			t.Errorf("after a write about its %s a stale entry was replaced by another", what)
		}
	}
}

// Readers load what a writer has written, as gate.load does; no reader that
// begins after a write was told may see what was before it.
func TestNoReaderSeesWhatWasBeforeAWrite(t *testing.T) {
	c := newCache(64)
	hash := entryOf(7, "a", 0).hash
	var written, told atomic.Uint64 // the directory; what Write has returned
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for told.Load() < 2000 {
				least := told.Load()
				e := c.find(&hash)
				if e == nil {
					mark := c.mark(&hash)
					e = entryOf(7, "a", written.Load())
					c.put(e, mark)
				}
				if e.key.Revision < least {
					t.Errorf("saw revision %d after %d was told", e.key.Revision, least)
					return
				}
			}
		})
	}
	for revision := uint64(1); revision <= 2000; revision++ {
		written.Store(revision)
		if revision%2 == 0 {
			c.changed(store.Change{Customers: []string{"a"}})
		} else {
			c.changed(store.Change{Keys: []store.KeyChange{{Hashes: []apikey.Hash{hash}}}})
		}
		told.Store(revision)
	}
	group.Wait()
}
