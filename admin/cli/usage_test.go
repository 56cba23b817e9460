// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongCallsSayWhatToWriteInstead(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"key", WrongUsage, "Did you mean: caddy keytoll keys"},
		{"keys|creat", WrongUsage, "Did you mean: caddy keytoll keys create"},
		{"keys|frobnicate", WrongUsage, "See: caddy keytoll keys --help"},
		{"keys|list|--nope", WrongUsage, "See: caddy keytoll keys list --help"},
		{"keys|list|--limit|0", WrongUsage, "--limit is at least 1"},
		{"keys|list|--limit|many", WrongUsage, "keys list --help"},
		{"keys|list|--sort|size", WrongUsage, "--sort is created, used or last-used"},
		{"keys|list|--status|dead", WrongUsage, "status"},
		{"keys|show", WrongUsage, "caddy keytoll keys show <id|start|->"},
		{"keys|show|a|b", WrongUsage, "caddy keytoll keys show <id|start|->"},
		{"keys|create", WrongUsage, "--customer dev@example.com"},
		{"keys|create|--customer|a@b.c|--rate|fast", WrongUsage, "--rate is as 50/second"},
		{"keys|create|--customer|a@b.c|--burst|5", WrongUsage, "--burst belongs to a --rate"},
		{"keys|create|--customer|a@b.c|--rate|1/s|--rate|2/m|--burst|5", WrongUsage, "--burst belongs to one --rate"},
		{"keys|create|--customer|a@b.c|--quota|lots", WrongUsage, "--quota is a count a month"},
		{"keys|create|--customer|a@b.c|--expires|soon", WrongUsage, "--expires is never, a duration as 90d"},
		{"keys|create|--customer|a@b.c|--meta|x", WrongUsage, "--meta is name=value"},
		{"keys|create|--customer|a@b.c|--ip|somewhere", WrongUsage, "allowed_ips[0]"},
		{"keys|create|--customer|a@b.c|--plan|gold", WrongUsage, "gold"},
		{"keys|create|--customer|nobody", NotFound, "nobody"},
		{"keys|update|key_1", WrongUsage, "What is to change?"},
		{"keys|update|key_1|--name|x", NotFound, "No key key_1"},
		{"keys|rotate|key_1|--keep-old|soon", WrongUsage, "--keep-old is a duration"},
		{"keys|import", WrongUsage, "--file keys.csv"},
		{"keys|import|--file|missing.csv", WrongUsage, "missing.csv"},
		{"keys|import|--file|-|--hash|md5", WrongUsage, "--hash is sha256"},
		{"customers|create", WrongUsage, "--email dev@example.com"},
		{"customers|show|nobody@example.com", NotFound, "No customer nobody@example.com"},
		{"plans|show|gold", NotFound, "No plan gold"},
		{"usage|--by|colour", WrongUsage, "--by is outcome"},
		{"usage|--from|soon", WrongUsage, "--from is a time"},
		{"usage|--from|2027-01-01", WrongUsage, "from"},
		{"denials|--since|soon", WrongUsage, "--since is a time"},
		{"audit|--customer|nobody", NotFound, "No customer nobody"},
		{"tokens|create|--name|x", WrongUsage, "--role provision"},
		{"restore|missing.tar", WrongUsage, "Say --dir"},
		{"check", WrongUsage, "Say --dir"},
		{"init|x|--to|localhost:1/path", WrongUsage, "has a path"},
		{"init|x|--site|a b", WrongUsage, "--site cannot be written"},
		{"status|--color|blue", WrongUsage, "--color is auto, always or never"},
	} {
		r := h.run("", strings.Split(c.args, "|")...)
		if r.code != c.code || !strings.Contains(r.err, c.says) || r.out != "" {
			t.Errorf("%s: got %d, %q on stdout and %q, want %d and %q", c.args, r.code, r.out, r.err, c.code, c.says)
		}
	}
}

func TestErrorsAreJSONWhereThatIsWanted(t *testing.T) {
	h := newHouse(t)
	for _, args := range [][]string{{"keys", "show", "key_404", "--json"}, {"keys", "list", "--sort", "size", "--json"}, {"keys", "list", "--json", "--nope"}} {
		r := h.run("", args...)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(r.err), &body); err != nil || body.Error.Code == "" || body.Error.Message == "" || r.out != "" {
			t.Errorf("%v: got %q on stderr: %v", args, r.err, err)
		}
	}
	if r := h.run("", "keys", "list", "--json"); r.out != "[]\n" {
		t.Errorf("an empty list: got %q, want []", r.out)
	}
}

