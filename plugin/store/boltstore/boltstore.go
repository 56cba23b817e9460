// SPDX-License-Identifier: Apache-2.0

// Package boltstore keeps everything in one bbolt file, keytoll.db, in a
// directory that one process holds at a time. What it does is certified by
// storetest.
//
// Beside the file stand keytoll.pid, which says who holds it, and
// keytoll.reserve, disk space kept for revoking keys when nothing else is left.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// The files of a directory.
const (
	FileName    = "keytoll.db"
	pidName     = "keytoll.pid"
	reserveName = "keytoll.reserve"
	spoolPrefix = ".spool-"
)

// Options say where a store is and how it is opened.
type Options struct {
	// Dir is made, mode 0700, where it does not exist.
	Dir string
	// LockWait is how long to wait for another process to let go of the
	// directory. Default: 5s.
	LockWait time.Duration
	// Now is the clock of what Open and Backup write down.
	Now func() time.Time
	// Logger hears of what an operator should look at. Default: nobody.
	Logger *slog.Logger
}

func (o *Options) fill() error {
	if o.Dir == "" {
		return errors.New("no directory is named")
	}
	if o.Now == nil {
		return errors.New("opening a store needs a clock")
	}
	if o.LockWait <= 0 {
		o.LockWait = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Store is a store.Engine on one directory.
type Store struct {
	*ordered.Engine
	dir     string
	tree    *tree
	reserve *reserve
	options Options
}

var _ store.Engine = (*Store)(nil)

// Open opens the directory, making what is missing. A file that is truncated,
// foreign or of a newer release is refused with an error that says what to do,
// and nothing on disk is changed. An older schema is migrated, after a copy of
// the file was made. Open finishes a restore that a crash interrupted.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := openStore(ctx, o)
	if err != nil {
		return nil, advise(err)
	}
	return s, nil
}

func openStore(ctx context.Context, o Options) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := makeDir(o); err != nil {
		return nil, err
	}
	if err := finishSwap(o.Dir); err != nil {
		return nil, fmt.Errorf("finishing an interrupted restore in %s: %w", o.Dir, err)
	}
	path := filepath.Join(o.Dir, FileName)
	if err := create(path); err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	db, err := openFile(ctx, path, o.LockWait)
	if err != nil {
		return nil, err
	}
	t := &tree{db: db, path: path, logger: o.Logger}
	if err := migrate(t, migrations, current); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{Engine: ordered.New(t), dir: o.Dir, tree: t, options: o}
	s.reserve = &reserve{path: filepath.Join(o.Dir, reserveName)}
	s.prepare(ctx)
	return s, nil
}

// prepare does what a store can be used without.
func (s *Store) prepare(ctx context.Context) {
	s.removeSpools()
	warn := func(what string, err error) {
		if err != nil {
			s.options.Logger.Warn(what, slog.String("directory", s.dir), slog.Any("error", err))
		}
	}
	warn("cannot note who holds the store", writePID(s.dir))
	warn("cannot reserve disk space for revoking keys", s.reserve.fill())
	warn("cannot finish moving index entries", s.Resume(ctx))
}

// makeDir makes the directory, and warns of one that others may enter.
func makeDir(o Options) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making directory %s: %w", o.Dir, err)
	}
	info, err := os.Stat(o.Dir)
	if err != nil {
		return fmt.Errorf("looking at directory %s: %w", o.Dir, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && permissionsCount {
		o.Logger.Warn("others may read the data directory: chmod 700 closes it",
			slog.String("directory", o.Dir), slog.String("mode", mode.String()))
	}
	return nil
}

// Close waits for running calls and lets go of the directory.
func (s *Store) Close() error {
	removePID(s.dir)
	return s.Engine.Close()
}

// Dir returns the directory of the store.
func (s *Store) Dir() string { return s.dir }

// Write implements store.Directory. Where the disk is full, a write that does
// nothing but end keys is made all the same, out of the reserve.
func (s *Store) Write(ctx context.Context, m store.Mutations) (uint64, error) {
	revision, err := s.Engine.Write(ctx, m)
	switch {
	case err == nil:
		s.reserve.refill()
	case isFull(err) && endsKeys(m) && s.reserve.release():
		s.options.Logger.Error("disk is full: ending keys out of the reserve", slog.String("directory", s.dir))
		return s.Engine.Write(ctx, m)
	}
	return revision, err
}

// openFile opens the database for this process alone. Foreign files are found
// out by reading, before bbolt could write to them.
func openFile(ctx context.Context, path string, wait time.Duration) (*bolt.DB, error) {
	if err := inspect(path); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	read, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: wait})
	if err != nil {
		return nil, explain(path, err)
	}
	err = checkSchema(&tree{db: read, path: path})
	if err = errors.Join(err, read.Close()); err != nil {
		return nil, err
	}
	db, err := openBolt(path, &bolt.Options{
		Timeout:         wait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mmapSize,
	})
	if err != nil {
		return nil, explain(path, err)
	}
	return db, nil
}

// mmapSize is how much of the address space is set aside, so that the file may
// grow without waiting for readers. It is no memory.
const mmapSize = int((1 << 30) * (^uint(0) >> 63)) // none on 32 bits

// create makes an empty database where there is none. It is linked into its
// place when it is complete: a crash leaves no half of one.
func create(path string) error {
	if _, err := os.Lstat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), spoolPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, FileName)
	db, err := bolt.Open(fresh, 0o600, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(begin), db.Close()); err != nil {
		return err
	}
	if err := os.Link(fresh, path); err != nil && !errors.Is(err, os.ErrExist) {
		// Some file systems know no links: a rename does as well, but for two
		// processes that begin in the same instant.
		if err := os.Rename(fresh, path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

// removeSpools removes what interrupted backups and beginnings left.
func (s *Store) removeSpools() {
	left, _ := filepath.Glob(filepath.Join(s.dir, spoolPrefix+"*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && permissionsCount { // Windows cannot
		return err
	}
	return nil
}
