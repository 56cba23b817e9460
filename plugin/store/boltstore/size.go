// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"errors"
	"fmt"
	"os"
)

// Size says how large the store is, in bytes.
type Size struct {
	File int64 // of keytoll.db
	Free int64 // within it, to be used before it grows; Compact gives it back
	Disk int64 // left on the file system; -1 where that is not known
}

// Size returns how large the store is now. It reads no page.
func (s *Store) Size() (Size, error) {
	info, err := os.Stat(s.tree.path)
	if err != nil {
		return Size{}, fmt.Errorf("looking at %s: %w", s.tree.path, err)
	}
	stats := s.tree.db.Stats()
	size := Size{File: info.Size(), Free: int64(stats.FreePageN+stats.PendingPageN) * int64(os.Getpagesize())}
	if size.Disk, err = diskFree(s.dir); errors.Is(err, errors.ErrUnsupported) {
		size.Disk, err = -1, nil
	}
	return size, err
}
