// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestDenialsAreFollowedEachOnce(t *testing.T) {
	h := newHouse(t)
	h.call("", "/first")
	h.call("", "/second")
	h.until = "/second"
	r := h.runEnv(Env{}, "", "denials", "--follow", "--admin", h.address)
	if r.code != Done || strings.Count(r.out, "\n") != 2 || strings.Index(r.out, "/first") > strings.Index(r.out, "/second") {
		t.Errorf("got %d, %s%s", r.code, r.out, r.err)
	}
}

func TestAnInterruptedCommandIsCancelled(t *testing.T) {
	h := newHouse(t)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt) // Ctrl+C
		}
		if err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}))
	defer slow.Close()
	r := h.runEnv(Env{}, "", "keys", "list", "--admin", slow.URL)
	if r.code != Cancelled || r.err != "Cancelled.\n" {
		t.Errorf("got %d, %s", r.code, r.err)
	}
}

func TestAnInterruptThatComesLateLosesNoSecret(t *testing.T) {
	h := newHouse(t)
	h.until = "sk_live_" // the secret is printed, then the words are asked for
	r := h.runEnv(Env{}, "", "keys", "create", "--customer", "dev@northwind.io", "--admin", h.address)
	if r.code != Done || !strings.HasPrefix(r.out, "sk_live_") {
		t.Errorf("a key that was made: got %d, %s%s", r.code, r.out, r.err)
	}
}

func TestShellsCompleteNames(t *testing.T) {
	h := newHouse(t)
	h.must("keys", "create", "--customer", "dev@northwind.io", "--name", "Production", "--quiet")
	for _, c := range []struct{ args, want string }{
		{"keys|show|", "key_"},
		{"keys|show|Prod", "Production"},
		{"customers|show|", "dev@northwind.io"},
		{"keys|create|--plan|", "free\t1,000 a month"},
		{"keys|list|--customer|", "dev@northwind.io"},
		{"usage|--by|", "outcome"},
		{"keys|list|--status|", "revoked"},
		{"", "customers"},
	} {
		args := append([]string{cobra.ShellCompRequestCmd, "keytoll"}, strings.Split(c.args, "|")...)
		out := h.complete(args)
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: got %q, want %q", c.args, out, c.want)
		}
	}
}

// complete asks as a shell does.
func (h *house) complete(args []string) string {
	h.t.Helper()
	var out strings.Builder
	root := &cobra.Command{Use: "caddy"}
	keytoll := &cobra.Command{Use: "keytoll"}
	root.AddCommand(keytoll)
	env := Env{Getenv: func(name string) string {
		return map[string]string{"KEYTOLL_ADMIN": h.address}[name]
	}, Now: h.clock, Dirs: []string{h.dir}, Out: &out, Err: &out, Exit: func(code int) error { return exit(code) }}
	Add(keytoll, env)
	root.SetArgs(slices.Clone(args))
	root.SetOut(&out)
	root.SetErr(&strings.Builder{})
	if err := root.Execute(); err != nil {
		h.t.Fatal(err)
	}
	return out.String()
}
