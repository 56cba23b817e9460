// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestARestoreBringsBackCountsButNoRevokedKey backs up under load, goes on, and
// restores: what was revoked since stays so, and quotas are what the backup and
// its slots say.
func TestARestoreBringsBackCountsButNoRevokedKey(t *testing.T) {
	withinOneMonth(t)
	u := newUpstream(t)
	g := newGateway(t, u)
	g.Run()
	r := dice(t.Name())
	c := &campaign{t: t, accused: g, upstream: u, dice: r}
	for round, end := range []func(){g.Stop, g.Kill} {
		c.open()
		doomed := c.accounts[0]
		l := &load{t: t, url: g.URL, accounts: c.accounts}
		l.run(r, clients)
		g.WaitFor("load", func() bool { return l.requests.Load() > 100 })
		before := g.counts(c.accounts)
		backup := filepath.Join(g.Dir, "backup.tar")
		if err := g.backup(backup); err != nil {
			t.Fatal(err)
		}
		after := g.counts(c.accounts)
		g.Must(http.MethodPost, "/v1/keys/"+doomed.keys[0]+"/revoke", nil)
		late, _ := g.Mint(rig.Object{"customer": "late@example.com"})
		reached := l.requests.Load() + 100
		g.WaitFor("more load", func() bool { return l.requests.Load() > reached })
		l.end()
		end()

		restore := exec.Command(rig.Binary(t), "keytoll", "restore", backup, "--dir", g.Data, "--yes")
		restore.Env = g.Env()
		if out, err := restore.CombinedOutput(); err != nil {
			t.Fatalf("round %d: restoring: %v\n%s", round, err, out)
		}
		g.Run()
		if got := g.Must(http.MethodGet, "/v1/keys/"+doomed.keys[0], nil)["status"]; got != "revoked" {
			t.Errorf("round %d: a key revoked after the backup is %v", round, got)
		}
		if got := g.try(doomed); got != http.StatusForbidden {
			t.Errorf("round %d: a key revoked after the backup gets %d, want 403", round, got)
		}
		if status, _ := g.Call(http.MethodGet, "/v1/keys/"+late, nil); status != http.StatusNotFound {
			t.Errorf("round %d: a key made after the backup: got %d, want 404", round, status)
		}
		for i, now := range g.counts(c.accounts) {
			a := c.accounts[i]
			// A refund between a look and the backup lowers what is used.
			if now.used < before[i].used-clients*heavyCost || now.used > after[i].used+clients*heavyCost {
				t.Errorf("round %d: %s: used is %d, want what it was at the backup: %d to %d", round, a.name, now.used, before[i].used, after[i].used)
			}
			if now.billed < before[i].billed || now.billed > after[i].billed {
				t.Errorf("round %d: %s: billed is %d, want what it was at the backup: %d to %d", round, a.name, now.billed, before[i].billed, after[i].billed)
			}
			if a == doomed {
				continue
			}
			fresh := &load{t: t, url: g.URL, statuses: make(map[int]int64)}
			passed := a.forwarded.Load()
			fresh.drain(a)
			if passed = a.forwarded.Load() - passed; passed != a.bound-now.used {
				t.Errorf("round %d: %s: %d units passed after the restore, want the %d that were left", round, a.name, passed, a.bound-now.used)
			}
		}
	}
	g.Stop()
}

func (g *gateway) counts(accounts []*account) (all []counted) {
	g.T.Helper()
	for _, a := range accounts {
		all = append(all, g.count(a))
	}
	return all
}

// backup streams one into a file.
func (g *gateway) backup(path string) error {
	req, err := http.NewRequest(http.MethodGet, g.Admin+"/v1/backup", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	res, err := g.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}
