// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"

	"github.com/keytoll/keytoll/plugin/store"
)

// A SlotRef names a counter in one period.
type SlotRef struct {
	ID      ID
	Ordinal int64
}

// Sealed is a counter in one period as Seal found it.
type Sealed struct {
	ID ID
	Reading
	BilledBefore int64 // of Billed: sealed before
	OverBefore   int64 // of Over: sealed before
	Open         int64 // requests in flight that may still be billed
}

// sealing is one slot on its way.
type sealing struct {
	sealed Sealed
	slot   *slot // in memory; nil: the period is known from its checkpoint alone
	row    row
	number number
}

// Seal makes what was billed so far final: it reads the counters, syncs their
// slots, and commits what batch makes of them in one transaction with the
// figures now sealed, below which no recovery goes. Counters that never
// counted are left out. Where batch or the transaction fails nothing is
// sealed; whether it was is known only from the next Seal if the engine's
// reply was lost. Calls to Seal run one after the other.
func (m *Meter) Seal(ctx context.Context, refs []SlotRef, batch func([]Sealed) (store.Batch, error)) error {
	m.rounds.Lock()
	defer m.rounds.Unlock()
	all := make([]sealing, 0, len(refs))
	for _, ref := range refs {
		found, err := m.readSeal(ctx, ref)
		if err != nil {
			return fmt.Errorf("sealing: %w", err)
		}
		all = append(all, found...)
	}
	sealed := make([]Sealed, len(all))
	segments := make(map[*segment]bool)
	for i, s := range all {
		sealed[i] = s.sealed
		if s.slot != nil {
			segments[s.slot.segment] = true
		}
	}
	if err := syncAll(segments); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	b, err := batch(sealed)
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	now := m.o.Now().Unix()
	for i := range all {
		s := &all[i]
		s.row.sealed, s.row.sealedOver = s.sealed.Billed, s.sealed.Over
		s.row.ordinal, s.row.at = s.sealed.Period.Ordinal, now
		b.Put = append(b.Put, m.book.rowRecord(s.sealed.Period.Start, s.number.n, s.row))
	}
	err = m.o.Journal.Commit(ctx, b)
	for _, s := range all {
		if s.slot == nil {
			continue
		}
		if s.slot.doubt = err != nil; err == nil {
			s.slot.kept = s.row.kept
		}
	}
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

// readSeal finds the counter in its period: in a slot, or else in a checkpoint.
// A counter that was given several numbers may be found under more than one.
// The caller holds Meter.rounds.
func (m *Meter) readSeal(ctx context.Context, ref SlotRef) (found []sealing, err error) {
	c := m.Counter(ref.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.look(ctx); err != nil {
		return nil, err
	}
	period := ref.ID.Calendar.Period(ref.Ordinal)
	for i, n := range c.numbers {
		s := sealing{number: n}
		if w := m.files.of(n.n).slot(n.n, ref.Ordinal); w.tag.Load() == n.tag && w.ordinal.Load() == ref.Ordinal {
			if s.slot, err = c.inMemory(ctx, i, ref.Ordinal); err != nil {
				return nil, err
			}
			if err = s.slot.believe(ctx); err != nil {
				return nil, err
			}
			s.row = row{counts: w.counts(), kept: s.slot.kept}
			s.sealed.Open = s.slot.holds.Load() &^ ended
		} else if s.row, err = m.book.checkpoint(ctx, period.Start, n.n); err != nil {
			return nil, err
		} else if !s.row.found {
			continue
		}
		s.sealed.ID, s.sealed.Reading = ref.ID, reading(period, s.row.counts)
		s.sealed.BilledBefore, s.sealed.OverBefore = s.row.sealed, s.row.sealedOver
		found = append(found, s)
	}
	return found, nil
}

// inMemory returns the slot of c.numbers[i] that stands for the period, ended
// or not. The caller holds c.mu.
func (c *Counter) inMemory(ctx context.Context, i int, ordinal int64) (*slot, error) {
	if s := c.slots[2*i+int(ordinal&1)]; s != nil && s.ordinal == ordinal {
		return s, nil
	}
	return c.load(ctx, i, ordinal)
}

// Counters returns the counters that an owner has had.
func (m *Meter) Counters(ctx context.Context, o Owner) ([]ID, error) { return m.book.ofOwner(ctx, o) }
