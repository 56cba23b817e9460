// SPDX-License-Identifier: Apache-2.0

package meter

import "sync/atomic"

// slotSize is one cache line: two owners never share one.
const slotSize = 64

// words is a slot as it stands in memory and in its file. All but the first
// two only ever grow while the slot belongs to one period; each is one atomic
// word, so that a file never holds half of a change.
type words struct {
	tag      atomic.Int64 // identity and generation, as the book gives them with the number; 0: empty
	ordinal  atomic.Int64 // the period
	granted  atomic.Int64 // units in use may reach this without another sync
	admitted atomic.Int64
	refunded atomic.Int64
	billed   atomic.Int64
	over     atomic.Int64 // of billed: past the quota that was in force
	refused  atomic.Int64
}

// counts are the growing words of a slot, as values.
type counts struct {
	granted, admitted, refunded, billed, over, refused int64
}

func (w *words) counts() counts {
	return counts{
		granted: w.granted.Load(),
		// refunded first: what is in use is never shown smaller than it was
		refunded: w.refunded.Load(), admitted: w.admitted.Load(),
		over: w.over.Load(), billed: w.billed.Load(), refused: w.refused.Load(),
	}
}

// used may be negative for a moment after a correction.
func (w *words) used() int64 {
	refunded := w.refunded.Load()
	return w.admitted.Load() - refunded
}

// entered reports whether anything was counted.
func (w *words) entered() bool {
	return w.admitted.Load()|w.refunded.Load()|w.billed.Load()|w.refused.Load() != 0
}

// all returns the words in the order they have in a file.
func (w *words) all() [8]*atomic.Int64 {
	return [8]*atomic.Int64{
		&w.tag, &w.ordinal, &w.granted, &w.admitted, &w.refunded, &w.billed, &w.over, &w.refused,
	}
}

// empty makes the slot nobody's, then zeroes it.
func (w *words) empty() {
	for _, word := range w.all() {
		word.Store(0)
	}
}

// raise merges c into the words and reports whether any was behind it.
func (w *words) raise(c counts) bool {
	behind := raiseWord(&w.granted, c.granted)
	behind = raiseWord(&w.admitted, c.admitted) || behind
	behind = raiseWord(&w.refunded, c.refunded) || behind
	behind = raiseWord(&w.billed, c.billed) || behind
	behind = raiseWord(&w.over, c.over) || behind
	return raiseWord(&w.refused, c.refused) || behind
}

// copyFrom takes the words of another slot over.
func (w *words) copyFrom(from *words) {
	to := w.all()
	for i, word := range from.all() {
		to[i].Store(word.Load())
	}
}

// addChanges adds what was counted in a slot between two of its states.
func (w *words) addChanges(before, after *words) {
	to, from := w.all(), before.all()
	for i, word := range after.all() {
		if n := word.Load() - from[i].Load(); n != 0 {
			to[i].Add(n)
		}
	}
}

func raiseWord(word *atomic.Int64, to int64) bool {
	for {
		old := word.Load()
		if old >= to {
			return false
		}
		if word.CompareAndSwap(old, to) {
			return true
		}
	}
}

// assumeSpent counts every unit that was lent as used: after a crash that may
// have lost words, no quota is spent twice.
func (w *words) assumeSpent() {
	if granted := w.granted.Load(); granted > 0 {
		raiseWord(&w.admitted, granted+w.refunded.Load())
	}
}
