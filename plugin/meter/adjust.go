// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// An Adjustment corrects a counter's use in the current period.
type Adjustment struct {
	ID    ID
	Units int64 // may be negative: what is used does not fall below zero
}

// Adjust corrects the period's use by n, which may be negative. It is durable
// when it returns; on an error nothing was changed.
func (c *Counter) Adjust(ctx context.Context, now time.Time, n int64) error {
	return c.m.AdjustAll(ctx, now, []Adjustment{{ID: c.id, Units: n}})
}

// AdjustAll makes many adjustments in a few transactions. On an error those of
// the transactions before stand.
func (m *Meter) AdjustAll(ctx context.Context, now time.Time, all []Adjustment) error {
	for len(all) > 0 {
		part := all[:min(len(all), checkpointRows)]
		if err := m.adjustPart(ctx, now, part); err != nil {
			return fmt.Errorf("adjusting counters: %w", err)
		}
		all = all[len(part):]
	}
	return nil
}

// adjusted is one adjustment on its way.
type adjusted struct {
	slot  *slot
	units int64
}

func (m *Meter) adjustPart(ctx context.Context, now time.Time, part []Adjustment) error {
	counters := make([]*Counter, len(part))
	for i, a := range part { // all are queued before the first is waited for
		counters[i] = m.Counter(a.ID)
		if _, err := counters[i].slotAt(ctx, now, 0, Unlimited); err != nil {
			return err
		}
	}
	made := make([]adjusted, 0, len(part))
	defer func() {
		for _, a := range made {
			a.slot.leave()
		}
	}()
	for i, c := range counters {
		s, err := c.entered(ctx, now)
		if err != nil {
			return err
		}
		made = append(made, adjusted{slot: s, units: part[i].Units})
	}
	return m.commitAdjusted(ctx, now, made)
}

// entered waits for the slot of the period that now is in and enters it.
func (c *Counter) entered(ctx context.Context, now time.Time) (entered *slot, err error) {
	err = c.until(ctx, func() (bool, error) {
		s, err := c.slotAt(ctx, now, 0, Unlimited)
		if s == nil || err != nil || !s.enter() {
			return false, err
		}
		entered = s
		return true, nil
	})
	return entered, err
}

// commitAdjusted changes the words, then writes their checkpoints; where that
// fails it changes them back.
func (m *Meter) commitAdjusted(ctx context.Context, now time.Time, made []adjusted) error {
	m.rounds.Lock()
	defer m.rounds.Unlock()
	for _, a := range made {
		if err := a.slot.believe(ctx); err != nil {
			return err
		}
	}
	for i := range made {
		a := &made[i]
		a.units = a.slot.correct(max(a.units, -max(a.slot.words.used(), 0)))
	}
	err := m.commitRows(ctx, now, made)
	if err != nil {
		for _, a := range made {
			a.slot.correct(-a.units)
			a.slot.doubt = true
		}
	}
	return err
}

func (m *Meter) commitRows(ctx context.Context, now time.Time, made []adjusted) error {
	var batch store.Batch
	for _, a := range made {
		record, err := a.slot.row(ctx, now)
		if err != nil {
			return err
		}
		batch.Put = append(batch.Put, record)
	}
	return m.o.Journal.Commit(ctx, batch)
}

// correct adds n to what is used, and n to what was adjusted in all. The caller
// holds Meter.rounds.
func (s *slot) correct(n int64) int64 {
	if n >= 0 {
		s.words.admitted.Add(n)
	} else {
		s.words.refunded.Add(-n)
	}
	s.kept.adjusted += n
	s.touch()
	return n
}
