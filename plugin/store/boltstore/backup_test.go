// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func restoreOptions(dir string) RestoreOptions {
	return RestoreOptions{Options: Options{Dir: dir, Now: now, LockWait: 30 * time.Millisecond}, Keep: []string{"admin.token"}}
}

func backup(t *testing.T, s *Store) []byte {
	t.Helper()
	var to bytes.Buffer
	err := s.Backup(context.Background(), &to, func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "slots"), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "slots", "1"), []byte("counters"), 0o600)
	})
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	return to.Bytes()
}

func restore(t *testing.T, dir string, archive []byte) Restored {
	t.Helper()
	done, err := Restore(context.Background(), bytes.NewReader(archive), restoreOptions(dir))
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return done
}

func healthy(t *testing.T, dir string) {
	t.Helper()
	findings, err := Check(context.Background(), dir, nil)
	if err != nil || len(findings) > 0 {
		t.Errorf("check: got %v, %v, want nothing wrong", findings, err)
	}
}

func change(t *testing.T, s *Store, id string, change func(*apikey.Key)) {
	t.Helper()
	k, err := s.Key(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	change(&k)
	if _, err := s.Write(context.Background(), store.Mutations{Keys: []apikey.Key{k}}); err != nil {
		t.Fatal(err)
	}
}

func TestABackupIsRestoredIntoAnEmptyDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 100)
	archive := backup(t, s)
	fill(t, s, 100, 120)
	dir := filepath.Join(t.TempDir(), "new")
	done := restore(t, dir, archive)
	if done.Epoch != 1 || done.Former != "" || done.Unread != nil || done.Backup.Revision != 1 || len(done.Backup.Files) != 2 {
		t.Errorf("got %+v", done)
	}
	healthy(t, dir)
	restored := open(t, dir)
	if n, err := restored.Count(context.Background()); err != nil || n.Customers != 100 {
		t.Errorf("got %+v, %v, want the 100 customers of the backup", n, err)
	}
	if epoch, err := store.Epoch(context.Background(), restored); err != nil || epoch != 1 {
		t.Errorf("got epoch %d, %v, want 1", epoch, err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "slots", "1")); err != nil || string(raw) != "counters" {
		t.Errorf("got %q, %v, want the extra file", raw, err)
	}
}

func TestABackupTakenUnderWritesIsConsistent(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 10)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 10; ; n++ {
			select {
			case <-stop:
				return
			default:
				fill(t, s, n, n+1)
			}
		}
	})
	var archives [][]byte
	for range 3 {
		archives = append(archives, backup(t, s))
	}
	close(stop)
	wg.Wait()
	for _, a := range archives {
		dir := t.TempDir()
		done := restore(t, dir, a)
		healthy(t, dir)
		n, err := open(t, dir).Count(context.Background())
		if err != nil || n.Customers != n.Keys[apikey.Active] || uint64(n.Customers) != done.Backup.Revision+9 {
			t.Errorf("got %+v, %v at revision %d", n, err, done.Backup.Revision)
		}
	}
}

func TestARestoreEndsAgainWhatWasEndedSince(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 20)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Append(ctx, "n", 1, []store.UsageRow{{
		Start: now(), Customer: storetest.ID("cust", 2), Key: storetest.ID("key", 2), UsageCount: store.UsageCount{Requests: 5},
	}}))
	personal := store.Record{Book: store.Audit, Key: []byte("a1"), Value: []byte("dev2@example.com did it")}
	must(s.Commit(ctx, store.Batch{Put: []store.Record{personal}}))
	archive := backup(t, s)

	change(t, s, storetest.ID("key", 1), func(k *apikey.Key) { k.State, k.RevokedAt = apikey.Revoked, now() })
	change(t, s, storetest.ID("key", 5), func(k *apikey.Key) { k.Name = "changed since" })
	c, err := s.Customer(ctx, store.CustomerRef{ID: storetest.ID("cust", 2)})
	must(err)
	c.Email, c.Name, c.ExternalID, c.Metadata, c.ErasedAt = "", "", "", nil, now()
	_, err = s.Write(ctx, store.Mutations{Customers: []customer.Customer{c}})
	must(err)
	must(s.RenameUsage(ctx, c.ID, "erased-1"))
	clean := store.Record{Book: store.Audit, Key: []byte("a1"), Value: []byte("somebody did it")}
	must(s.Commit(ctx, store.Batch{Put: []store.Record{clean, store.Tombstone(clean)}}))
	must(os.WriteFile(filepath.Join(dir, "admin.token"), []byte("token"), 0o600))
	must(s.Close())

	done := restore(t, dir, archive)
	if done.Unread != nil || done.Replayed.Revoked != 1 || done.Replayed.Erased != 1 || done.Replayed.Records != 1 {
		t.Errorf("got %+v, want one of each replayed", done)
	}
	healthy(t, dir)
	s = open(t, dir)
	if k, _ := s.Key(ctx, storetest.ID("key", 1)); k.State != apikey.Revoked {
		t.Errorf("the revoked key is %s after the restore", k.State)
	}
	if k, _ := s.Key(ctx, storetest.ID("key", 5)); k.Name != "Key 5" {
		t.Errorf("got name %q, want that of the backup", k.Name)
	}
	if _, err := s.Customer(ctx, store.CustomerRef{Email: "dev2@example.com"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the erased address: got %v, want ErrNotFound", err)
	}
	rows, err := s.Usage(ctx, store.UsageQuery{Bucket: store.DayBucket, Group: store.ByCustomer, To: now().AddDate(1, 0, 0)})
	if err != nil || len(rows) != 1 || rows[0].Customer != "erased-1" {
		t.Errorf("got usage %+v, %v, want it under the pseudonym", rows, err)
	}
	if raw, _ := s.Read(ctx, store.Audit, []byte("a1")); string(raw) != "somebody did it" {
		t.Errorf("got %q, want no personal data", raw)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "admin.token")); err != nil || string(raw) != "token" {
		t.Errorf("got %q, %v, want what was to be kept", raw, err)
	}
	if _, err := os.Stat(filepath.Join(done.Former, FileName)); err != nil {
		t.Errorf("the former file: %v", err)
	}
	must(s.Close())
	// The tombstones outlive this restore: another one ends the key as well.
	if done := restoreLater(t, dir, archive); done.Epoch != 2 || done.Replayed.Revoked != 1 {
		t.Errorf("got %+v from a second restore, want epoch 2 and the key revoked", done)
	}
}

