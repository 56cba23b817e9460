// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// recover makes good what a crash has taken. After one of the process alone the
// words are exact; after any other, what was lent counts as used. What the
// Ledger did not learn is booked before it is told anything else.
func (m *Meter) recover(ctx context.Context) error {
	f := m.files
	if f.dir == "" {
		return nil
	}
	boot := bootID()
	if f.hooks != nil {
		boot = f.hooks.boot
	}
	if exact := f.state.exact(boot) && !f.lost; !exact && len(*f.segments.Load()) > 0 {
		if err := m.assumeSpent(ctx); err != nil {
			return fmt.Errorf("recovering the counters: %w", err)
		}
		if err := f.sync(); err != nil {
			return fmt.Errorf("recovering the counters: %w", err)
		}
	}
	told := f.state.Told && f.state.Clean
	if !told {
		untold, err := m.untold(ctx)
		if err != nil {
			return fmt.Errorf("recovering the counters: %w", err)
		}
		m.rollups.mu.Lock() // until it is booked
		m.done.Go(func() {
			defer m.rollups.mu.Unlock()
			m.attribute(context.Background(), untold)
		})
	}
	f.state = state{Boot: boot}
	return f.disk.writeState(f.dir, f.state)
}

// inUse calls fn for every slot that is somebody's.
func (f *files) inUse(fn func(n int64, s *segment, w *words) error) error {
	for _, s := range *f.segments.Load() {
		for i := range s.words {
			w := &s.words[i]
			if w.tag.Load() == 0 {
				continue
			}
			if err := fn(int64(s.index)*f.numbers+int64(i)%f.numbers, s, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// assumeSpent counts as used all that was lent, in every period that has begun:
// of what was admitted last, nothing is known.
func (m *Meter) assumeSpent(ctx context.Context) error {
	now, assumed := m.o.Now(), 0
	err := m.files.inUse(func(n int64, s *segment, w *words) error {
		if w.granted.Load() <= w.used() {
			return nil
		}
		if !w.entered() { // opened ahead, or entered in the last moment
			id, err := m.book.id(ctx, n)
			if errors.Is(err, store.ErrNotFound) || err == nil && id.Calendar.Ordinal(now) < w.ordinal.Load() {
				return nil
			}
			if err != nil {
				return err
			}
		}
		w.assumeSpent()
		s.changed(w)
		assumed++
		return nil
	})
	if assumed > 0 {
		m.o.Logger.Warn("the machine stopped without warning: what was lent to counters counts as used", "counters", assumed)
	}
	return err
}

// untold is a slot of a key as a crash has left it.
type untold struct {
	n       int64
	tag     int64
	ordinal int64
	counts  counts
}

// justNow is how far back the Ledger may not have learnt all that a checkpoint
// counts: a request is counted and told of at slightly different times.
const justNow = 2 * time.Minute

// untold returns the slots that have changed since their checkpoint, or whose
// checkpoint is of the last rounds. It is one walk over the checkpoints of
// periods that may still have a slot, and one over the slots.
func (m *Meter) untold(ctx context.Context) (found []untold, err error) {
	agrees, err := m.agreeing(ctx)
	if err != nil {
		return nil, err
	}
	err = m.files.inUse(func(n int64, s *segment, w *words) error {
		if w.entered() && !agrees[s.index][s.indexOf(w)] {
			found = append(found, untold{n: n, tag: w.tag.Load(), ordinal: w.ordinal.Load(), counts: w.counts()})
		}
		return nil
	})
	return found, err
}

// agreeing tells, for each slot of each segment, whether a checkpoint that is
// not of the last rounds says the same. Of requests in flight the Ledger was
// not told: a checkpoint that counts some does not say the same.
func (m *Meter) agreeing(ctx context.Context) ([][]bool, error) {
	segments := *m.files.segments.Load()
	agrees := make([][]bool, len(segments))
	for i, s := range segments {
		agrees[i] = make([]bool, len(s.words))
	}
	type place struct{ segment, slot int }
	recent := make(map[place]int64) // when they were written
	var last int64
	var bad error
	all := store.Range{
		From: m.book.checkpointKey(m.o.Now().AddDate(0, -3, 0), 0),
		To:   store.Prefixed(m.book.shelf[:]).To,
	}
	err := m.o.Journal.Scan(ctx, store.Checkpoints, all, func(key, value []byte) bool {
		var r row
		if r, bad = parseRow(value); bad != nil {
			return false
		}
		n := m.book.parseCheckpointKey(key)
		s := m.files.of(n)
		if s == nil {
			return true
		}
		w := s.slot(n, r.ordinal)
		if w.ordinal.Load() != r.ordinal || w.counts() != r.counts || r.open > 0 {
			return true
		}
		agrees[s.index][s.indexOf(w)] = true
		if last = max(last, r.at); r.at >= last-int64(justNow/time.Second) {
			recent[place{s.index, s.indexOf(w)}] = r.at
		}
		return true
	})
	for p, at := range recent {
		if at >= last-int64(justNow/time.Second) {
			agrees[p.segment][p.slot] = false
		}
	}
	return agrees, errors.Join(bad, err)
}
