// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Unlimited as a bound admits everything.
const Unlimited = int64(1<<63 - 1)

// Counter counts units of one owner in the period that now is in.
type Counter struct {
	current atomic.Pointer[slot]
	m       *Meter
	id      ID

	mu       sync.Mutex // guards the rest
	known    bool       // numbers are those of the book
	numbers  []number
	slots    []*slot       // of numbers[i] at 2i and 2i+1, by parity of the period; nil: not in memory
	queued   bool          // the opener has it
	want     want          // what it is to be opened for
	failures int           // attempts to open it that failed
	failed   error         // of the last one
	changed  chan struct{} // closed when anything above or a ceiling changes; nil: nobody waits
}

// want is what a counter is to be opened for.
type want struct {
	ordinal  int64
	n, bound int64
	ahead    bool // of its period
}

// Counter returns the counter of id: always the same one while anybody holds
// it. It does no I/O.
func (m *Meter) Counter(id ID) *Counter {
	return m.counters.of(id, func() *Counter { return &Counter{m: m, id: id} })
}

// Reserve admits n units if the period's use stays within bound. quota is
// the limit without overage: what goes past it is counted in Reading.Over.
// full is true if the bound does not allow it. It allocates nothing and does
// not block, unless the counter has no slot or no lease yet: then it waits for
// one until ctx ends, at most a second, and returns ErrUnavailable.
func (c *Counter) Reserve(ctx context.Context, now time.Time, n, quota, bound int64) (h Hold, full bool, err error) {
	n = max(n, 0)
	if s := c.current.Load(); s != nil && now.Unix() < s.end {
		switch h, v := s.reserve(n, quota, bound); v {
		case reserved:
			return h, false, nil
		case tooMuch:
			return Hold{}, true, nil
		}
	}
	return c.reserveSlowly(ctx, now, n, quota, bound)
}

// Prepare has made ready what Reserve would wait for, a slot and its lease,
// and does not wait itself. Counters that are prepared one after the other
// become ready together; what goes wrong, Reserve tells.
func (c *Counter) Prepare(ctx context.Context, now time.Time, n, bound int64) {
	if s := c.current.Load(); s == nil || now.Unix() >= s.end {
		_, _ = c.slotAt(ctx, now, n, bound)
	}
}

// reserveSlowly waits for a slot of the period and for a lease.
func (c *Counter) reserveSlowly(ctx context.Context, now time.Time, n, quota, bound int64) (h Hold, full bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %v", patience))
	defer cancel()
	err = c.until(ctx, func() (bool, error) {
		s, err := c.slotAt(ctx, now, n, bound)
		if s == nil || err != nil {
			return false, err
		}
		var v verdict
		if h, v = s.reserve(n, quota, bound); v == unlent {
			s.ask(n, bound)
		}
		full = v == tooMuch
		return v == reserved || full, nil
	})
	return h, full, err
}

