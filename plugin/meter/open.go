// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/plugin/store"
)

// opening is the opener's work on one counter.
type opening struct {
	c      *Counter
	want   want
	number number
	fresh  bool // the number is given in this batch
	words  *words
}

// openSlots gives counters the slots they want: many by one transaction and
// one sync.
func (m *Meter) openSlots() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.opens.ready:
		}
		counters := m.opens.take()
		for len(counters) > 0 {
			part := counters[:min(len(counters), checkpointRows/2)]
			m.openPart(context.Background(), part)
			counters = counters[len(part):]
		}
	}
}

func (m *Meter) openPart(ctx context.Context, counters []*Counter) {
	work, err := m.choose(ctx, counters)
	if err == nil {
		err = m.begin(work)
	}
	if err != nil {
		m.grumble("opening counters", err)
	}
	for i := range work {
		work[i].finish(ctx, err)
	}
	for _, c := range counters { // those for which there was nothing to do, too
		c.mu.Lock()
		c.queued = false
		c.tell(err)
		c.mu.Unlock()
	}
}

// choose finds a place for each counter and commits the new numbers together
// with the last checkpoints of periods that had a place before.
func (m *Meter) choose(ctx context.Context, counters []*Counter) ([]opening, error) {
	m.rounds.Lock()
	defer m.rounds.Unlock()
	var batch store.Batch
	var work []opening
	if err := m.book.turn(ctx); err != nil {
		return nil, err
	}
	last := m.book.last.Load()
	for _, c := range counters {
		o, records, err := c.place(ctx, last)
		if err != nil {
			return nil, err
		}
		if o.c == nil {
			continue
		}
		if o.fresh {
			last = o.number.n
		}
		batch.Put = append(batch.Put, records...)
		work = append(work, o)
	}
	named := 0
	if last > m.book.last.Load() {
		records, err := m.files.reach(last)
		if err != nil {
			return nil, err
		}
		named = len(records)
		batch.Put = append(append(batch.Put, records...), m.book.lastRecord(last))
		batch.Expect = append(batch.Expect, m.book.lastRecord(m.book.last.Load()))
	}
	if batch.Empty() {
		return work, nil
	}
	if err := m.o.Journal.Commit(ctx, batch); err != nil {
		m.book.doubt.Store(true)
		return work, fmt.Errorf("writing the book of slots: %w", err)
	}
	m.files.named(named)
	m.book.last.Store(last)
	return work, nil
}

// place finds a slot for what the counter wants: an own one in which nobody is
// any more, or that of a new number. The zero opening: nothing is to be done.
// The caller holds Meter.rounds.
func (c *Counter) place(ctx context.Context, last int64) (opening, []store.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.look(ctx); err != nil {
		return opening{}, nil, err
	}
	w := c.want
	if s := c.current.Load(); c.stands(w.ordinal) || s != nil && s.ordinal >= w.ordinal && !s.finished() {
		return opening{}, nil, nil
	}
	numbers, err := c.preferred(ctx, w.ordinal)
	if err != nil {
		return opening{}, nil, err
	}
	for _, i := range numbers {
		n := c.numbers[i]
		before := c.slots[2*i+int(w.ordinal&1)]
		if before != nil && !before.finish() {
			continue
		}
		o := opening{c: c, want: w, number: n, words: c.m.files.of(n.n).slot(n.n, w.ordinal)}
		record, err := o.lastRow(ctx)
		if before != nil {
			before.retired = true
		}
		return o, record, err
	}
	given, records := c.m.book.give(c.id, last, c.numbers)
	return opening{c: c, want: w, number: given, fresh: true}, records, nil
}

// preferred returns the order in which the counter's numbers are tried for a
// period: one that has counted in it comes first. The caller holds c.mu.
func (c *Counter) preferred(ctx context.Context, ordinal int64) (order []int, err error) {
	start := c.id.Calendar.Period(ordinal).Start
	for i, n := range c.numbers {
		order = append(order, i)
		if len(c.numbers) == 1 {
			break
		}
		row, err := c.m.book.checkpoint(ctx, start, n.n)
		if err != nil {
			return nil, err
		}
		if row.found {
			order[0], order[i] = i, order[0]
		}
	}
	return order, nil
}

// lastRow returns the last checkpoint of the period that had the place before,
// where it is not yet written.
func (o *opening) lastRow(ctx context.Context) ([]store.Record, error) {
	if o.words.tag.Load() != o.number.tag {
		return nil, nil
	}
	start := o.c.id.Calendar.Period(o.words.ordinal.Load()).Start
	written, err := o.c.m.book.checkpoint(ctx, start, o.number.n)
	if err != nil {
		return nil, err
	}
	if written.counts == o.words.counts() || !written.found && !o.words.entered() {
		return nil, nil
	}
	last := row{counts: o.words.counts(), kept: written.kept}
	last.ordinal = o.words.ordinal.Load()
	return []store.Record{o.c.m.book.rowRecord(start, o.number.n, last)}, nil
}

// begin empties the places that were used before, then makes them the new
// periods', with a first lease where one is wanted; a sync lies between, and
// another one before anything is lent.
func (m *Meter) begin(work []opening) error {
	now := m.o.Now().UnixNano()
	used, lent := make(map[*segment]bool), make(map[*segment]bool)
	for i := range work {
		o := &work[i]
		segment := m.files.of(o.number.n)
		if o.words = segment.slot(o.number.n, o.want.ordinal); o.words.tag.Load() != 0 {
			o.words.empty()
			segment.changed(o.words)
			used[segment] = true
		}
	}
	if err := syncAll(used); err != nil {
		return err
	}
	for i := range work {
		o := &work[i]
		segment := m.files.of(o.number.n)
		if o.want.bound != Unlimited && segment.lasts() {
			(&slot{words: o.words}).grant(o.want.n, o.want.bound, now)
			lent[segment] = true
		}
		o.words.ordinal.Store(o.want.ordinal)
		o.words.tag.Store(o.number.tag)
		segment.changed(o.words)
	}
	if err := syncAll(lent); err != nil {
		for _, o := range work {
			o.words.empty() // nobody has seen it
			m.files.of(o.number.n).changed(o.words)
		}
		return err
	}
	return nil
}

func syncAll(segments map[*segment]bool) error {
	for s := range segments {
		if err := s.sync(); err != nil {
			return err
		}
	}
	return nil
}

// finish makes the slot the counter's, unless it was opened ahead of its period.
func (o *opening) finish(ctx context.Context, failed error) {
	c := o.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if failed != nil {
		c.known = c.known && !o.fresh // the book may have the number nevertheless
		return
	}
	i := len(c.numbers)
	for j, n := range c.numbers {
		if n == o.number {
			i = j
		}
	}
	if i == len(c.numbers) {
		c.numbers = append(c.numbers, o.number)
		c.slots = append(c.slots, nil, nil)
	}
	if o.want.ahead || c.m.closed.Load() {
		return
	}
	s, err := c.load(ctx, i, o.want.ordinal)
	if err != nil {
		c.tell(err)
		return
	}
	s.remember(o.want.n, o.want.bound)
	c.enterPeriod(s)
}
