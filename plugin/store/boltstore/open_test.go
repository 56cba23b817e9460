// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

// refused opens dir, expects an error with all the words, and that nothing in
// the directory has changed.
func refused(t *testing.T, dir string, words ...string) {
	t.Helper()
	before := content(t, dir)
	s, err := Open(context.Background(), Options{Dir: dir, Now: now, LockWait: 20 * time.Millisecond})
	if err == nil {
		s.Close()
		t.Fatal("the store was opened")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want %q in it", err, w)
		}
	}
	if after := content(t, dir); !equal(before, after) {
		t.Error("a refused open changed the directory")
	}
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(raw)
	}
	return files
}

func equal(a, b map[string]string) bool {
	for name := range a {
		if a[name] != b[name] {
			return false
		}
	}
	return len(a) == len(b)
}

// filled makes a store with some records, closes it and returns its file.
func filled(t *testing.T, dir string) string {
	t.Helper()
	s := open(t, dir)
	fill(t, s, 0, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, FileName)
}

func fill(t testing.TB, s store.Engine, from, to int) {
	t.Helper()
	var m store.Mutations
	for n := from; n < to; n++ {
		m.Customers = append(m.Customers, storetest.Customer(n))
		m.Keys = append(m.Keys, storetest.Key(n, storetest.ID("cust", n)))
	}
	if _, err := s.Write(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryHeldByAProcessIsRefusedWithItsName(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	before := time.Now()
	_, err := Open(context.Background(), Options{Dir: dir, Now: now, LockWait: 30 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, FileName)) || !strings.Contains(err.Error(), "this process already") {
		t.Errorf("got %v, want the file and its holder named", err)
	}
	if waited := time.Since(before); waited > 5*time.Second {
		t.Errorf("waited %v", waited)
	}
	if _, err := s.Revision(context.Background()); err != nil {
		t.Errorf("the first store: %v", err)
	}
	// Another process is named by its number and, where it can be had, its name.
	if err := os.WriteFile(filepath.Join(dir, pidName), []byte(strconv.Itoa(os.Getppid())), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), Options{Dir: dir, Now: now, LockWait: 30 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getppid())) {
		t.Errorf("got %v, want process %d named", err, os.Getppid())
	}
}

func TestADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	t.Run("cut to nothing", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Truncate(filled(t, dir), 0); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, FileName, "truncated", "restore")
	})
	t.Run("cut at any page", func(t *testing.T) {
		dir := t.TempDir()
		path := filled(t, dir)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for size := 4096; size < 40_000; size += 4096 {
			if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, FileName, "restore")
		}
	})
	t.Run("not a database", func(t *testing.T) {
		dir := t.TempDir()
		text := bytes.Repeat([]byte("SQLite format 3\x00"), 10_000)
		if err := os.WriteFile(filepath.Join(dir, FileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, FileName, "not a database of keytoll", "move it away")
	})
	t.Run("somebody else's database", func(t *testing.T) {
		dir := t.TempDir()
		db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, &bolt.Options{NoFreelistSync: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("widgets"))
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, FileName, "something else")
	})
	t.Run("of a newer release", func(t *testing.T) {
		dir := t.TempDir()
		setSchema(t, filled(t, dir), current+1)
		refused(t, dir, FileName, "newer release", strconv.Itoa(current+1))
	})
	t.Run("a directory of that name", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), Options{Dir: dir, Now: now}); err == nil || !strings.Contains(err.Error(), FileName) {
			t.Errorf("got %v, want the file named", err)
		}
	})
}

