// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

const (
	// cacheSize is how many entries a cache holds at most. With its counters and
	// buckets a key takes some 8 kB, and the garbage collector as much again: all
	// of them stay below 250 MB. A key that is not there costs a look-up of some
	// 30 µs.
	cacheSize = 10_000
	ways      = 8
	// cacheParts is how many locks share the sets among them.
	cacheParts = 256
)

// cache finds the entry of a hash without a lock: each hash has one set of
// eight places. Writers take the lock of a part of the sets.
//
// An entry that was read before a write is never put in after it: who loads one
// takes the part's mark first, and put refuses an entry whose mark is old. Every
// change that could concern an entry of a part moves its mark before it drops.
type cache struct {
	sets  []set
	parts [cacheParts]part

	mu         sync.Mutex // guards byCustomer; taken after a part's
	byCustomer map[string][]*entry
}

// set is eight places; a tag is a part of the hash, to look at few entries.
type set struct {
	tags    [ways]atomic.Uint32
	entries [ways]atomic.Pointer[entry]
}

type part struct {
	mu   sync.Mutex // for writing the sets of this part
	mark uint64     // guarded by mu
	hand int        // guarded by mu: the next place to be given up
	_    [32]byte
}

func newCache(size int) *cache {
	return &cache{sets: make([]set, max(size/ways, 1)), byCustomer: map[string][]*entry{}}
}

// place returns the set of a hash, its lock and its tag.
func (c *cache) place(h *apikey.Hash) (*set, *part, uint32) {
	bits := binary.LittleEndian.Uint32(h[:4])
	i := uint64(bits) * uint64(len(c.sets)) >> 32
	return &c.sets[i], &c.parts[i%cacheParts], binary.LittleEndian.Uint32(h[4:8]) | 1
}

// find returns the entry of a hash, or nil. It allocates nothing and waits for nobody.
func (c *cache) find(h *apikey.Hash) *entry {
	s, _, tag := c.place(h)
	for i := range s.tags {
		if s.tags[i].Load() == tag {
			if e := s.entries[i].Load(); e != nil && e.hash.Equal(*h) {
				if !e.recent.Load() {
					e.recent.Store(true)
				}
				return e
			}
		}
	}
	return nil
}

// mark is taken before an entry is read from the Directory.
func (c *cache) mark(h *apikey.Hash) uint64 {
	_, p, _ := c.place(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mark
}

// put puts e in, unless something was written since its mark was taken: then e
// counts as dropped.
func (c *cache) put(e *entry, mark uint64) {
	s, p, tag := c.place(&e.hash)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mark != mark {
		e.dropped.Store(true)
		return
	}
	i := s.index(&e.hash)
	if i < 0 {
		i = s.free(&p.hand)
	}
	c.set(s, i, tag, e)
}

// replace puts next in the place of old, unless old is no longer there: then
// next counts as dropped.
func (c *cache) replace(old, next *entry) {
	s, p, tag := c.place(&old.hash)
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := s.index(&old.hash); i >= 0 && s.entries[i].Load() == old {
		c.set(s, i, tag, next)
	} else {
		next.dropped.Store(true)
	}
}

// index returns where the entry of a hash is, or -1.
func (s *set) index(h *apikey.Hash) int {
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.hash == *h {
			return i
		}
	}
	return -1
}

// free returns a place: an empty one, or that of an entry not found lately.
func (s *set) free(hand *int) int {
	for i := range s.entries {
		if s.entries[i].Load() == nil {
			return i
		}
	}
	for {
		i := *hand % ways
		*hand = i + 1
		if !s.entries[i].Load().recent.Swap(false) {
			return i
		}
	}
}

// set exchanges the entry at i for e, which may be nil. The part is locked.
func (c *cache) set(s *set, i int, tag uint32, e *entry) {
	old := s.entries[i].Swap(e)
	s.tags[i].Store(tag)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old != nil {
		old.dropped.Store(true)
		id := old.customer.ID
		rest := slices.DeleteFunc(c.byCustomer[id], func(other *entry) bool { return other == old })
		if c.byCustomer[id] = rest; len(rest) == 0 {
			delete(c.byCustomer, id)
		}
	}
	if e != nil {
		c.byCustomer[e.customer.ID] = append(c.byCustomer[e.customer.ID], e)
	}
}

// changed drops what a write has touched. Before it returns no stale entry can
// be found, and none can be put in later.
func (c *cache) changed(change store.Change) {
	for _, k := range change.Keys {
		for i := range k.Hashes {
			c.drop(&k.Hashes[i])
		}
	}
	if len(change.Customers) == 0 {
		return
	}
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		p.mark++
		p.mu.Unlock()
	}
	for _, id := range change.Customers {
		c.mu.Lock()
		entries := slices.Clone(c.byCustomer[id])
		c.mu.Unlock()
		for _, e := range entries {
			c.drop(&e.hash)
		}
	}
}

// drop removes the entry of a hash and moves the mark of its part.
func (c *cache) drop(h *apikey.Hash) {
	s, p, _ := c.place(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark++
	if i := s.index(h); i >= 0 {
		c.set(s, i, 0, nil)
	}
}
