// SPDX-License-Identifier: Apache-2.0

package meter

import "sync/atomic"

// ended marks, in slot.holds, that the slot's period is over for its counter.
const ended = int64(1) << 62

// slot is a counter in one period. Whoever changes its words enters before and
// leaves after: a slot is given to another period only when it has ended and
// nobody is inside.
type slot struct {
	// holds counts who is inside: requests in flight, mostly.
	holds   atomic.Int64
	ceiling atomic.Int64 // units in use may reach this: granted, and synced
	renewAt atomic.Int64 // above this, more is lent in the background
	words   *words
	segment *segment
	counter *Counter
	number  number
	ordinal int64
	end     int64 // of the period, in Unix seconds

	changed atomic.Bool  // since the last checkpoint
	asked   atomic.Bool  // for a lease
	bound   atomic.Int64 // of who asked last
	need    atomic.Int64 // units that who asked last wants at once
	lease   int64        // the size of the next; the leaser's alone
	lent    int64        // when the last was given, in Unix nanoseconds; the leaser's alone

	// Guarded by Meter.rounds:
	retired bool // written for the last time
	doubt   bool // kept may be older than the checkpoint
	kept    kept // what only the checkpoint knows
}

type verdict byte

const (
	reserved verdict = iota
	tooMuch          // for the bound
	unlent           // more must be lent first
	tooLate          // the slot has ended
)

// enter reports whether the slot still belongs to its period; the caller
// leaves only if it does.
func (s *slot) enter() bool {
	if s.holds.Add(1)&ended != 0 {
		s.holds.Add(-1)
		return false
	}
	return true
}

func (s *slot) leave() { s.holds.Add(-1) }

// finish ends the slot and reports whether nobody is inside.
func (s *slot) finish() bool { return s.holds.Or(ended)&^ended == 0 }

func (s *slot) finished() bool { return s.holds.Load()&ended != 0 }

// reserve admits n units within bound and within what is lent. Concurrent
// calls behave as if they had run one after the other.
func (s *slot) reserve(n, quota, bound int64) (Hold, verdict) {
	if !s.enter() {
		return Hold{}, tooLate
	}
	w := s.words
	var used int64
	if bound == Unlimited {
		used = w.admitted.Add(n) - w.refunded.Load()
	} else {
		ceiling := s.ceiling.Load()
		for {
			before := w.admitted.Load()
			used = before - w.refunded.Load()
			if used > bound-n {
				s.leave()
				return Hold{}, tooMuch
			}
			if used > ceiling-n {
				s.leave()
				return Hold{}, unlent
			}
			used += n
			if w.admitted.CompareAndSwap(before, before+n) {
				break
			}
		}
		if used > s.renewAt.Load() && ceiling < bound && !s.asked.Load() {
			s.ask(n, bound)
		}
	}
	s.touch()
	return Hold{slot: s, units: n, quota: quota, over: past(used, quota, n)}, reserved
}

// past returns how many of the last n units in use are past quota.
func past(used, quota, n int64) int64 {
	if used <= quota {
		return 0
	}
	return min(used-quota, n)
}

// touch is called after the words were changed.
func (s *slot) touch() {
	s.segment.changed(s.words)
	if !s.changed.Load() && s.changed.CompareAndSwap(false, true) {
		s.counter.m.dirty.push(s)
	}
}

// ask asks the leaser for more, once.
func (s *slot) ask(n, bound int64) {
	s.bound.Store(bound)
	s.need.Store(n)
	if s.asked.CompareAndSwap(false, true) {
		s.counter.m.leases.push(s)
	}
}
