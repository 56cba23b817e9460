// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestABackupUnderLoadIsRestoredAsDocumented makes a backup while requests run
// and keys are made, and restores it twice: into a new directory, where the
// counts are those of a moment of the backup, and over the old one, where what
// was revoked and erased since stays so.
func TestABackupUnderLoadIsRestoredAsDocumented(t *testing.T) {
	t.Parallel()
	const options = "default_plan p\nplan p {\n quota 3000/month\n }"
	u := newUpstream(t)
	g := start(t, u, options, "keytoll")
	type record struct {
		secret        string
		before, after int64 // usage
	}
	keys := make(map[string]*record)
	var ids []string
	for i := range 4 {
		key, secret := g.Mint(object{"customer": fmt.Sprintf("c%d@example.com", i)})
		keys[key], ids = &record{secret: secret}, append(ids, key)
	}
	revokedBefore, gone := g.Mint(object{"customer": "gone@example.com"})
	g.Must("POST", "/v1/keys/"+revokedBefore+"/revoke", nil)
	erased, forgotten := g.Mint(object{"customer": "forgotten@example.com"})
	customer := g.Must("GET", "/v1/keys/"+erased, nil)["customer"].(string)

	// Load: all requests of the four keys, and keys that are made meanwhile.
	var done []func() map[string]int
	for i := range 2 {
		done = append(done, noise(g, g.URL, keys[ids[2*i]].secret, keys[ids[2*i+1]].secret))
	}
	for _, id := range ids {
		g.WaitFor("first requests", func() bool { keys[id].before = g.Used(id); return keys[id].before > 20 })
	}
	archive := filepath.Join(g.Dir, "keytoll.tar")
	code, _, words := g.keytoll("backup", archive, "--admin", g.Admin, "--token-file", filepath.Join(g.Data, "admin.token"))
	if code != 0 {
		t.Fatalf("backup: exit %d, %s", code, words)
	}
	for _, id := range ids {
		keys[id].after = g.Used(id)
	}
	for _, stop := range done {
		for outcome := range stop() {
			if outcome != "allowed" && outcome != "quota_exceeded" {
				t.Errorf("during the backup: %s", outcome)
			}
		}
	}
	if info, err := os.Stat(archive); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the archive: %v, %v; want a file of its owner's alone", info, err)
	}

	// Since the backup: one revoked, one erased, one made.
	revokedAfter := ids[0]
	g.Must("POST", "/v1/keys/"+revokedAfter+"/revoke", nil)
	g.Must("DELETE", "/v1/customers/"+customer, nil)
	_, late := g.Mint(object{"customer": "late@example.com"})

	// Into a new directory.
	u2 := newUpstream(t)
	fresh := &gateway{rig.New(t)}
	if code, _, words := fresh.keytoll("restore", archive, "--dir", fresh.Data); code != 0 {
		t.Fatalf("restore: exit %d, %s", code, words)
	}
	if code, said, words := fresh.keytoll("check", "--dir", fresh.Data); code != 0 {
		t.Errorf("check of what was restored: exit %d, %s%s", code, said, words)
	}
	fresh.Configure(u2.URL, options, "keytoll")
	fresh.Run()
	fresh.StopAtEnd()
	for _, id := range ids {
		r := keys[id]
		used := fresh.Used(id)
		if used < r.before || used > r.after {
			t.Errorf("usage of %s: got %d, want what it was during the backup, %d to %d", id, used, r.before, r.after)
		}
		if got := fresh.Get("/", r.secret); got != http.StatusOK {
			t.Errorf("%s: got %d, want 200", id, got)
		}
		if got := fresh.Used(id); got != used+1 {
			t.Errorf("usage of %s after one more: got %d, want %d", id, got, used+1)
		}
	}
	for name, c := range map[string]struct {
		secret string
		want   int
	}{
		"revoked before it":          {gone, 403},
		"erased since, nobody knows": {forgotten, 200},
		"made since":                 {late, 403},
	} {
		if got := fresh.Get("/", c.secret); got != c.want {
			t.Errorf("in the new directory, a key %s: got %d, want %d", name, got, c.want)
		}
	}
	// A quota goes on from there, it does not begin anew.
	last := ids[3]
	left := 3000 - fresh.Used(last)
	statuses := fresh.storm(4, int(left)+50, func(int) (string, string) { return "/", keys[last].secret })
	if statuses[200] != left || statuses[429] != 50 {
		t.Errorf("with %d left of the quota: got %v", left, statuses)
	}

	// Over the old directory, which a running process holds first.
	code, _, words = g.keytoll("restore", archive, "--dir", g.Data, "--yes")
	if code == 0 || !strings.Contains(words, "in use") {
		t.Errorf("restore under a running gateway: exit %d, %s", code, words)
	}
	g.Stop()
	if code, _, words := g.keytoll("restore", archive, "--dir", g.Data, "--yes"); code != 0 {
		t.Fatalf("restore over the old directory: exit %d, %s", code, words)
	}
	g.Run()
	for name, c := range map[string]struct {
		secret string
		want   int
	}{
		"revoked before it": {gone, 403},
		"revoked since":     {keys[revokedAfter].secret, 403},
		"erased since":      {forgotten, 403},
		"made since":        {late, 403},
		"of then":           {keys[ids[1]].secret, 200},
	} {
		if got := g.Get("/", c.secret); got != c.want {
			t.Errorf("over the old directory, a key %s: got %d, want %d", name, got, c.want)
		}
	}
}
