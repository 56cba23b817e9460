// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"sync/atomic"
)

// A segment holds the slots of so many numbers: first those of even periods,
// then those of odd ones, so that what is in use lies together.
const segmentNumbers = 1 << 15

// segment is a fixed part of the slots. It is never moved while the process runs.
type segment struct {
	index int
	words []words
	// quick: mapped, and the next sync already knows that something changed.
	quick   atomic.Bool
	lasts   bool // beyond the process
	backing backing
}

// backing keeps a segment's words beyond the process.
type backing interface {
	// changed is told after words were changed while quick is false.
	changed(s *segment, w *words)
	// sync makes everything changed before it durable.
	sync(s *segment) error
}

// heap is the backing of a meter that keeps its slots in memory.
type heap struct{}

func (heap) changed(s *segment, _ *words) { s.quick.Store(true) }
func (heap) sync(*segment) error          { return nil }

func newHeapSegment(index int) *segment {
	return &segment{index: index, words: make([]words, 2*segmentNumbers), backing: heap{}}
}

// slot returns the words of a number's slot for a period of that ordinal.
func (s *segment) slot(n, ordinal int64) *words {
	return &s.words[(ordinal&1)*segmentNumbers+n%segmentNumbers]
}

// place returns the segment that holds a number.
func place(n int64) int { return int(n / segmentNumbers) }
