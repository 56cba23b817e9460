// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// Restored says what a restore did.
type Restored struct {
	Backup   Manifest         // what was restored
	Epoch    uint64           // the new one
	Replayed ordered.Replayed // what had been ended since the backup, and is again
	Former   string           // the directory that now holds what was replaced; "" if there was nothing
	// Unread is why the tombstones of the replaced store could not be read:
	// keys revoked since the backup then work again. nil where all is well.
	Unread error
}

// RestoreOptions say how to restore.
type RestoreOptions struct {
	Options
	// Keep names entries of the directory that stay where they are, beside
	// those the backup brings.
	Keep []string
	// Progress, if not nil, is told how many bytes of how many are unpacked.
	Progress func(done, total int64)
}

// Restore replaces the content of a directory that no process holds by that of
// a backup. The backup is verified as a whole, brought to the current schema,
// given a new epoch and freed of what was revoked or erased since, all beside
// the old content; an error up to then changes nothing. The old content is kept
// in the directory, under .before-restore- and the time.
func Restore(ctx context.Context, r io.Reader, o RestoreOptions) (done Restored, err error) {
	if err := o.fill(); err != nil {
		return done, err
	}
	if err := makeDir(o.Options); err != nil {
		return done, err
	}
	if err := finishSwap(o.Dir); err != nil {
		return done, fmt.Errorf("finishing an interrupted restore in %s: %w", o.Dir, err)
	}
	former, err := openFormer(o.Options)
	if err != nil && former == nil && held(err) {
		return done, err
	}
	done.Unread = err
	if former != nil {
		defer func() { err = errors.Join(err, former.Close()) }()
	}
	s := swap{Stamp: o.Now().UTC().Format("20060102T150405.000Z"), Keep: o.Keep}
	if err := os.Mkdir(s.staging(o.Dir), 0o700); err != nil {
		return done, fmt.Errorf("restoring: %w", err)
	}
	if err := stage(ctx, r, s.staging(o.Dir), former, o, &done); err != nil {
		return done, fmt.Errorf("restoring (nothing was changed): %w", errors.Join(err, os.RemoveAll(s.staging(o.Dir))))
	}
	if err := s.decide(o.Dir); err != nil {
		return done, fmt.Errorf("restoring: putting the backup in place: %w", err)
	}
	done.Former = s.former(o.Dir)
	if os.Remove(done.Former) == nil { // it is empty: nothing was replaced
		done.Former = ""
	}
	return done, nil
}

// errHeld marks a directory that a process holds.
var errHeld = errors.New("stop it before restoring")

func held(err error) bool { return errors.Is(err, errHeld) }

// openFormer opens what is to be replaced, and thereby locks it. A damaged
// store is no obstacle: it is the reason to restore.
func openFormer(o Options) (*tree, error) {
	path := filepath.Join(o.Dir, FileName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := inspect(path); err != nil {
		if pid := notedPID(o.Dir); pid != 0 && pid != os.Getpid() && alive(pid) {
			return nil, fmt.Errorf("%s is in use by %s: %w", path, holder(path), errHeld)
		}
		return nil, err
	}
	db, err := openBolt(path, &bolt.Options{Timeout: o.LockWait, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by %s: %w", path, holder(path), errHeld)
	case err != nil:
		return nil, explain(path, err)
	}
	return &tree{db: db, path: path, logger: o.Logger}, nil
}

// stage makes the new content of the directory.
func stage(ctx context.Context, r io.Reader, dir string, former *tree, o RestoreOptions, done *Restored) (err error) {
	if done.Backup, err = unpack(ctx, r, dir, o.Progress); err != nil {
		return err
	}
	path := filepath.Join(dir, FileName)
	db, err := openFile(ctx, path, o.LockWait)
	if err != nil {
		return err
	}
	t := &tree{db: db, path: path, logger: o.Logger}
	err = renew(ctx, t, former, done)
	return errors.Join(err, db.Close())
}

// renew brings the restored database up to date.
func renew(ctx context.Context, t, former *tree, done *Restored) error {
	if err := migrate(t, migrations, current); err != nil {
		return err
	}
	e := ordered.New(t)
	epoch, err := store.Epoch(ctx, e)
	if err != nil {
		return err
	}
	if former != nil {
		old := ordered.New(former)
		was, err := store.Epoch(ctx, old)
		if err == nil {
			done.Replayed, err = e.Replay(ctx, old)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		done.Unread = errors.Join(done.Unread, err)
		epoch = max(epoch, was)
	}
	done.Epoch = epoch + 1
	return e.Commit(ctx, store.Batch{Put: []store.Record{{
		Book: store.Meta, Key: []byte(store.EpochKey), Value: []byte(strconv.FormatUint(done.Epoch, 10)),
	}}})
}
