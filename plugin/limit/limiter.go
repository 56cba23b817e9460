// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// ID names a bucket for as long as its owner has such a rate. It does not hold
// the rate's count and burst: an edited rate goes on with the same bucket, and
// who had half of it left still has.
type ID struct {
	Owner string        `json:"owner"`
	Unit  string        `json:"unit"`
	Per   time.Duration `json:"per"`             // nanoseconds
	Route string        `json:"route,omitempty"` // of a route's own rate
	Nth   int           `json:"nth,omitempty"`   // tells rates apart that share all of the above
}

const shards = 64

// Limiter holds the buckets and the requests in flight of this node. Its
// methods may be called concurrently.
type Limiter struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu       sync.Mutex // guards all below
	buckets  map[ID]*Bucket
	inFlight map[string]*InFlight
}

// NewLimiter returns a limiter whose buckets are all full.
func NewLimiter() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].buckets = map[ID]*Bucket{}
		l.shards[i].inFlight = map[string]*InFlight{}
	}
	return l
}

// Hold returns the bucket of that id: the same one to all until each of them
// has called Drop.
func (l *Limiter) Hold(id ID) *Bucket {
	s := l.of(id.Owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[id]
	if b == nil {
		b = &Bucket{}
		s.buckets[id] = b
	}
	b.holders++
	return b
}

// Drop ends one Hold. The bucket is kept until it has rested.
func (l *Limiter) Drop(id ID) {
	s := l.of(id.Owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[id]; b != nil {
		b.holders--
	}
}

// HoldInFlight returns the owner's count of requests in flight: the same one to
// all until each of them has called DropInFlight.
func (l *Limiter) HoldInFlight(owner string) *InFlight {
	s := l.of(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.inFlight[owner]
	if f == nil {
		f = &InFlight{}
		s.inFlight[owner] = f
	}
	f.holders++
	return f
}

// DropInFlight ends one HoldInFlight; its requests have left.
func (l *Limiter) DropInFlight(owner string) {
	s := l.of(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.inFlight[owner]
	if f == nil {
		return
	}
	if f.holders--; f.holders == 0 && f.Count() == 0 {
		delete(s.inFlight, owner)
	}
}

// Peek returns when the bucket of that id is full again; 0 where there is none.
func (l *Limiter) Peek(id ID) int64 {
	s := l.of(id.Owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[id]; b != nil {
		return b.Full()
	}
	return 0
}

// PeekInFlight returns how many requests of the owner are in flight.
func (l *Limiter) PeekInFlight(owner string) int64 {
	s := l.of(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.inFlight[owner]; f != nil {
		return f.Count()
	}
	return 0
}

// Sweep forgets the buckets that nobody holds and that are full at now. It
// stops nobody for longer than it takes to look at one part in 64.
func (l *Limiter) Sweep(now int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, b := range s.buckets {
			if b.holders <= 0 && b.Full() <= now {
				delete(s.buckets, id)
			}
		}
		s.mu.Unlock()
	}
}

// A Debt is a bucket that is not full, and how long it takes to fill.
type Debt struct {
	ID
	Fills time.Duration `json:"fills"` // nanoseconds
}

// Debts returns the buckets that are not full at now, in no order.
func (l *Limiter) Debts(now int64) []Debt {
	var debts []Debt
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, b := range s.buckets {
			if owed := b.Full() - now; owed > 0 {
				debts = append(debts, Debt{ID: id, Fills: time.Duration(owed)})
			}
		}
		s.mu.Unlock()
	}
	return debts
}

// Restore puts debts back that were true rested ago: that time counts as rest.
// It is called before the limiter is used.
func (l *Limiter) Restore(debts []Debt, now int64, rested time.Duration) {
	for _, d := range debts {
		if owed := d.Fills - max(rested, 0); owed > 0 {
			l.Hold(d.ID).full.Store(now + int64(min(owed, maxDebt)))
			l.Drop(d.ID)
		}
	}
}

func (l *Limiter) of(owner string) *shard {
	return &l.shards[maphash.String(l.seed, owner)%shards]
}
