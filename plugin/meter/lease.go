// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

const (
	ahead      = time.Hour // before a period ends, the next one's slots are opened
	leaseUnits = 64        // requests that a first lease is good for, where the bound allows it
	leaseShare = 16        // no lease is above this part of the bound, unless one request needs it
)

// renewLeases lends more to who asks, many slots by one sync.
func (m *Meter) renewLeases() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.leases.ready:
		}
		m.lend(m.leases.take())
	}
}

// lend writes what is granted, syncs it, and only then raises the ceilings.
func (m *Meter) lend(slots []*slot) {
	now := m.o.Now().UnixNano()
	segments := make(map[*segment]error)
	slots = slices.DeleteFunc(slots, func(s *slot) bool {
		s.asked.Store(false)
		if !s.enter() {
			return true
		}
		s.grant(s.need.Load(), s.bound.Load(), now)
		s.touch()
		segments[s.segment] = nil
		return false
	})
	for segment := range segments {
		segments[segment] = segment.sync()
	}
	for _, s := range slots {
		err := segments[s.segment]
		if err == nil {
			s.publish()
		} else if m.files.settled(); s.ceiling.Load() > s.words.used() {
			err = nil // what was lent before is still good
		}
		s.leave()
		s.counter.mu.Lock()
		s.counter.tell(err)
		s.counter.mu.Unlock()
	}
}

// grant writes the next lease: enough for the n units that somebody wants and
// for as many more as the slot's pace suggests, within bound.
func (s *slot) grant(n, bound, now int64) {
	if bound == Unlimited {
		return
	}
	most := max(2*n, bound/leaseShare)
	switch since := time.Duration(now - s.lent); {
	case s.lease == 0:
		s.lease = leaseUnits * max(n, 1)
	case since < time.Second:
		s.lease *= 2
	case since > 30*time.Second:
		s.lease /= 2
	}
	s.lease = min(max(s.lease, 2*n, 1), most)
	s.lent = now
	used := s.words.used()
	raiseWord(&s.words.granted, min(max(used, 0)+max(s.lease, n), bound))
}

// freeze makes whoever needs a lease wait, as long as counters of the segment
// are moved, and returns what ends that.
func (m *Meter) freeze(segment *segment) (thaw func()) {
	frozen := make(map[*slot]int64)
	m.counters.each(func(c *Counter) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.slots {
			if s != nil && s.segment == segment {
				frozen[s] = s.ceiling.Swap(0)
			}
		}
	})
	return func() {
		for s, ceiling := range frozen {
			s.ceiling.CompareAndSwap(0, ceiling)
		}
	}
}

// publish lets admission use what is granted. It has been synced.
func (s *slot) publish() {
	granted := Unlimited
	if s.segment.lasts() {
		granted = s.words.granted.Load()
	}
	s.renewAt.Store(granted - s.lease/4)
	s.ceiling.Store(granted)
}

// lendMore asks for a lease where usage above what was reserved has eaten it.
func (s *slot) lendMore(used int64) {
	if bound := s.bound.Load(); bound > 0 && used > s.renewAt.Load() && used < bound && !s.asked.Load() {
		s.ask(s.need.Load(), bound)
	}
}

// remember keeps what the next period's first lease is to be for.
func (s *slot) remember(n, bound int64) {
	if bound != Unlimited && s.bound.Load() == 0 {
		s.bound.Store(bound)
		s.need.Store(n)
	}
}

// lookAhead opens the slot of the next period where this one is about to end:
// who has been active in its last hour is not to wait at the turn.
func (c *Counter) lookAhead(now time.Time, s *slot) {
	lead := ahead
	if c.id.Calendar.Span == plan.Hour {
		lead /= 2
	}
	if c.m.closed.Load() || c.current.Load() != s || now.Unix() < s.end-int64(lead/time.Second) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued || c.stands(s.ordinal+1) {
		return
	}
	bound := s.bound.Load()
	if bound == 0 {
		bound = Unlimited
	}
	c.queue(want{ordinal: s.ordinal + 1, n: s.need.Load(), bound: bound, ahead: true})
}

// stands reports whether a slot stands ready for the period. The caller holds c.mu.
func (c *Counter) stands(ordinal int64) bool {
	return slices.ContainsFunc(c.numbers, func(n number) bool {
		w := c.m.files.of(n.n).slot(n.n, ordinal)
		return w.tag.Load() == n.tag && w.ordinal.Load() == ordinal
	})
}
