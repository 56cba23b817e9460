// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestADirectoryOthersMayEnterIsWarnedOfAndTheTokenClosed starts on a data
// directory and a token file that every user of the machine can read.
func TestADirectoryOthersMayEnterIsWarnedOfAndTheTokenClosed(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := &gateway{rig.New(t)}
	if err := os.Mkdir(g.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(g.Data, "admin.token")
	if err := os.WriteFile(token, []byte("a-token-of-the-test-with-many-letters\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g.Configure(u.URL, "", "keytoll")
	g.Run()
	g.StopAtEnd()
	_, secret := g.Mint(object{"customer": "a@example.com"}) // by the token of the file
	if got := g.Get("/", secret); got != http.StatusOK {
		t.Errorf("a request: got %d, want 200", got)
	}
	says(t, g.Log(), "others may read the data directory", "chmod 700", "the admin token could be read by others", token)
	info, err := os.Stat(token)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the token: got %o, want 600", got)
	}
}

// TestWhatIsWrittenIsForItsOwnerAlone looks at a data directory that the
// gateway has made.
func TestWhatIsWrittenIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := start(t, u, "", "keytoll")
	_, secret := g.Mint(object{"customer": "a@example.com"})
	g.Get("/", secret)
	paths, err := filepath.Glob(filepath.Join(g.Data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, g.Data) {
		info, err := os.Stat(path)
		if err != nil {
			continue // it was for a moment only
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o: others may read it", path, mode)
		}
	}
}

// TestDamagedCountersNeverRefillAQuota spoils the files of the slots after a
// stop in order: what was used stays used, or the start is refused by name.
func TestDamagedCountersNeverRefillAQuota(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, file string){
		"cut short": func(t *testing.T, file string) { truncate(t, file, 5000) },
		"emptied":   func(t *testing.T, file string) { truncate(t, file, 0) },
		"gone":      func(t *testing.T, file string) { remove(t, file) },
		"foreign": func(t *testing.T, file string) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, []byte(strings.Repeat("grandmother ", int(info.Size())/12+1)[:info.Size()]))
		},
		"zeroed": func(t *testing.T, file string) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, make([]byte, info.Size()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			g := &gateway{rig.New(t)}
			g.Configure(u.URL, "default_plan free\nplan free {\n quota 10/month\n }", "keytoll")
			g.Run()
			key, secret := g.Mint(object{"customer": "a@example.com"})
			for range 7 {
				g.Get("/", secret)
			}
			g.Stop()
			files, err := filepath.Glob(filepath.Join(g.Data, "slots-*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("files of slots: %v, %v", files, err)
			}
			for _, file := range files {
				spoil(t, file)
			}
			g.Spawn()
			g.WaitFor("readiness or an end", func() bool {
				select {
				case <-g.Exited:
					return true
				default:
				}
				res, err := http.Get(g.Admin + "/readyz")
				if err != nil {
					return false
				}
				defer res.Body.Close()
				return res.StatusCode == http.StatusOK
			})
			select {
			case <-g.Exited:
				says(t, g.Log(), filepath.Base(files[0]), "restore a backup")
				return
			default:
			}
			g.StopAtEnd()
			statuses := g.storm(1, 10, func(int) (string, string) { return "/", secret })
			if got := u.count(key); got > 10 {
				t.Errorf("the upstream answered %d times in all at a quota of 10 (%v after the damage)", got, statuses)
			}
			if strings.Contains(g.Log(), "panic") {
				t.Errorf("it panicked:\n%s", g.Log())
			}
		})
	}
}