func setSchema(t *testing.T, path string, schema int) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put([]byte(schemaKey), []byte(strconv.Itoa(schema)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestScrambledPagesNeverPanic overwrites pages in the middle of the file: what
// can be read is read, what cannot is an error, and a check finds it.
func TestScrambledPagesNeverPanic(t *testing.T) {
	dir := t.TempDir()
	path := filled(t, dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pages, pageSize, err := newestMeta(bytes.NewReader(whole))
	if err != nil || pages < 40 {
		t.Fatalf("got %d pages, %v", pages, err)
	}
	ctx := context.Background()
	hurt := 0
	for page := int64(2); page < pages; page += 7 {
		broken := bytes.Clone(whole[:pages*pageSize])
		for i := range pageSize {
			broken[page*pageSize+i] = byte(i * 131)
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if findings, err := Check(ctx, dir, nil); err != nil || len(findings) > 0 {
			hurt++
		}
		s, err := Open(ctx, Options{Dir: dir, Now: now, LockWait: 20 * time.Millisecond})
		if err != nil {
			continue
		}
		var q store.KeyQuery
		q.Limit, q.Plan = 500, "free"
		_, _ = s.ListKeys(ctx, q)
		for n := 0; n < 300; n += 10 {
			_, _ = s.Customer(ctx, store.CustomerRef{Email: storetest.Customer(n).Email})
		}
		s.Close()
	}
	if hurt == 0 {
		t.Error("no check found a scrambled page")
	}
}

func TestADirectoryIsMadeForItsOwnerAlone(t *testing.T) {
	if !permissionsCount {
		t.Skip("modes mean nothing here")
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	open(t, dir)
	for name, want := range map[string]os.FileMode{".": 0o700, FileName: 0o600, pidName: 0o600, reserveName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want mode %v", name, info.Mode(), err, want)
		}
	}
	var log bytes.Buffer
	wide := t.TempDir()
	if err := os.Chmod(wide, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), Options{Dir: wide, Now: now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(log.String(), wide) {
		t.Errorf("got %q, want a warning of the open directory", &log)
	}
}

func TestAnOlderSchemaIsMigratedOnceACopyIsMade(t *testing.T) {
	dir := t.TempDir()
	path := filled(t, dir)
	steps := map[int]migration{
		1: func(tx ordered.Tx) error { return tx.Bucket("book_meta").Put([]byte("one"), []byte("1")) },
		2: func(tx ordered.Tx) error { return tx.Bucket("book_meta").Put([]byte("two"), []byte("2")) },
	}
	bad := map[int]migration{1: steps[1], 2: func(ordered.Tx) error { return errors.New("broken step") }}
	opened := func(run func(*tree)) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		run(&tree{db: db, path: path})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	opened(func(tr *tree) {
		if err := migrate(tr, bad, 3); err == nil || !strings.Contains(err.Error(), "broken step") || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("got %v, want the broken step", err)
		}
		if got, _ := schemaOf(tr); got != 1 {
			t.Errorf("got schema %d after a failed migration, want 1", got)
		}
		if err := migrate(tr, map[int]migration{}, 2); err == nil {
			t.Error("a missing step was not missed")
		}
		if err := migrate(tr, steps, 3); err != nil {
			t.Fatal(err)
		}
		got, _ := schemaOf(tr)
		one, _ := ordered.New(tr).Read(context.Background(), store.Meta, []byte("one"))
		two, _ := ordered.New(tr).Read(context.Background(), store.Meta, []byte("two"))
		if got != 3 || string(one)+string(two) != "12" {
			t.Errorf("got schema %d, %q, %q, want 3 by both steps", got, one, two)
		}
	})
	refused(t, dir, "schema 3")
	// The copy opens by the release that wrote it.
	if err := os.Rename(path+".before-schema-3", path); err != nil {
		t.Fatal(err)
	}
	if n, err := open(t, dir).Count(context.Background()); err != nil || n.Customers != 300 {
		t.Errorf("got %+v, %v from the copy, want 300 customers", n, err)
	}
}

func TestSizeTellsFileAndDisk(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 50)
	got, err := s.Size()
	if err != nil || got.File < 32<<10 || got.Disk == 0 || got.Free < 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErasedCustomersLeaveTombstones(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 1)
	c, _ := s.Customer(context.Background(), store.CustomerRef{ID: storetest.ID("cust", 0)})
	c.Email, c.Name, c.ErasedAt = "", "", now()
	if _, err := s.Write(context.Background(), store.Mutations{Customers: []customer.Customer{c}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(context.Background(), store.Tombstones, []byte("customer/"+c.ID)); err != nil {
		t.Errorf("got %v, want a tombstone", err)
	}
}
