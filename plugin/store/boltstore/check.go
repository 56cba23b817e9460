// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// offlineWait is how long Check and Compact wait for a process to let go.
const offlineWait = time.Second

// Check looks at every page and every record of the store in dir, which no
// process may hold, and returns what is wrong, in words; nothing where all is
// well. It only reads. Progress, if not nil, is told how many records of how
// many have been looked at.
func Check(ctx context.Context, dir string, progress func(done, total int64)) (findings []string, err error) {
	path := filepath.Join(dir, FileName)
	if err := inspect(path); err != nil {
		return nil, err
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: offlineWait})
	if err != nil {
		return nil, explain(path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	t := &tree{db: db, path: path}
	if err := checkSchema(t); err != nil {
		return nil, err
	}
	// What cannot be walked is not to be given to bbolt's check: it runs in a
	// goroutine of its own, where a fault would end the process.
	if err := walk(ctx, t); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []string{err.Error()}, nil
	}
	if findings, err = pages(ctx, t); err != nil || len(findings) > 0 {
		return findings, err // records on damaged pages tell nothing more
	}
	return ordered.New(t).Check(ctx, progress)
}

// walk reads every record once.
func walk(ctx context.Context, t *tree) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer t.recover(&err)
	return t.db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			c, n := b.Cursor(), 0
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				if n++; n%10_000 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return nil
		})
	})
}

// pages runs bbolt's own check.
func pages(ctx context.Context, t *tree) (findings []string, err error) {
	defer t.recover(&err)
	err = t.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			if len(findings) < 100 {
				findings = append(findings, fmt.Sprintf("page: %v", err))
			}
		}
		return ctx.Err()
	})
	return findings, err
}
