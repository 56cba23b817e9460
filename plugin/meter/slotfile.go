// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

const (
	headerSize  = 4096
	headerMagic = "keytoll slots 1\n"
)

// slotFile stands behind a segment. Where the file system allows it the
// segment's memory is the file, mapped; else each change is written, one
// writer per slot at a time. Either way the kernel has the change before a
// request goes on, and a crash of the process loses nothing.
type slotFile struct {
	f      *os.File // nil: memory alone
	mapped bool
	locks  []sync.Mutex // of slots, where changes are written
	hooks  *hooks

	// quick: nothing is to be done about a change, because the file is mapped
	// and the next sync knows that there was one.
	quick  atomic.Bool
	dirty  atomic.Bool           // something was written since the last sync
	failed atomic.Pointer[error] // not to be trusted any more, and why
	again  atomic.Bool           // changes made while the file took over may be missing
}

// hooks let tests play the disk.
type hooks struct {
	sync   func(name string) error // in place of a real one
	create func(name string) error // before a file is made
	write  bool                    // never map
	boot   string                  // in place of the machine's
}

func segmentFile(index, generation int) string {
	return fmt.Sprintf("slots-%06d-%d", index, generation)
}

// createFile makes a file of zeroed slots and syncs it, name and all.
func (d durability) createFile(path string, index int, size int64) (f *os.File, err error) {
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	if _, err = f.Write(header(index)); err != nil {
		return nil, err
	}
	zeroes := make([]byte, min(size, 1<<18))
	for left := size; left > 0; left -= int64(len(zeroes)) {
		if _, err = f.Write(zeroes[:min(left, int64(len(zeroes)))]); err != nil {
			return nil, err
		}
	}
	if err = d.sync(f); err != nil {
		return nil, err
	}
	return f, d.syncDir(filepath.Dir(path))
}

// header is the first page of a segment's file.
func header(index int) []byte {
	h := make([]byte, headerSize)
	copy(h, fmt.Sprintf("%ssegment %d\n", headerMagic, index))
	return h
}

// openFile opens a file of slots and checks that it is one.
func openFile(path string, index int, size int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	is := make([]byte, headerSize)
	_, readErr := f.ReadAt(is, 0)
	stat, err := f.Stat()
	if readErr != nil || err != nil || !bytes.Equal(is, header(index)) || stat.Size() != headerSize+size {
		_ = f.Close()
		return nil, fmt.Errorf("%s is not a file of counters of this version, or was cut short; "+
			"restore a backup, or remove it: counting then goes on from the last checkpoints", path)
	}
	return f, nil
}

// durability makes new files durable, unless a test plays the disk.
type durability struct{ played bool }

func (d durability) sync(f *os.File) error {
	if d.played {
		return nil
	}
	return f.Sync()
}

// syncDir makes the names in a directory durable.
func (d durability) syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.sync(f), f.Close())
}

// changed is told after words were changed while quick is false.
func (f *slotFile) changed(s *segment, w *words) {
	switch {
	case f.f == nil:
	case f.mapped:
		f.quick.Store(true)
	default:
		f.write(s, w)
	}
}

// write writes one slot as it now is.
func (f *slotFile) write(s *segment, w *words) {
	i := s.indexOf(w)
	f.locks[i].Lock()
	defer f.locks[i].Unlock()
	var b [slotSize]byte
	w.put(b[:])
	if _, err := f.f.WriteAt(b[:], headerSize+int64(i)*slotSize); err != nil {
		f.fail(err)
	}
	f.dirty.Store(true)
}

// writeAll writes every slot that is in use.
func (f *slotFile) writeAll(s *segment) {
	for i := range s.words {
		if w := &s.words[i]; w.tag.Load() != 0 {
			f.write(s, w)
		}
	}
}

// sync makes durable what was changed before. After a failure nothing is
// durable until another file has taken over: the kernel may have dropped what
// it could not write.
func (f *slotFile) sync(s *segment) error {
	if f.f == nil {
		return nil
	}
	if err := f.failed.Load(); err != nil {
		return *err
	}
	if f.again.CompareAndSwap(true, false) {
		f.writeAll(s)
	}
	if err := f.flush(); err != nil {
		f.fail(err)
	}
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *slotFile) flush() error {
	f.quick.Store(false) // before the kernel looks at the pages
	f.dirty.Store(false)
	name := filepath.Base(f.f.Name())
	sync := func() error { return fdatasync(f.f) }
	if f.hooks != nil {
		sync = func() error { return f.hooks.sync(name) }
	}
	if err := sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", name, err)
	}
	return nil
}

// pending reports whether anything was changed since the last sync began.
func (f *slotFile) pending() bool {
	return f.f != nil && (f.quick.Load() || f.dirty.Load() || f.again.Load())
}

func (f *slotFile) fail(err error) { f.failed.CompareAndSwap(nil, &err) }

// put writes the words in the form that the file has. Where others go on
// counting, what is in use is never shown smaller than it was.
func (w *words) put(b []byte) {
	tag, ordinal, c := w.tag.Load(), w.ordinal.Load(), w.counts()
	for i, v := range [8]int64{tag, ordinal, c.granted, c.admitted, c.refunded, c.billed, c.over, c.refused} {
		binary.NativeEndian.PutUint64(b[8*i:], uint64(v))
	}
}

// set reads what put wrote.
func (w *words) set(b []byte) {
	for i, word := range w.all() {
		word.Store(int64(binary.NativeEndian.Uint64(b[8*i:])))
	}
}
