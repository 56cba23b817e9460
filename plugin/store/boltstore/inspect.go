// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The meta page of a bbolt file, see its internal/common/meta.go. Numbers are
// in the byte order of the machine that wrote them.
const (
	pageHeader  = 16
	metaLength  = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

// remedy ends every complaint about a file.
const remedy = "restore a backup with `caddy keytoll restore`, or move it away to begin with an empty store"

// inspect finds files that bbolt would panic at or overwrite. It only reads.
func inspect(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a directory where the database must be: %s", path, remedy)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file: %s", path, remedy)
	case info.Size() == 0:
		return fmt.Errorf("%s is empty, it has been truncated: %s", path, remedy)
	}
	pages, pageSize, err := newestMeta(f)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	// The file grows before its meta page says so: it is measured after.
	if info, err = f.Stat(); err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	switch {
	case pages == 0:
		return fmt.Errorf("%s is not a database of keytoll, or its first pages are damaged: %s", path, remedy)
	case info.Size() < pages*pageSize:
		return fmt.Errorf("%s is truncated, %d of %d bytes are left: %s", path, info.Size(), pages*pageSize, remedy)
	}
	return nil
}

// newestMeta returns how many pages the file has by the newer of its two meta
// pages; no pages where neither is valid.
func newestMeta(f io.ReaderAt) (pages, pageSize int64, err error) {
	newest := uint64(0)
	// The second meta page is at one of the page sizes there are; the first
	// is at 0.
	for at := int64(0); at <= 64<<10; at = max(at*2, 1024) {
		var page [pageHeader + metaLength]byte
		if _, err := f.ReadAt(page[:], at); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, 0, err
		}
		m := page[pageHeader:]
		order := binary.NativeEndian
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if order.Uint32(m) != metaMagic || order.Uint32(m[4:]) != metaVersion || order.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		size := int64(order.Uint32(m[8:]))
		if tx := order.Uint64(m[48:]); (at == 0 || at == size) && (pages == 0 || tx > newest) {
			newest, pages, pageSize = tx, int64(order.Uint64(m[40:])), size
		}
	}
	return pages, pageSize, nil
}

// openBolt is bolt.Open without its panics.
func openBolt(path string, o *bolt.Options) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("its pages are damaged (%v): %s", p, remedy)
		}
	}()
	return bolt.Open(path, 0o600, o)
}

// explain says what an error of bbolt's Open means.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s is in use by %s: stop that process, or name another directory", path, holder(path))
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return fmt.Errorf("%s is not a database of keytoll (%w): %s", path, err, remedy)
	}
	return fmt.Errorf("opening %s: %w", path, err)
}
