// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"sync/atomic"
	"unsafe"
)

// segmentNumbers is how many numbers a segment has slots for: 4 MiB of them.
const segmentNumbers = 1 << 15

// A segment holds the slots of so many numbers: first those of even periods,
// then those of odd ones, so that what is in use lies together. Its memory
// never moves; the file behind it may be exchanged.
type segment struct {
	index int
	words []words
	file  atomic.Pointer[slotFile]
}

// slot returns the words of a number's slot for a period of that ordinal.
func (s *segment) slot(n, ordinal int64) *words {
	half := int64(len(s.words) / 2)
	return &s.words[(ordinal&1)*half+n%half]
}

// changed is called after words of the segment were changed.
func (s *segment) changed(w *words) {
	if f := s.file.Load(); !f.quick.Load() {
		f.changed(s, w)
	}
}

// sync makes durable what was changed before.
func (s *segment) sync() error { return s.file.Load().sync(s) }

// lasts reports whether the slots outlive the process.
func (s *segment) lasts() bool { return s.file.Load().f != nil }

// newHeapSegment makes a segment that no file stands behind.
func newHeapSegment(index int, numbers int64) *segment {
	s := &segment{index: index, words: make([]words, 2*numbers)}
	f := &slotFile{}
	f.quick.Store(true)
	s.file.Store(f)
	return s
}

// indexOf is the inverse of slot.
func (s *segment) indexOf(w *words) int {
	return int((uintptr(unsafe.Pointer(w)) - uintptr(unsafe.Pointer(&s.words[0]))) / slotSize) //nolint:gosec // addresses are only compared
}
