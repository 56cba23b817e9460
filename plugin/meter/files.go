// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/keytoll/keytoll/plugin/store"
)

// files is the row of segments.
type files struct {
	segments atomic.Pointer[[]*segment]
	memory   bool
}

// openFiles opens every segment that the book names.
func openFiles(_ context.Context, b *book, o Options) (*files, error) {
	f := &files{memory: o.Dir == ""}
	var none []*segment
	f.segments.Store(&none)
	if _, err := f.reach(b.last.Load()); err != nil {
		return nil, err
	}
	return f, nil
}

// of returns the segment that holds a number, nil where there is none yet.
func (f *files) of(n int64) *segment {
	segments := *f.segments.Load()
	if i := place(n); i < len(segments) {
		return segments[i]
	}
	return nil
}

// reach adds segments until there is one for the number, and returns the
// records that name in the book all that it does not name yet.
func (f *files) reach(n int64) (records []store.Record, err error) {
	for f.of(n) == nil {
		segments := *f.segments.Load()
		segments = append(segments[:len(segments):len(segments)], newHeapSegment(len(segments)))
		f.segments.Store(&segments)
	}
	return nil, nil
}

// named is told that the records of the last reach are written.
func (f *files) named() {}

func (f *files) tick() {}

// sync makes everything counted so far durable.
func (f *files) sync() (err error) {
	for _, s := range *f.segments.Load() {
		err = errors.Join(err, s.backing.sync(s))
	}
	return err
}

func (f *files) close() error { return f.sync() }
