// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// Compact rewrites the database in dir, which no process may hold, without the
// pages it no longer uses, and puts the new file in the place of the old one at
// once. It returns the sizes before and after, in bytes. An error changes
// nothing. Progress, if not nil, is told how many bytes of how many are copied.
func Compact(ctx context.Context, dir string, progress func(done, total int64)) (before, after int64, err error) {
	path := filepath.Join(dir, FileName)
	db, err := openFile(ctx, path, offlineWait)
	if err != nil {
		return 0, 0, err
	}
	// The lock is held until the new file is in place.
	defer func() { err = errors.Join(err, db.Close()) }()
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, fmt.Errorf("looking at %s: %w", path, err)
	}
	before = info.Size()
	spool, err := os.MkdirTemp(dir, spoolPrefix)
	if err != nil {
		return 0, 0, fmt.Errorf("compacting %s: %w", path, err)
	}
	defer os.RemoveAll(spool)
	fresh := filepath.Join(spool, FileName)
	c := &compaction{ctx: ctx, from: &tree{db: db, path: path}, total: before, progress: progress}
	if err := c.into(fresh); err != nil {
		return before, 0, fmt.Errorf("compacting %s (nothing was changed): %w", path, err)
	}
	if info, err = os.Stat(fresh); err != nil {
		return before, 0, fmt.Errorf("compacting %s: %w", path, err)
	}
	if err := errors.Join(os.Rename(fresh, path), syncDir(dir)); err != nil {
		return before, 0, fmt.Errorf("compacting %s: %w", path, err)
	}
	return before, info.Size(), nil
}

// compaction copies one database, bucket by bucket, in order of keys.
type compaction struct {
	ctx         context.Context
	from        *tree
	to          *bolt.DB
	progress    func(done, total int64)
	done, total int64
}

// compactStep is how many bytes one transaction copies.
const compactStep = 16 << 20

func (c *compaction) into(path string) (err error) {
	if c.to, err = bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.to.Close()) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer c.from.recover(&err)
	err = c.from.db.View(func(tx *bolt.Tx) error { return tx.ForEach(c.bucket) })
	return errors.Join(err, c.to.Sync())
}

func (c *compaction) bucket(name []byte, from *bolt.Bucket) error {
	cursor := from.Cursor()
	k, v := cursor.First()
	for first := true; first || k != nil; first = false {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		err := c.to.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = 0.95
			for n := 0; k != nil && n < compactStep; k, v = cursor.Next() {
				if err := b.Put(k, v); err != nil {
					return err
				}
				n += len(k) + len(v)
				c.done += int64(len(k) + len(v))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if c.progress != nil {
			c.progress(min(c.done, c.total), c.total)
		}
	}
	return nil
}