// until tries until try is done, fails, or ctx ends; again after each change
// of the counter. Its error is ErrUnavailable.
func (c *Counter) until(ctx context.Context, try func() (done bool, err error)) error {
	changed, failures, _ := c.watch()
	for {
		done, err := try()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
		failed := 0
		if changed, failed, err = c.watch(); failed != failures {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// watch returns a channel that is closed at the next change, and how many
// attempts to open the counter or to lend it more have failed, with the last error.
func (c *Counter) watch() (changed <-chan struct{}, failures int, failed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed, c.failures, c.failed
}

// tell wakes who watches; failed is nil where something was achieved. The
// caller holds c.mu.
func (c *Counter) tell(failed error) {
	if failed != nil {
		c.failures++
		c.failed = failed
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// slotAt returns the slot of the period that now is in. Where that takes more
// than a look into the book it returns nil, and the opener is on its way.
func (c *Counter) slotAt(ctx context.Context, now time.Time, n, bound int64) (*slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m.closed.Load() {
		return nil, errClosed
	}
	ordinal := c.id.Calendar.Ordinal(c.m.clock.trust(now))
	if s := c.current.Load(); s != nil && s.ordinal >= ordinal && !s.finished() {
		return s, nil
	}
	if !c.queued { // else the opener may be about to sync what stands there
		if err := c.look(ctx); err != nil {
			return nil, err
		}
		s, err := c.adopt(ctx, ordinal)
		if s != nil {
			s.remember(n, bound)
		}
		if s != nil || err != nil {
			return s, err
		}
	}
	c.queue(want{ordinal: ordinal, n: n, bound: bound})
	return nil, nil
}

// look learns the counter's numbers. The caller holds c.mu.
func (c *Counter) look(ctx context.Context) error {
	if c.known {
		return nil
	}
	numbers, err := c.m.book.numbers(ctx, c.id)
	if err != nil {
		return err
	}
	c.numbers = numbers
	c.known = true
	c.slots = append(c.slots, make([]*slot, 2*len(c.numbers)-len(c.slots))...)
	return nil
}

// queue hands the counter to the opener. The caller holds c.mu.
func (c *Counter) queue(w want) {
	if c.queued && c.want.ordinal > w.ordinal {
		return
	}
	c.want = w
	if !c.queued {
		c.queued = true
		c.m.opens.push(c)
	}
}

// adopt makes the slot of the period current that stands ready; nil where none
// does. A period never goes back: where a later one was entered, also by a
// former process, it is that one's. The caller holds c.mu.
func (c *Counter) adopt(ctx context.Context, ordinal int64) (*slot, error) {
	if c.current.Load() == nil {
		for _, n := range c.numbers {
			for parity := range int64(2) {
				w := c.m.files.of(n.n).slot(n.n, parity)
				if o := w.ordinal.Load(); w.tag.Load() == n.tag && o > ordinal && w.entered() {
					ordinal = o
				}
			}
		}
	}
	for i, n := range c.numbers {
		w := c.m.files.of(n.n).slot(n.n, ordinal)
		if w.tag.Load() != n.tag || w.ordinal.Load() != ordinal {
			continue
		}
		s, err := c.load(ctx, i, ordinal)
		if err != nil {
			return nil, err
		}
		c.enterPeriod(s)
		return s, nil
	}
	return nil, nil
}

// load returns the slot of c.numbers[i] whose words stand ready for the
// period, merged with its checkpoint. The caller holds c.mu.
func (c *Counter) load(ctx context.Context, i int, ordinal int64) (*slot, error) {
	at := 2*i + int(ordinal&1)
	if s := c.slots[at]; s != nil && s.ordinal == ordinal && !s.finished() {
		return s, nil
	}
	n := c.numbers[i]
	row, err := c.m.book.checkpoint(ctx, c.id.Calendar.Period(ordinal).Start, n.n)
	if err != nil {
		return nil, err
	}
	segment := c.m.files.of(n.n)
	s := &slot{
		words: segment.slot(n.n, ordinal), segment: segment, counter: c, number: n,
		ordinal: ordinal, end: c.id.Calendar.Period(ordinal).End.Unix(), kept: row.kept,
	}
	if s.words.raise(row.counts) {
		s.words.assumeSpent() // the slot's file is older than its checkpoint
	}
	s.publish()
	c.slots[at] = s
	return s, nil
}

// enterPeriod ends the current slot and makes s current. The caller holds c.mu.
func (c *Counter) enterPeriod(s *slot) {
	if old := c.current.Load(); old != nil && old != s {
		old.finish()
	}
	c.current.Store(s)
	c.tell(nil)
}

// end lets the counter admit nothing any more: the meter is being closed.
func (c *Counter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots {
		if s != nil {
			s.finish()
		}
	}
	c.current.Store(nil)
	c.tell(errClosed)
}

// Refuse counts one refused request in the current period, if the counter has a slot.
func (c *Counter) Refuse(now time.Time) {
	s := c.current.Load()
	if s == nil || now.Unix() >= s.end || !s.enter() {
		return
	}
	s.words.refused.Add(1)
	s.touch()
	s.leave()
}
