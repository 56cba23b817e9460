// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestAFullDiskLosesNothingAndRecovers fills the disk under a running gateway.
// What was acknowledged stays, requests are served from what was set aside,
// keys can be revoked; with space again all is as before, without a restart.
func TestAFullDiskLosesNothingAndRecovers(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := &gateway{rig.New(t)}
	smallDisk(t, g.Data)
	g.Configure(u.URL, "default_plan p\nplan p {\n quota 1M/month\n }", "keytoll")
	g.Run()
	g.StopAtEnd()
	_, fresh := g.Mint(object{"customer": "f@example.com"})
	key, secret := g.Mint(object{"customer": "a@example.com"})
	revoked, gone := g.Mint(object{"customer": "b@example.com"})
	acknowledged := map[string]string{key: secret}
	for _, secret := range []string{secret, gone} {
		if got := g.Get("/", secret); got != http.StatusOK {
			t.Fatalf("a request: got %d, want 200", got)
		}
	}

	ballast := filepath.Join(g.Data, "ballast")
	fill(t, ballast)
	refusals := 0
	for i := range 100 { // pages that are free in the file may still take some
		status, answer := g.Call("POST", "/v1/keys", object{"customer": fmt.Sprintf("c%d@example.com", i)})
		switch status {
		case http.StatusCreated:
			acknowledged[answer["id"].(string)] = answer["api_key"].(string)
			fill(t, ballast)
		case http.StatusServiceUnavailable:
			refusals++
		default:
			t.Fatalf("minting on a full disk: %d %v", status, answer)
		}
	}
	if refusals == 0 {
		t.Fatal("a hundred keys were minted on a full disk: it is not full")
	}
	for range 100 {
		if got := g.Get("/", secret); got != http.StatusOK {
			t.Fatalf("a request on a full disk: got %d, want 200 from what is set aside", got)
		}
	}
	// One that was never used has nothing set aside: it may be undecided, not undone.
	if got := g.Get("/", fresh); got != http.StatusOK && got != http.StatusServiceUnavailable {
		t.Errorf("the first request of a key on a full disk: got %d, want 200 or 503", got)
	}
	g.Must("POST", "/v1/keys/"+revoked+"/revoke", nil)
	if got := g.Get("/", gone); got != http.StatusForbidden {
		t.Errorf("a key revoked on a full disk: got %d, want 403", got)
	}
	for _, path := range []string{"/v1/keys", "/v1/keys/" + key + "/usage", "/v1/customers", "/readyz"} {
		if status, answer := g.Call("GET", path, nil); status != http.StatusOK {
			t.Errorf("%s on a full disk: %d %v", path, status, answer)
		}
	}

	remove(t, ballast)
	g.WaitFor("recovery", func() bool {
		status, answer := g.Call("POST", "/v1/keys", object{"customer": "late@example.com"})
		if status == http.StatusCreated {
			acknowledged[answer["id"].(string)] = answer["api_key"].(string)
		}
		return status == http.StatusCreated
	})
	check := func(when string) {
		t.Helper()
		for key, secret := range acknowledged {
			if got := g.Get("/", secret); got != http.StatusOK {
				t.Errorf("%s, acknowledged key %s: got %d, want 200", when, key, got)
			}
			if got, want := g.Used(key), u.count(key); got != want {
				t.Errorf("%s: usage of %s is %d, the upstream answered %d", when, key, got, want)
			}
		}
		if got := g.Get("/", gone); got != http.StatusForbidden {
			t.Errorf("%s, the revoked key: got %d, want 403", when, got)
		}
	}
	check("with space again")
	g.Stop()
	g.Run()
	check("after a restart")
}

// smallDisk mounts a file system of a few megabytes at dir.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("keytoll-test", dir, "tmpfs", 0, "size=24m,mode=700")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("SKIPPED: a disk of its own takes root and the right to mount: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

// fill grows a file until the disk has no byte left.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		size /= 2
	}
}
