// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// ManifestName is the first entry of a backup.
const ManifestName = "manifest.json"

// archiveFormat is the form of the archive itself.
const archiveFormat = 1

// Manifest says what a backup holds.
type Manifest struct {
	Format   int           `json:"format"`
	Schema   int           `json:"schema"`
	Epoch    uint64        `json:"epoch"`
	Revision uint64        `json:"revision"` // of the directory's last write
	Made     time.Time     `json:"made"`
	Files    []BackupEntry `json:"files"`
}

// BackupEntry is one file of a backup.
type BackupEntry struct {
	Name   string `json:"name"` // relative, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // in hex
}

// Backup writes a consistent copy of the store to w while it goes on working:
// a tar archive of a manifest, the database and the files that extra, if not
// nil, puts into the directory it is given. All of it is spooled beside the
// store first, so that a slow w holds nothing up; that needs as much disk space
// as the archive has.
func (s *Store) Backup(ctx context.Context, w io.Writer, extra func(dir string) error) error {
	spool, err := os.MkdirTemp(s.dir, spoolPrefix)
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	defer os.RemoveAll(spool)
	m := Manifest{Format: archiveFormat, Made: s.options.Now().UTC()}
	if err := s.snapshot(ctx, filepath.Join(spool, FileName), &m); err != nil {
		return fmt.Errorf("backing up: copying the database: %w", err)
	}
	if extra != nil {
		if err := extra(spool); err != nil {
			return fmt.Errorf("backing up: %w", err)
		}
	}
	if m.Files, err = list(ctx, spool); err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	if err := archive(ctx, w, spool, m); err != nil {
		return fmt.Errorf("sending the backup: %w", err)
	}
	return nil
}

// snapshot copies the database as it is at one moment, and says in m which.
func (s *Store) snapshot(ctx context.Context, path string, m *Manifest) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = s.tree.db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(stopping{ctx, f})
		return err
	})
	if err = errors.Join(s.tree.explain(err), f.Close()); err != nil {
		return err
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	t := &tree{db: db, path: path}
	err = describe(ctx, t, m)
	return errors.Join(err, db.Close())
}

func describe(ctx context.Context, t *tree, m *Manifest) (err error) {
	if m.Schema, err = schemaOf(t); err != nil {
		return err
	}
	e := ordered.New(t)
	if m.Epoch, err = store.Epoch(ctx, e); err != nil {
		return err
	}
	m.Revision, err = e.Revision(ctx)
	return err
}

// stopping is a writer that fails once ctx has ended.
type stopping struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (s stopping) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// list returns the regular files under dir with their sums.
func list(ctx context.Context, dir string) (entries []BackupEntry, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		sum := sha256.New()
		f, err := root.Open(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := io.Copy(stopping{ctx, sum}, f)
		entries = append(entries, BackupEntry{name, size, hex.EncodeToString(sum.Sum(nil))})
		return err
	})
	return entries, err
}

func archive(ctx context.Context, w io.Writer, dir string, m Manifest) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(stopping{ctx, w})
	if err := put(t, ManifestName, int64(len(raw)), m.Made, strings.NewReader(string(raw))); err != nil {
		return err
	}
	for _, e := range m.Files {
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(e.Name)))
		if err != nil {
			return err
		}
		if err := errors.Join(put(t, e.Name, e.Size, m.Made, f), f.Close()); err != nil {
			return err
		}
	}
	return t.Close()
}

func put(t *tar.Writer, name string, size int64, made time.Time, r io.Reader) error {
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: made})
	if err != nil {
		return err
	}
	_, err = io.Copy(t, r)
	return err
}
