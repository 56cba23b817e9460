// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/keytoll/keytoll/plugin/store"
)

// files is the row of segments with what stands behind them.
type files struct {
	segments atomic.Pointer[[]*segment]
	dir      string // "": in memory
	book     *book
	logger   *slog.Logger
	hooks    *hooks
	disk     durability
	numbers  int64                        // in a segment
	mapping  bool                         // the file system keeps what is mapped
	lost     bool                         // a segment's file was gone
	freeze   func(*segment) (thaw func()) // lets nothing be admitted that needs a lease

	ticking sync.Mutex // guards pause and, once the files are open, state
	pause   int        // ticks before mending is tried again
	state   state

	grow    sync.Mutex // guards names, and that one segment is added or mended at a time
	names   []string   // of the segments' files
	unnamed int        // the first segment that the book does not name yet
}

// openFiles opens every segment that the book names, syncs it, and says
// whether all words are as they were left.
func openFiles(ctx context.Context, b *book, o Options) (*files, error) {
	f := &files{dir: o.Dir, book: b, logger: o.Logger, hooks: o.hooks, numbers: segmentNumbers, disk: durability{o.hooks != nil}}
	if o.numbers > 0 {
		f.numbers = o.numbers
	}
	var none []*segment
	f.segments.Store(&none)
	if f.dir != "" {
		if err := f.openDir(ctx); err != nil {
			return nil, fmt.Errorf("opening the counters: %w", err)
		}
	}
	if _, err := f.reach(b.last.Load()); err != nil {
		return nil, fmt.Errorf("opening the counters: %w", err)
	}
	return f, nil
}

func (f *files) openDir(ctx context.Context) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	f.mapping = mappable(f.dir) && (f.hooks == nil || !f.hooks.write)
	names, err := f.book.files(ctx)
	if err != nil {
		return err
	}
	if f.state, err = readState(f.dir); err != nil {
		return err
	}
	for i, name := range names {
		if err := f.openSegment(i, name); err != nil {
			return err
		}
	}
	f.unnamed = len(names)
	if err := f.sync(); err != nil {
		return err
	}
	return nil
}

// openSegment opens the file of a segment. One that is gone is replaced: its
// counters go on from their checkpoints.
func (f *files) openSegment(index int, name string) error {
	file, err := openFile(filepath.Join(f.dir, name), index, f.size())
	if errors.Is(err, fs.ErrNotExist) {
		f.logger.Error("a file of counters is gone: counting goes on from the last checkpoints", "file", name)
		f.lost = true
		file, err = f.create(name, index)
	}
	if err != nil {
		return err
	}
	return f.append(index, name, file)
}

func (f *files) create(name string, index int) (*os.File, error) {
	if f.hooks != nil && f.hooks.create != nil {
		if err := f.hooks.create(name); err != nil {
			return nil, err
		}
	}
	return f.disk.createFile(filepath.Join(f.dir, name), index, f.size())
}

// size is that of a segment's slots in bytes.
func (f *files) size() int64 { return 2 * f.numbers * slotSize }

// append puts a segment at the end of the row.
func (f *files) append(index int, name string, file *os.File) error {
	s := &segment{index: index}
	if err := f.attach(s, file); err != nil {
		return errors.Join(err, file.Close())
	}
	segments := *f.segments.Load()
	segments = append(segments[:len(segments):len(segments)], s)
	f.segments.Store(&segments)
	f.names = append(f.names, name)
	return nil
}

// attach gives the segment its memory and the file behind it.
func (f *files) attach(s *segment, file *os.File) error {
	behind := &slotFile{f: file, mapped: f.mapping, hooks: f.hooks}
	if f.mapping {
		if err := mapWords(s, file, f.size()); err != nil {
			return fmt.Errorf("mapping %s: %w", file.Name(), err)
		}
	} else {
		behind.locks = make([]sync.Mutex, 2*f.numbers)
		s.words = make([]words, 2*f.numbers)
		b := make([]byte, f.size())
		if _, err := file.ReadAt(b, headerSize); err != nil {
			return fmt.Errorf("reading %s: %w", file.Name(), err)
		}
		for i := range s.words {
			s.words[i].set(b[i*slotSize:])
		}
	}
	s.file.Store(behind)
	return nil
}

// of returns the segment that holds a number, nil where there is none yet.
func (f *files) of(n int64) *segment {
	segments := *f.segments.Load()
	if i := int(n / f.numbers); i < len(segments) {
		return segments[i]
	}
	return nil
}

// reach adds segments until there is one for the number, and returns the
// records that name in the book all that it does not name yet.
func (f *files) reach(n int64) (records []store.Record, err error) {
	f.grow.Lock()
	defer f.grow.Unlock()
	for f.of(n) == nil {
		segments := *f.segments.Load()
		i := len(segments)
		if f.dir == "" {
			segments = append(segments[:i:i], newHeapSegment(i, f.numbers))
			f.segments.Store(&segments)
			continue
		}
		name := segmentFile(i, 1)
		file, err := f.create(name, i)
		if err != nil {
			return nil, fmt.Errorf("adding counters: %w", err)
		}
		if err := f.append(i, name, file); err != nil {
			return nil, err
		}
	}
	for i := f.unnamed; i < len(f.names); i++ {
		records = append(records, f.book.fileRecord(i, f.names[i]))
	}
	return records, nil
}

// named is told that so many records of reach are written.
func (f *files) named(records int) {
	f.grow.Lock()
	defer f.grow.Unlock()
	f.unnamed += records
}

// tick syncs what has changed, mends what has failed, and adds a segment
// before it is needed.
func (f *files) tick(ctx context.Context) {
	f.ticking.Lock()
	defer f.ticking.Unlock()
	for _, s := range *f.segments.Load() {
		file := s.file.Load()
		if file.failed.Load() == nil && file.pending() {
			if err := file.sync(s); err != nil {
				f.logger.Error("counters cannot be made durable: no new leases until they stand in another file", "error", err)
			}
		}
		if file.failed.Load() != nil {
			f.mend(ctx, s)
		}
	}
	if f.dir == "" {
		return
	}
	if _, err := f.reach(f.book.last.Load() + f.numbers/4); err != nil {
		f.logger.Warn("no room for more counters", "error", err)
	}
}

// sync makes everything counted so far durable.
func (f *files) sync() (err error) {
	for _, s := range *f.segments.Load() {
		err = errors.Join(err, s.sync())
	}
	return err
}
