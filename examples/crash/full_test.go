// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// smallDisk mounts an ext4 of so many MiB until the test ends, and returns where.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no small disk of its own: %v: %v %s; what a full disk does inside is tested by injected errors", command, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return at
}

// fill takes all that is left of a disk, down to the last block.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1024; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	_ = f.Sync()
}

func TestAFullDiskCostsNoAcknowledgedWriteAndEndsByItself(t *testing.T) {
	withinOneMonth(t)
	disk := smallDisk(t, 96)
	u := newUpstream(t)
	g := newGateway(t, u)
	g.Data = filepath.Join(disk, "data")
	g.Configure(u.URL, options()+"plan wide {\nquota 10M/month\n}\n", site)
	g.Run()
	t.Cleanup(g.Stop)

	accounts := enrolWide(g, u, 4)
	idle := enrolWide(g, u, 30) // not used before the disk is full
	var doomed []*account
	for range 8 {
		doomed = append(doomed, enrolWide(g, u, 1)...)
	}
	w := &writes{g: g}
	l := &load{t: t, url: g.URL, accounts: accounts}
	l.run(dice(t.Name()), clients)
	g.WaitFor("load", func() bool { return l.requests.Load() > 200 })

	fill(t, filepath.Join(disk, "filler"))
	refused, served, unavailable := 0, l.requests.Load(), 0
	deadline := time.Now().Add(*full)
	for i := 0; time.Now().Before(deadline); i++ {
		status, answer, err := g.Try(http.MethodPost, "/v1/keys", rig.Object{"customer": "full@example.com"})
		switch {
		case err != nil:
			t.Errorf("minting a key on a full disk: %v", err)
		case status == http.StatusCreated:
			w.minted = append(w.minted, answer["id"].(string))
		case status < 500:
			t.Errorf("minting a key on a full disk: %d %v", status, answer)
		default:
			refused++
		}
		if i < len(doomed) {
			a := doomed[i]
			if status, answer, err := g.Try(http.MethodPost, "/v1/keys/"+a.keys[0]+"/revoke", nil); err != nil || status != http.StatusOK {
				t.Errorf("revoking on a full disk, after %d: %d %v %v", i, status, answer, err)
				continue
			}
			w.revoked = append(w.revoked, a.keys[0])
			if got := g.try(a); got != http.StatusForbidden {
				t.Errorf("a key revoked on a full disk gets %d, want 403", got)
			}
		}
		if i < len(idle)-1 {
			switch got := g.try(idle[i]); got {
			case http.StatusOK:
			case http.StatusServiceUnavailable:
				unavailable++
			default:
				t.Errorf("a key used for the first time on a full disk gets %d, want 200 or 503", got)
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	served = l.requests.Load() - served
	if refused == 0 {
		t.Error("the disk was not full: every key was minted")
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	g.WaitFor("service on a disk with room again", func() bool { return g.try(idle[len(idle)-1]) == http.StatusOK })
	g.WaitFor("minting on a disk with room again", func() bool {
		status, _, err := g.Try(http.MethodPost, "/v1/keys", rig.Object{"customer": "full@example.com"})
		return err == nil && status == http.StatusCreated
	})
	l.end()
	l.check()
	for _, when := range []string{"after the disk was full", "after a kill"} {
		for _, a := range append(accounts, idle...) {
			convicted(t, when, judge(a, g.count(a), slack{unbilled: a.lost.Load() + a.hungUp.Load(), quota: a.lost.Load() + a.hungUp.Load(), exact: true}))
		}
		w.check()
		g.Kill()
		g.Run()
	}
	if log, err := os.ReadFile(filepath.Join(g.Dir, "log")); err != nil || bytes.Contains(log, []byte("panic")) || bytes.Contains(log, []byte("SIGBUS")) {
		t.Errorf("the log tells of a panic (%v):\n%s", err, g.Log())
	}
	figures.set("full disk: for", full.String())
	figures.set("full disk: requests meanwhile", served)
	figures.set("full disk: admin writes refused by a fault", int64(refused))
	figures.set("full disk: keys revoked meanwhile", int64(len(w.revoked)))
	figures.set("full disk: first requests of a key refused by 503", int64(unavailable))
}

// enrolWide makes accounts whose quota is not going to be spent.
func enrolWide(g *gateway, u *upstream, n int) (accounts []*account) {
	for range n {
		a := &account{name: fmt.Sprintf("wide-%d", serial.Add(1)), plan: "wide", bound: 10_000_000}
		g.enrol(a)
		u.open(a)
		accounts = append(accounts, a)
	}
	return accounts
}

// try sends one request of an account and returns its status.
func (g *gateway) try(a *account) int {
	g.T.Helper()
	l := &load{t: g.T, url: g.URL, statuses: make(map[int]int64)}
	status, err := l.send(g.Client, a, a.secrets[0], plainPath, "")
	if err != nil {
		g.T.Error(err)
	}
	return status
}
