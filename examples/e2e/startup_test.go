// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// nobody is a user without rights, under which root runs what must be refused.
const nobody = "65534"

// refused runs a gateway that must end by itself, without a panic, and returns
// what it said.
func refused(t *testing.T, g *rig.Gateway, wrap ...string) string {
	t.Helper()
	args := append(wrap, rig.Binary(t), "run", "--config", g.Config, "--adapter", "caddyfile")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = g.Env()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		t.Fatalf("it runs on:\n%s", &out)
	}
	if err == nil {
		t.Errorf("exit status: got 0")
	}
	if strings.Contains(out.String(), "panic") || strings.Contains(out.String(), "goroutine ") {
		t.Errorf("it panicked:\n%s", &out)
	}
	return out.String()
}

// says checks that every one of the words is in what was said.
func says(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("%q is not in what was said:\n%s", word, said)
		}
	}
}

func TestMistakesInACaddyfileAreRefusedWithFileLineAndWord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options, site string
		words         []string
	}{
		"an unknown global option":      {options: "frobnicate 3", words: []string{"'frobnicate'", "Caddyfile:8", "default_plan"}},
		"an unknown option of a site":   {site: "keytoll {\n frobnicate 3\n }", words: []string{"'frobnicate'", "Caddyfile:21", "key_from"}},
		"an unknown option of a plan":   {options: "plan a {\n quotas 3/day\n }", words: []string{"'quotas'", "Caddyfile:9"}},
		"a quota of nothing":            {options: "plan a {\n quota 0/month\n }", words: []string{"'0'", "Caddyfile:9"}},
		"a quota that is said twice":    {options: "plan a {\n quota 10/month\n quota 20/month\n }", words: []string{"a quota of requests in a month", "Caddyfile:10"}},
		"a plan that is said twice":     {options: "plan a {\n }\n plan a {\n }", words: []string{"'a'", "twice", "Caddyfile:10"}},
		"a default plan that is none":   {options: "default_plan b\n plan a {\n }", words: []string{"'b'", "Caddyfile:8"}},
		"a maximum where nothing bills": {options: "plan a {\n quota 10/month overage block max 5\n }", words: []string{"'max'", "Caddyfile:9"}},
		"a rate that is no rate":        {options: "plan a {\n rate ten/second\n }", words: []string{"'ten'", "Caddyfile:9"}},
		"a negative burst":              {options: "plan a {\n rate 10/second burst -1\n }", words: []string{"'-1'", "Caddyfile:9"}},
		"an unknown period":             {options: "plan a {\n quota 10/fortnight\n }", words: []string{"'fortnight'", "Caddyfile:9"}},
		"an empty admin token":          {options: "admin 127.0.0.1:0 {\n token \"\"\n }", words: []string{"token", "empty", "Caddyfile:9"}},
		"an admin token not set":        {options: "admin 127.0.0.1:0 {\n token {env.KEYTOLL_TEST_NOT_SET}\n }", words: []string{"token", "KEYTOLL_TEST_NOT_SET", "empty"}},
		"an admin API off loopback":     {options: "admin 0.0.0.0:0", words: []string{"'0.0.0.0:0'", "tls", "plaintext", "Caddyfile:8"}},
		"an admin API on every address": {options: "admin :0", words: []string{"':0'", "tls", "plaintext", "Caddyfile:8"}},
		"two routes of one name":        {site: "keytoll {\n route a /a\n route a /b\n }", words: []string{"'a'", "Caddyfile:22"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := rig.New(t)
			if c.site == "" {
				c.site = "keytoll"
			}
			g.Configure("http://127.0.0.1:1", c.options, c.site)
			if strings.HasPrefix(c.options, "admin ") { // instead of the rig's
				text, err := os.ReadFile(g.Config)
				if err != nil {
					t.Fatal(err)
				}
				own := fmt.Sprintf("admin %s\n", strings.TrimPrefix(g.Admin, "http://"))
				text = bytes.Replace(text, []byte(own), []byte("key_prefix sk\n"), 1)
				if err := os.WriteFile(g.Config, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			says(t, refused(t, g), c.words...)
			if _, err := os.Stat(g.Data); err == nil {
				t.Errorf("it began a storage at %s", g.Data)
			}
		})
	}
}

// TestAStorageThatCannotBeUsedIsRefusedWithAFileAndARemedy spoils a good
// directory in one way after the other.
func TestAStorageThatCannotBeUsedIsRefusedWithAFileAndARemedy(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	good := rig.New(t)
	good.Configure(u.URL, "", "keytoll")
	good.Run()
	good.Mint(object{"customer": "a@example.com"})
	good.Stop()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, data string)
		words []string
	}{
		"a truncated database": {
			func(t *testing.T, data string) { truncate(t, filepath.Join(data, "keytoll.db"), 5000) },
			[]string{"keytoll.db", "truncated", "caddy keytoll restore"},
		},
		"an emptied database": {
			func(t *testing.T, data string) { truncate(t, filepath.Join(data, "keytoll.db"), 0) },
			[]string{"keytoll.db", "truncated", "caddy keytoll restore"},
		},
		"a foreign file": {
			func(t *testing.T, data string) {
				write(t, filepath.Join(data, "keytoll.db"), bytes.Repeat([]byte("a letter to grandmother\n"), 4000))
			},
			[]string{"keytoll.db", "not a database", "move it away"},
		},
		"a directory in the database's place": {
			func(t *testing.T, data string) {
				remove(t, filepath.Join(data, "keytoll.db"))
				if err := os.Mkdir(filepath.Join(data, "keytoll.db"), 0o700); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"keytoll.db", "is a directory", "move"},
		},
		"a newer schema": {
			func(t *testing.T, data string) { newerSchema(t, filepath.Join(data, "keytoll.db")) },
			[]string{"keytoll.db", "schema 99", "newer release"},
		},
		"a file in the directory's place": {
			func(t *testing.T, data string) {
				remove(t, data)
				write(t, data, []byte("a letter to grandmother\n"))
			},
			[]string{"is a file", "storage bbolt"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := rig.New(t)
			g.Configure(u.URL, "", "keytoll")
			if err := os.CopyFS(g.Data, os.DirFS(good.Data)); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, g.Data)
			file := filepath.Join(g.Data, "keytoll.db")
			before := content(file)
			says(t, refused(t, g), c.words...)
			if content(file) != before {
				t.Errorf("%s was changed", file)
			}
		})
	}
}

