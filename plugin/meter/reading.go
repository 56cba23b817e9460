// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"time"

	"github.com/keytoll/keytoll/plugin/usage"
)

// Reading is a counter's state in one period.
type Reading struct {
	Period   usage.Period
	Admitted int64
	Refunded int64
	Billed   int64
	Over     int64 // of Billed: units past the quota that was in force
	Refused  int64 // requests
}

// Used returns how many units are spent: admitted and not refunded.
func (r Reading) Used() int64 { return max(r.Admitted-r.Refunded, 0) }

func reading(p usage.Period, c counts) Reading {
	return Reading{
		Period: p, Admitted: c.admitted, Refunded: c.refunded,
		Billed: c.billed, Over: c.over, Refused: c.refused,
	}
}

// Read returns the counter's state in the period that now is in. It looks into
// the Journal where the counter is not in memory; a fault there reads as zero,
// see Peek.
func (c *Counter) Read(now time.Time) Reading {
	ordinal := c.id.Calendar.Ordinal(c.m.clock.trust(now))
	if s := c.current.Load(); s != nil && s.ordinal >= ordinal && s.enter() {
		defer s.leave()
		return reading(c.id.Calendar.Period(s.ordinal), s.words.counts())
	}
	r, err := c.m.Peek(context.Background(), c.id, ordinal)
	if err != nil {
		c.m.o.Logger.Error("reading a counter", "owner", c.id.Owner.ID, "unit", c.id.Unit, "error", err)
	}
	return r
}

// Peek reads a counter without making one: of this period, or of a former
// one from its checkpoint.
func (m *Meter) Peek(ctx context.Context, id ID, ordinal int64) (Reading, error) {
	period := id.Calendar.Period(ordinal)
	numbers, err := m.book.numbers(ctx, id)
	if err != nil {
		return Reading{Period: period}, err
	}
	for _, n := range numbers {
		if c, ok := m.peekSlot(n, ordinal); ok {
			return reading(period, c), nil
		}
	}
	for _, n := range numbers {
		row, err := m.book.checkpoint(ctx, period.Start, n.n)
		if err != nil {
			return Reading{Period: period}, err
		}
		if row.found {
			return reading(period, row.counts), nil
		}
	}
	return Reading{Period: period}, nil
}

// peekSlot reads a slot that may be given to another period meanwhile.
func (m *Meter) peekSlot(n number, ordinal int64) (counts, bool) {
	segment := m.files.of(n.n)
	if segment == nil {
		return counts{}, false
	}
	w := segment.slot(n.n, ordinal)
	is := func() bool { return w.tag.Load() == n.tag && w.ordinal.Load() == ordinal }
	if !is() {
		return counts{}, false
	}
	c := w.counts()
	return c, is()
}

var errClosed = errors.New("the meter is closed")
