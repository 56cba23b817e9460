// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

// smallDisk mounts a file system of some megabytes.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all space that is left, and returns what gives it back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskLosesNothingAndKeysCanStillBeRevoked(t *testing.T) {
	ctx := context.Background()
	disk := smallDisk(t, "size=24m")
	s := open(t, filepath.Join(disk, "data"))
	fill(t, s, 0, 200)
	free := fillDisk(t, disk)
	// Free pages within the file still take some writes; then it ends.
	n := 200
	var err error
	for ; err == nil && n < 20_000; n++ {
		_, err = s.Write(ctx, store.Mutations{Keys: []apikey.Key{storetest.Key(n, storetest.ID("cust", 1))}})
	}
	if !isFull(err) {
		t.Fatalf("got %v after %d keys, want a full disk", err, n)
	}
	made := n - 1 // the last one failed
	if got, err := s.Count(ctx); err != nil || got.Keys[apikey.Active] != int64(made) {
		t.Errorf("reading on a full disk: got %+v, %v, want %d keys", got, err, made)
	}
	for _, n := range []int{3, 4} {
		change(t, s, storetest.ID("key", n), func(k *apikey.Key) { k.State = apikey.Revoked })
	}
	if k, _ := s.Key(ctx, storetest.ID("key", 3)); k.State != apikey.Revoked {
		t.Errorf("got state %s, want revoked", k.State)
	}
	free()
	for i := range 2 * refillEvery {
		if _, err := s.Write(ctx, store.Mutations{Keys: []apikey.Key{storetest.Key(30_000+i, storetest.ID("cust", 1))}}); err != nil {
			t.Fatalf("writing once there is space: %v", err)
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, reserveName)); err != nil || info.Size() != reserveSize {
		t.Errorf("got %v: the reserve was not filled again", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	healthy(t, s.dir)
}