func restoreLater(t *testing.T, dir string, archive []byte) Restored {
	t.Helper()
	o := restoreOptions(dir)
	o.Now = func() time.Time { return now().Add(time.Minute) }
	done, err := Restore(context.Background(), bytes.NewReader(archive), o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestADamagedBackupChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 30)
	archive := backup(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	flipped := bytes.Clone(archive)
	flipped[len(flipped)/2] ^= 1
	for name, a := range map[string][]byte{
		"nothing":        nil,
		"text":           bytes.Repeat([]byte("no backup\n"), 1000),
		"cut off":        archive[:len(archive)/2],
		"a bit flipped":  flipped,
		"no manifest":    tarOf(t, "keytoll.db", "x"),
		"escaping":       tarOf(t, ManifestName, `{"format":1,"schema":1,"files":[{"name":"../../x","size":1}]}`, "../../x", "x"),
		"no database":    tarOf(t, ManifestName, `{"format":1,"schema":1,"files":[]}`),
		"newer":          tarOf(t, ManifestName, `{"format":1,"schema":2,"files":[]}`),
		"unnamed file":   tarOf(t, ManifestName, `{"format":1,"schema":1,"files":[{"name":"keytoll.db"}]}`, "other", "x"),
		"empty database": tarOf(t, ManifestName, `{"format":1,"schema":1,"files":[{"name":"keytoll.db","size":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`, "keytoll.db", ""),
	} {
		if _, err := Restore(context.Background(), bytes.NewReader(a), restoreOptions(dir)); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
		if after := content(t, dir); !equal(before, after) {
			t.Fatalf("%s: the directory was changed", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Restore(ctx, bytes.NewReader(archive), restoreOptions(dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// tarOf makes an archive of names and contents.
func tarOf(t *testing.T, namesAndContents ...string) []byte {
	t.Helper()
	var to bytes.Buffer
	w := tar.NewWriter(&to)
	for i := 0; i < len(namesAndContents); i += 2 {
		content := namesAndContents[i+1]
		if err := put(w, namesAndContents[i], int64(len(content)), now(), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func TestARestoreIsRefusedWhileAProcessHoldsTheStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 5)
	archive := backup(t, s)
	_, err := Restore(context.Background(), bytes.NewReader(archive), restoreOptions(dir))
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestADamagedStoreIsReplacedAndTheLossIsSaid(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 5)
	archive := backup(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, FileName), 5000); err != nil {
		t.Fatal(err)
	}
	done := restore(t, dir, archive)
	if done.Unread == nil {
		t.Error("nothing is said of the tombstones that could not be read")
	}
	if n, err := open(t, dir).Count(context.Background()); err != nil || n.Customers != 5 {
		t.Errorf("got %+v, %v, want the backup's 5 customers", n, err)
	}
}

func TestASlowReaderOfABackupHoldsNothingUp(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 50)
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(s.Backup(context.Background(), w, nil), w.Close()) }()
	if _, err := io.ReadFull(r, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	// The archive is stuck in the pipe: no transaction may be open now.
	if n := s.tree.db.Stats().OpenTxN; n != 0 {
		t.Errorf("got %d open transactions while the reader rests", n)
	}
	fill(t, s, 50, 60)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, spoolPrefix+"*")); len(left) > 0 {
		t.Errorf("got %v left behind", left)
	}
}
