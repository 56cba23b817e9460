// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store/boltstore"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func TestKeysOfAnotherSystemAreImported(t *testing.T) {
	h := newHouse(t)
	old := "sk_live_" + strings.Repeat("ab", 32)
	file := write(t, "keys.csv", "\ufeffHash,secret,email,name,customer_plan,used,allowed_ips\n"+
		hashOf(old)+",,ops@lumen.app,Old,pro,12,\n"+
		",s3cret-of-yesterday,dev@northwind.io,Older,,995,192.0.2.0/24 198.51.100.7\n"+
		"nonsense,,dev@northwind.io,Broken,,,\n")
	dry := h.run("", "keys", "import", "--file", file, "--dry-run")
	if dry.code != Failed || !strings.Contains(dry.err, "Would import 2 keys and 2 customers; 0 were there already, 1 lines are wrong.") ||
		!strings.Contains(dry.err, "line 4: hash") {
		t.Errorf("a dry run: got %d, %s", dry.code, dry.err)
	}
	if r := h.run("", "keys", "list", "--json"); r.out != "[]\n" {
		t.Errorf("a dry run has imported %s", r.out)
	}
	if r := h.run("", "keys", "import", "--file", file); r.code != Failed || !strings.Contains(r.err, "Imported 2 keys and 2 customers") {
		t.Errorf("got %d, %s", r.code, r.err)
	}
	if r := h.run("", "keys", "import", "--file", file); !strings.Contains(r.err, "Imported 0 keys and 0 customers; 2 were there already") {
		t.Errorf("again: got %d, %s", r.code, r.err)
	}
	if got := h.call(old, "/"); got != "allowed" {
		t.Errorf("the imported secret got %s", got)
	}
	for range 5 {
		h.call("s3cret-of-yesterday", "/")
		h.advance(time.Minute)
	}
	if got := h.call("s3cret-of-yesterday", "/"); got != "quota_exceeded" {
		t.Errorf("995 of 1000 were used before, 5 since: got %s, want quota_exceeded", got)
	}
	lines := h.run(fmt.Sprintf(`{"hash":%q,"customer":"x@y.z"}`+"\n", hashOf("one")), "keys", "import", "--file", "-", "--json")
	if lines.code != Done || strings.Count(lines.out, "\n") != 2 || !strings.Contains(lines.out, `"object":"import_summary"`) {
		t.Errorf("NDJSON: got %d, %s%s", lines.code, lines.out, lines.err)
	}
}