func TestADirectoryThatCannotBeWrittenIsRefusedWithItsNameAndTheUser(t *testing.T) {
	t.Parallel()
	var wrap []string
	if os.Geteuid() == 0 {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			t.Skip("root may write everywhere, and there is no setpriv to be somebody else")
		}
		wrap = []string{setpriv, "--reuid=" + nobody, "--regid=" + nobody, "--clear-groups"}
	}
	g := rig.New(t)
	g.Configure("http://127.0.0.1:1", "", "keytoll")
	if err := os.Mkdir(g.Data, 0o555); err != nil {
		t.Fatal(err)
	}
	open(t, g.Config, rig.Binary(t))
	says(t, refused(t, g, wrap...), g.Data, "permission denied", "writable")
}

// open lets every user read files, and enter the directories they are in.
func open(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		for ; file != filepath.Dir(file); file = filepath.Dir(file) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if file == os.TempDir() || info.Mode().Perm()&0o005 == 0o005 {
				continue
			}
			if err := os.Chmod(file, info.Mode().Perm()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func truncate(t *testing.T, file string, size int64) {
	t.Helper()
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// newerSchema makes the database one of a release to come.
func newerSchema(t *testing.T, file string) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("book_meta")).Put([]byte("schema"), []byte("99"))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// content returns what is in a file; nothing where there is no file.
func content(file string) string {
	text, _ := os.ReadFile(file)
	return string(text)
}
