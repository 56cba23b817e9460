// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Snapshot writes the slot files as they are now into dir, which exists and
// into which nobody else writes: a meter opened there goes on from these
// counts. In memory there is nothing to write. Requests go on meanwhile.
func (m *Meter) Snapshot(ctx context.Context, dir string) error {
	f := m.files
	if f.dir == "" {
		return nil
	}
	if err := m.checkpoint(ctx); err != nil {
		return fmt.Errorf("copying the counters: %w", err)
	}
	f.grow.Lock()
	segments, names := *f.segments.Load(), slices.Clone(f.names)
	f.grow.Unlock()
	for i, s := range segments {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("copying the counters: %w", err)
		}
		if err := s.copyTo(filepath.Join(dir, names[i])); err != nil {
			return fmt.Errorf("copying the counters: %w", err)
		}
	}
	// exact as of the copy, under any boot
	return f.disk.writeState(dir, state{Clean: true})
}

func (s *segment) copyTo(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<18)
	if _, err := w.Write(header(s.index)); err != nil {
		return err
	}
	var b [slotSize]byte
	for i := range s.words {
		for w, tag, ordinal := &s.words[i], int64(-1), int64(-1); w.tag.Load() != tag || w.ordinal.Load() != ordinal; {
			tag, ordinal = w.tag.Load(), w.ordinal.Load() // until it was one period's all the time
			w.put(b[:])
		}
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}