func TestASecretIsNoArgument(t *testing.T) {
	h := newHouse(t)
	secret := h.must("keys", "create", "--customer", "dev@northwind.io", "--quiet")
	foreign := "sk_live_" + strings.Repeat("0a", 32)
	for _, args := range [][]string{
		{"keys", "show", secret},
		{"keys", "revoke", secret, "--yes"},
		{"explain", secret},
		{"keys", "show", foreign},
		{"keys", "list", "--q", secret},
		{"usage", "--key", secret},
		{"denials", "--key", secret},
	} {
		r := h.run("", args...)
		if r.code != WrongUsage || !strings.Contains(r.err, "A secret is no argument") || strings.Contains(r.err+r.out, secret[8:]) {
			t.Errorf("%v: got %d, %s%s", args[:2], r.code, r.out, r.err)
		}
	}
	for _, args := range [][]string{{"keys", "show", "-"}, {"explain", "-"}} {
		if r := h.run(secret+"\n", args...); r.code != Done || !strings.Contains(r.out, "dev@northwind.io") || strings.Contains(r.out+r.err, secret) {
			t.Errorf("%v by stdin: got %d, %s%s", args, r.code, r.out, r.err)
		}
	}
	if r := h.run("", "keys", "show", "-"); r.code != WrongUsage {
		t.Errorf("nothing on stdin: got %d, want %d", r.code, WrongUsage)
	}
	if r := h.run("guess\n", "explain", "-"); r.code != NotFound {
		t.Errorf("an unknown secret: got %d, want %d", r.code, NotFound)
	}
}

func TestWhatDestroysAsksFirst(t *testing.T) {
	h := newHouse(t)
	start := h.must("keys", "create", "--customer", "dev@northwind.io", "--name", "Production", "--quiet")[:12]
	for _, args := range [][]string{
		{"keys", "revoke", start}, {"keys", "rotate", start, "--keep-old", "0"}, {"customers", "delete", "dev@northwind.io"}, {"tokens", "revoke", "tok_1"},
	} {
		if r := h.run("y\n", args...); r.code != WrongUsage || !strings.Contains(r.err, "say --yes") {
			t.Errorf("%v in a script: got %d, %s", args, r.code, r.err)
		}
		for _, answer := range []string{"n\n", "\n", "", "maybe\n"} {
			if r := h.run(answer, append([]string{terminal}, args...)...); r.code != Cancelled || !strings.Contains(r.err, "[y/N]") {
				t.Errorf("%v answered with %q: got %d, %s", args, answer, r.code, r.err)
			}
		}
	}
	if r := h.run("", "keys", "show", start, "--json"); !strings.Contains(r.out, `"status": "active"`) {
		t.Errorf("a refused question has done something: %s", r.out)
	}
	r := h.run("y\n", terminal, "keys", "revoke", start)
	if r.code != Done || !strings.Contains(r.err, "Revoke Production, dev@northwind.io (key_") || !strings.Contains(r.err, "last used never? [y/N]") {
		t.Errorf("answered with y: got %d, %s", r.code, r.err)
	}
	if r := h.run("", "keys", "revoke", start, "--yes"); r.code != Done {
		t.Errorf("revoking again: got %d, want it to change nothing: %s", r.code, r.err)
	}
}

func TestARotatedKeyHasTwoSecrets(t *testing.T) {
	h := newHouse(t)
	old := h.must("keys", "create", "--customer", "dev@northwind.io", "--quiet")
	next := h.must("keys", "rotate", old[:12])
	if h.call(old, "/") != "allowed" || h.call(next, "/") != "allowed" {
		t.Error("both secrets are to work for the grace")
	}
	last := h.must("keys", "rotate", next[:12], "--keep-old", "0", "--yes")
	if got := h.call(next, "/"); got != "invalid_key" {
		t.Errorf("after a rotation without grace the old secret got %s", got)
	}
	if got := h.call(last, "/"); got != "allowed" {
		t.Errorf("the new secret got %s", got)
	}
}

