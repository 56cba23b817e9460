// SPDX-License-Identifier: Apache-2.0

package limit

import "sync/atomic"

// Bucket is the state of one rate of one owner: one atomic word. Its methods
// may be called concurrently and behave as if they ran one after the other.
type Bucket struct {
	full    atomic.Int64
	holders int      // guarded by its shard's mutex
	_       [48]byte // keeps the words of two owners in two cache lines
}

// Spend decides on cost units at now and keeps what was decided.
func (b *Bucket) Spend(rate Rate, now, cost int64) Decision {
	for {
		full := b.full.Load()
		d := Spend(rate, full, now, cost)
		if !d.Allowed || d.Full == full || b.full.CompareAndSwap(full, d.Full) {
			return d
		}
	}
}

// Undo gives an allowed spend of cost back, whose Decision.Full was after. now
// is the time of giving back, not that of the spend.
func (b *Bucket) Undo(rate Rate, now, cost, after int64) {
	for {
		full := b.full.Load()
		if b.full.CompareAndSwap(full, Undo(rate, full, now, cost, after)) {
			return
		}
	}
}

// Full returns when the bucket is full again.
func (b *Bucket) Full() int64 { return b.full.Load() }

// InFlight counts the requests of one owner that are being answered. Its methods
// may be called concurrently.
type InFlight struct {
	n       atomic.Int64
	holders int // guarded by its shard's mutex
	_       [48]byte
}

// Enter counts one more, unless there are limit already.
func (f *InFlight) Enter(limit int64) bool {
	if f.n.Add(1) > limit {
		f.n.Add(-1)
		return false
	}
	return true
}

// Leave counts one less.
func (f *InFlight) Leave() { f.n.Add(-1) }

// Count returns how many there are.
func (f *InFlight) Count() int64 { return max(f.n.Load(), 0) }
