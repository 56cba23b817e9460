// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/keytoll/keytoll/plugin/store"
)

// mendPause is how many ticks go by after an attempt to mend has failed.
const mendPause = 4

var errMoving = errors.New("counters are being moved to another file")

// mend puts a new file behind a segment whose own cannot be trusted any more.
// Nothing is lent from the segment until everything stands, synced, in the new
// one and the book names it. It is tried again until it succeeds. The caller
// holds f.ticking.
func (f *files) mend(ctx context.Context, s *segment) {
	if f.pause > 0 {
		f.pause--
		return
	}
	f.note(true)
	name, err := f.replace(ctx, s)
	if err != nil {
		f.pause = mendPause
		f.logger.Error("moving counters to another file", "error", err)
		return
	}
	f.logger.Info("counters stand in another file", "file", name)
	for _, other := range *f.segments.Load() {
		if other.file.Load().failed.Load() != nil {
			return
		}
	}
	f.note(false)
}

// note keeps for the next start whether a file is not to be trusted.
func (f *files) note(failed bool) {
	if f.state.Failed == failed {
		return
	}
	f.state.Failed = failed
	if err := f.disk.writeState(f.dir, f.state); err != nil {
		f.logger.Error("noting how the counters are", "error", err)
	}
}

func (f *files) replace(ctx context.Context, s *segment) (name string, err error) {
	f.grow.Lock()
	defer f.grow.Unlock()
	old := s.file.Load()
	name = nextName(s.index, old.f.Name())
	file, err := f.create(name, s.index)
	if err != nil {
		return "", err
	}
	fresh := &slotFile{f: file, hooks: f.hooks, locks: make([]sync.Mutex, len(s.words))}
	moving := errMoving
	fresh.failed.Store(&moving)
	s.file.Store(fresh)
	if old.mapped {
		thaw := f.freeze(s)
		err = detach(s, old.f)
		thaw()
	}
	if err != nil {
		s.file.Store(old)
		return "", errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	// from here on the memory is no file's: what changes is written to the new one
	fresh.writeAll(s)
	if err = fresh.flush(); err == nil {
		record := f.book.fileRecord(s.index, name)
		err = f.book.journal.Commit(ctx, store.Batch{Put: []store.Record{record}})
	}
	_ = old.f.Close() // it has failed before
	if err != nil {
		return "", errors.Join(err, f.removeFormer(s.index, name, f.names[s.index]))
	}
	f.names[s.index] = name
	fresh.again.Store(true)
	fresh.failed.Store(nil)
	return name, f.removeFormer(s.index, name)
}

// removeFormer removes a segment's files but those to be kept.
func (f *files) removeFormer(index int, keep ...string) (err error) {
	former, err := filepath.Glob(filepath.Join(f.dir, fmt.Sprintf("slots-%06d-*", index)))
	for _, path := range former {
		if !slices.Contains(keep, filepath.Base(path)) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// nextName is that of the next generation of a segment's file.
func nextName(index int, path string) string {
	name := filepath.Base(path)
	generation, _ := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	return segmentFile(index, generation+1)
}

// settled returns when no segment is being moved.
func (f *files) settled() {
	f.grow.Lock()
	defer f.grow.Unlock()
}

// close syncs and leaves the files marked.
func (f *files) close(told bool) error {
	err := f.sync()
	f.grow.Lock()
	defer f.grow.Unlock()
	if f.dir == "" {
		return nil
	}
	f.state.Clean, f.state.Told = err == nil, told
	err = errors.Join(err, f.disk.writeState(f.dir, f.state))
	for _, s := range *f.segments.Load() {
		err = errors.Join(err, s.file.Load().f.Close())
	}
	if err != nil {
		return fmt.Errorf("closing the counters: %w", err)
	}
	return nil
}