func TestTheTokenIsFoundWhereItWasSaid(t *testing.T) {
	h := newHouse(t)
	empty := t.TempDir()
	wrong := filepath.Join(t.TempDir(), "token")
	right := filepath.Join(h.dir, tokenName)
	if err := os.WriteFile(wrong, []byte("kta_wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(token string) Env {
		return Env{Dirs: []string{empty}, Getenv: func(name string) string {
			return map[string]string{"KEYTOLL_ADMIN_TOKEN": token, "KEYTOLL_ADMIN": h.address}[name]
		}}
	}
	for name, c := range map[string]struct {
		env  Env
		args string
		code int
	}{
		"nowhere":                        {env(""), "plans|list", NotAllowed},
		"in the environment":             {env(ownerToken), "plans|list", Done},
		"wrong, in the environment":      {env("kta_wrong"), "plans|list", NotAllowed},
		"in a file":                      {env("kta_wrong"), "plans|list|--token-file|" + right, Done},
		"wrong, in a file":               {env(ownerToken), "plans|list|--token-file|" + wrong, NotAllowed},
		"in a file that is not there":    {env(ownerToken), "plans|list|--token-file|" + wrong + "x", Failed},
		"in the directory":               {env(""), "plans|list|--dir|" + h.dir, Done},
		"in the directory that was said": {env("kta_wrong"), "plans|list|--dir|" + h.dir, Done},
	} {
		if r := h.runEnv(c.env, "", strings.Split(c.args, "|")...); r.code != c.code {
			t.Errorf("%s: got %d, want %d: %s", name, r.code, c.code, r.err)
		}
	}
}

func TestTheTokenOfThisMachineIsNotShownToAnother(t *testing.T) {
	h := newHouse(t)
	r := h.runEnv(Env{}, "", "keys", "list", "--admin", "https://admin.invalid:2021")
	if r.code != NotAllowed || !strings.Contains(r.err, "another machine") {
		t.Errorf("got %d, %s", r.code, r.err)
	}
}

func TestNothingAtTheAddress(t *testing.T) {
	h := newHouse(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, address := range []string{gone.URL, "unix/" + filepath.Join(h.dir, "none.sock")} {
		if r := h.runEnv(Env{}, "", "keys", "list", "--admin", address); r.code != Unreachable || !strings.Contains(r.err, "Start Caddy") {
			t.Errorf("%s: got %d, %s", address, r.code, r.err)
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer other.Close()
	if r := h.runEnv(Env{}, "", "keys", "list", "--admin", other.URL); r.code != Unreachable {
		t.Errorf("another server: got %d, %s", r.code, r.err)
	}
	if r := h.runEnv(Env{}, "", "keys", "list", "--admin", "ftp://x"); r.code != WrongUsage {
		t.Errorf("no address: got %d, %s", r.code, r.err)
	}
}

func TestAnAnswerThatWasLostLosesNoKey(t *testing.T) {
	h := newHouse(t)
	lost := false
	lossy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || lost {
			h.server.ServeHTTP(w, r)
			return
		}
		lost = true
		h.server.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	defer lossy.Close()
	r := h.runEnv(Env{}, "", "keys", "create", "--customer", "dev@northwind.io", "--admin", lossy.URL)
	if r.code != Failed || r.out != "" || !strings.Contains(r.err, "keys rotate key_") {
		t.Errorf("got %d, %q, %s", r.code, r.out, r.err)
	}
	if lines := strings.Count(h.must("keys", "list"), "\n"); lines != 1 {
		t.Errorf("%d keys were made, want 1", lines)
	}
}

func TestNamesCannotDriveATerminal(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[31mb": "a [31mb", "a\tb\nc": "a b c", "a\u202eb": "a b", "süß": "süß"} {
		if got := plainly(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestColourIsLeftOutWhereItIsNotWanted(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		env   map[string]string
		color string
		tty   bool
		want  bool
	}{
		"on a terminal":     {nil, "auto", true, true},
		"in a pipe":         {nil, "auto", false, false},
		"NO_COLOR":          {map[string]string{"NO_COLOR": "1"}, "auto", true, false},
		"a dumb terminal":   {map[string]string{"TERM": "dumb"}, "auto", true, false},
		"never":             {nil, "never", true, false},
		"always, in a pipe": {nil, "always", false, true},
	} {
		env := Env{OutTerminal: c.tty, Getenv: func(name string) string { return c.env[name] }}
		r := h.runEnv(env, "", "status", "--color", c.color, "--admin", h.address)
		if got := strings.Contains(r.out, "\x1b["); got != c.want {
			t.Errorf("%s: coloured %v, want %v", name, got, c.want)
		}
	}
}