func TestABackupAppearsWholeOrNotAtAll(t *testing.T) {
	h := newHouse(t)
	file := filepath.Join(t.TempDir(), "backup.tar")
	h.must("backup", file)
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "the backup" {
		t.Fatalf("got %q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer broken.Close()
	r := h.runEnv(Env{}, "", "backup", file, "--admin", broken.URL)
	if r.code != Failed || !strings.Contains(r.err, "broke off") {
		t.Errorf("a broken backup: got %d, %s", r.code, r.err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "the backup" {
		t.Errorf("a broken backup has replaced the old one by %q, %v", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
	if r := h.run("", "backup", "-"); r.out != "the backup" {
		t.Errorf("to stdout: got %q", r.out)
	}
}

func TestADirectoryIsCheckedCompactedAndRestored(t *testing.T) {
	ctx, dir, now := context.Background(), t.TempDir(), func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }
	db, err := boltstore.Open(ctx, boltstore.Options{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if r := newHouse(t).run("", "check", "--dir", dir); r.code != Failed || !strings.Contains(r.err, "in use") {
		t.Errorf("a directory that is in use: got %d, %s", r.code, r.err)
	}
	backup := filepath.Join(t.TempDir(), "backup.tar")
	out, err := os.Create(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(ctx, out, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{out, db} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, tokenName), []byte("kta_kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"check", "--dir", dir}, Done, "is whole"},
		{[]string{"compact", "--dir", dir, "--offline"}, Done, "Compacted"},
		{[]string{"restore", backup, "--dir", dir}, WrongUsage, "say --yes"},
		{[]string{"restore", backup, "--dir", dir, "--yes"}, Done, "What was there is in"},
		{[]string{"check", "--dir", dir, "--json"}, Done, ""},
		{[]string{"restore", filepath.Join(dir, tokenName), "--dir", dir, "--yes"}, Failed, "nothing was changed"},
		{[]string{"check", "--dir", filepath.Join(dir, "none")}, Failed, "none"},
	} {
		if r := h.run("", c.args...); r.code != c.code || !strings.Contains(r.err, c.says) {
			t.Errorf("%v: got %d, %s, want %d, %s", c.args, r.code, r.err, c.code, c.says)
		}
	}
	if token, err := os.ReadFile(filepath.Join(dir, tokenName)); err != nil || string(token) != "kta_kept\n" {
		t.Errorf("the admin token is %q, %v", token, err)
	}
}

// devServer says what dev would run, and serves the admin API where it would.
func (h *house) devServer(ran *string) func(context.Context, string) (func() error, error) {
	return func(_ context.Context, caddyfile string) (func() error, error) {
		*ran = caddyfile
		_, rest, _ := strings.Cut(caddyfile, "\t\tadmin ")
		address, _, _ := strings.Cut(rest, "\n")
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		server := &http.Server{Handler: h.server, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
		return server.Close, nil
	}
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestDevPutsTheGateBeforeAnAPI(t *testing.T) {
	h := newHouse(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	to := strings.TrimPrefix(backend.URL, "http://")
	var secrets []string
	for _, state := range []string{"answers (418, ", "does not answer"} {
		listen, admin, config := freeAddress(t), freeAddress(t), ""
		h.until = "Ctrl+C"
		r := h.runEnv(Env{Serve: h.devServer(&config)}, "", "dev", "--to", to, "--listen", listen, "--admin", admin, "--dir", h.dir)
		h.until = ""
		if _, port, _ := net.SplitHostPort(listen); !strings.Contains(config, "http://:"+port+" {") {
			t.Errorf("port %s is not in the configuration:\n%s", port, config)
		}
		for _, line := range []string{"storage bbolt " + h.dir, "admin " + admin, "reverse_proxy " + to, "bind 127.0.0.1", "request>headers>X-Api-Key delete"} {
			if !strings.Contains(config, line) {
				t.Errorf("the configuration has no %q:\n%s", line, config)
			}
		}
		for _, text := range []string{
			"Backend    http://" + to + "   " + state, "Your API   http://" + listen, "Dashboard  http://" + admin, "plan free: 1,000 a month, 10 a minute",
			"curl -H \"Authorization: Bearer sk_test_", "Stop with Ctrl+C.",
		} {
			if !strings.Contains(r.out, text) {
				t.Errorf("%q is not in:\n%s%s", text, r.out, r.err)
			}
		}
		_, rest, _ := strings.Cut(r.out, "Test key   ")
		secret, _, _ := strings.Cut(rest, "\n")
		secrets = append(secrets, secret)
		backend.Close()
	}
	if lines := strings.Count(h.must("keys", "list"), "\n"); lines != 1 {
		t.Errorf("two starts made %d keys, want 1", lines)
	}
	for _, secret := range secrets {
		if got := h.call(secret, "/"); got != "allowed" {
			t.Errorf("the test key got %s", got)
		}
	}
}

func TestDevNamesThePortThatIsTaken(t *testing.T) {
	h := newHouse(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	config := ""
	env := Env{Serve: h.devServer(&config)}
	r := h.runEnv(env, "", "dev", "--to", "localhost:1", "--listen", taken.Addr().String(), "--admin", freeAddress(t))
	if r.code != Refused || !strings.Contains(r.err, "Port "+port+" is in use") || !strings.Contains(r.err, "Use --listen :") {
		t.Errorf("got %d, %s", r.code, r.err)
	}
	r = h.runEnv(env, "", "dev", "--to", "localhost:1", "--listen", freeAddress(t), "--admin", taken.Addr().String())
	if r.code != Refused || !strings.Contains(r.err, "Use --admin 127.0.0.1:") {
		t.Errorf("got %d, %s", r.code, r.err)
	}
	for _, args := range []string{"", "--to|a b", "--to|ftp://x", "--to|x:1|--listen|8080", "--to|x:1|--listen|:http", "--to|x:1|--admin|192.0.2.1:1", "--to|x:1|--plan|gold", "--to|x:1|--dir|a b"} {
		if r := h.runEnv(env, "", append([]string{"dev"}, strings.FieldsFunc(args, func(r rune) bool { return r == '|' })...)...); r.code != WrongUsage {
			t.Errorf("%s: got %d, %s", args, r.code, r.err)
		}
	}
	if config != "" {
		t.Error("something was started")
	}
}

func TestUpstreamsAreWrittenAsProxiesTakeThem(t *testing.T) {
	for to, want := range map[string]string{
		"localhost:3000": "localhost:3000", "localhost": "localhost:80", "http://localhost:3000/": "localhost:3000",
		"https://api.internal": "https://api.internal:443", "[::1]:3000": "[::1]:3000", "192.0.2.1:1": "192.0.2.1:1",
	} {
		if got, err := Upstream(to); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", to, got, err, want)
		}
	}
	for _, to := range []string{"", ":3000", "a b", "ftp://x", "http://u:p@x", "x/y", "x?y", "{x}", "http://"} {
		if got, err := Upstream(to); err == nil {
			t.Errorf("%q: got %s, want an error", to, got)
		}
	}
}
