// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"hash/maphash"
	"sync"
	"weak"
)

// registry finds the one value of a key while anybody holds it; it does not
// keep values alive itself. The zero registry is empty.
type registry[K comparable, V any] struct {
	seed   maphash.Seed
	once   sync.Once
	shards [64]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu     sync.Mutex // guards the rest
	values map[K]weak.Pointer[V]
	sweep  int // the size at which dead entries are looked for
}

// of returns the value of key, made by fresh where there is none.
func (r *registry[K, V]) of(key K, fresh func() *V) *V {
	r.once.Do(func() { r.seed = maphash.MakeSeed() })
	s := &r.shards[maphash.Comparable(r.seed, key)%uint64(len(r.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.values[key].Value(); v != nil {
		return v
	}
	if s.values == nil {
		s.values, s.sweep = make(map[K]weak.Pointer[V]), 64
	}
	if len(s.values) >= s.sweep {
		for k, p := range s.values {
			if p.Value() == nil {
				delete(s.values, k)
			}
		}
		s.sweep = max(64, 2*len(s.values))
	}
	v := fresh()
	s.values[key] = weak.Make(v)
	return v
}

// each calls fn for every value that somebody holds.
func (r *registry[K, V]) each(fn func(*V)) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		live := make([]*V, 0, len(s.values))
		for _, p := range s.values {
			if v := p.Value(); v != nil {
				live = append(live, v)
			}
		}
		s.mu.Unlock()
		for _, v := range live {
			fn(v)
		}
	}
}
