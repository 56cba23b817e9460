// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store/memstore"
)

var update = flag.Bool("update", false, "write the golden files anew")

const ownerToken = "kta_the-owner-of-the-tests"

// house is an admin API over real engines in memory, and a command line that
// speaks to it.
type house struct {
	t       *testing.T
	gate    *gate.Gate
	routes  *plan.Routes
	server  *admin.Server
	address string
	dir     string // with the token

	// until, if not empty, is the text after which a command is interrupted.
	until string

	mu  sync.Mutex // guards now
	now time.Time
}

// watched interrupts a command once it has printed a text.
type watched struct {
	bytes.Buffer
	until     string
	interrupt context.CancelFunc
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.until != "" && strings.Contains(w.String(), w.until) {
		w.interrupt()
	}
	return n, err
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func plans() []plan.Plan {
	all := []plan.Plan{
		{
			ID: "free", Source: plan.FromConfig, MaxKeys: 2,
			Rates:  []plan.Rate{{Unit: plan.Requests, Count: 10, Per: time.Minute, Burst: 5, Scope: plan.PerKey}},
			Quotas: []plan.Quota{{Unit: plan.Requests, Limit: 1000, Span: plan.Month, Scope: plan.PerKey, Overage: plan.Block}},
		},
		{
			ID: "pro", Title: "Pro", Source: plan.FromConfig, Scopes: []string{"chat", "images"},
			Rates:       []plan.Rate{{Unit: plan.Requests, Count: 50, Per: time.Second, Burst: 100, Scope: plan.PerKey}},
			Quotas:      []plan.Quota{{Unit: plan.Requests, Limit: 100_000, Span: plan.Month, Scope: plan.PerCustomer, Overage: plan.Bill}},
			Concurrency: plan.Concurrency{Limit: 20, Scope: plan.PerKey},
		},
	}
	for i := range all {
		all[i].Normalize()
	}
	return all
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx := context.Background()
	h := &house{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), dir: t.TempDir()}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(h.dir, 0o700))
	engine := memstore.New()
	m, err := meter.Open(ctx, meter.Options{Journal: engine, Ledger: engine, Node: "test", Now: h.clock})
	check(err)
	h.gate, err = gate.New(ctx, gate.Options{Directory: engine, Journal: engine, Meter: m, Now: h.clock})
	check(err)
	_, err = h.gate.Apply(ctx, gate.Settings{Plans: plans(), DefaultPlan: "free"})
	check(err)
	h.routes, err = plan.CompileRoutes([]plan.Route{{Name: "chat", Pattern: "/chat"}}, false)
	check(err)
	h.server, err = admin.New(admin.Options{
		Store: engine, Gate: h.gate, Meter: m, Now: h.clock, OwnerToken: ownerToken, Version: "test",
		Backup: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "the backup")
			return err
		},
	})
	check(err)
	listener := httptest.NewServer(h.server)
	h.address = listener.URL
	t.Cleanup(func() {
		listener.Close()
		check(errors.Join(h.gate.Close(ctx), m.Close(ctx), engine.Close()))
	})
	check(os.WriteFile(filepath.Join(h.dir, tokenName), []byte(ownerToken+"\n"), 0o600))
	return h
}

// call sends one request with a secret through the gate.
func (h *house) call(secret, path string) string {
	h.t.Helper()
	ctx := context.Background()
	route, err := h.routes.Match("GET", path)
	if err != nil {
		h.t.Fatal(err)
	}
	var ticket gate.Ticket
	refusal, err := h.gate.Admit(ctx, &gate.Call{
		Secret: secret, Route: route, ClientIP: netip.MustParseAddr("192.0.2.1"), Now: h.clock(),
		Method: "GET", Path: path, RequestID: func() string { return "req_1" },
	}, &ticket)
	if err != nil {
		h.t.Fatal(err)
	}
	if refusal != nil {
		return string(refusal.Reason)
	}
	ticket.Settle(gate.Answer{Status: 200})
	ticket.Release()
	return gate.Allowed
}

// exit is how a command ends in tests.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// ran is what became of a command.
type ran struct {
	code     int
	out, err string
}

// terminal is said to run as a person does.
const terminal = "\x00terminal"

// run runs a command as a script does, or as a person where the first argument
// is terminal. What follows in has a newline is typed by the person.
func (h *house) run(in string, args ...string) ran {
	h.t.Helper()
	onTerminal := len(args) > 0 && args[0] == terminal
	if onTerminal {
		args = args[1:]
	}
	return h.runEnv(Env{InTerminal: onTerminal, OutTerminal: onTerminal}, in, append(args, "--admin", h.address)...)
}

func (h *house) runEnv(env Env, in string, args ...string) ran {
	h.t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	out, errs := watched{until: h.until, interrupt: interrupt}, bytes.Buffer{}
	env.In, env.Out, env.Err, env.Now, env.Version = strings.NewReader(in), &out, &errs, h.clock, "test"
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	if env.Dirs == nil {
		env.Dirs = []string{h.dir}
	}
	env.Exit = func(code int) error { return exit(code) }
	root := &cobra.Command{Use: "caddy"}
	keytoll := &cobra.Command{Use: "keytoll", Short: "test"}
	root.AddCommand(keytoll)
	Add(keytoll, env)
	root.SetArgs(append([]string{"keytoll"}, args...))
	root.SetOut(&out)
	root.SetErr(&errs)
	r := ran{}
	if err := root.ExecuteContext(ctx); err != nil {
		var e exit
		if !errors.As(err, &e) {
			h.t.Fatalf("%q ended with %v, which names no code", args, err)
		}
		r.code = int(e)
	}
	r.out, r.err = out.String(), errs.String()
	return r
}

// must runs a command that is to succeed, and returns what it printed.
func (h *house) must(args ...string) string {
	h.t.Helper()
	r := h.run("", args...)
	if r.code != Done {
		h.t.Fatalf("%q ended with %d:\n%s%s", args, r.code, r.out, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

// changing is what differs from run to run.
var changing = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`(key|cust|tok|audit)_[0-9a-z]{24}`), "${1}_…"},
	{regexp.MustCompile(`(sk_(?:live|test)_)[0-9A-Za-z]{49}`), "${1}(secret)"},
	{regexp.MustCompile(`(sk_(?:live|test)_)[0-9A-Za-z]{4}\b`), "${1}star"},
	{regexp.MustCompile(`kta_[0-9A-Z]{52}`), "kta_(token)"},
	{regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`), "http://127.0.0.1:PORT"},
	{regexp.MustCompile(`req_[0-9A-Za-z]+`), "req_…"},
}

// golden compares what a command printed with its golden file.
func (h *house) golden(name string, r ran) {
	h.t.Helper()
	text := fmt.Sprintf("-- exit %d --\n-- stdout --\n%s-- stderr --\n%s", r.code, r.out, r.err)
	text = strings.ReplaceAll(text, h.dir, "DIR")
	for _, c := range changing {
		text = c.form.ReplaceAllString(text, c.as)
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	if text != string(want) {
		h.t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
	}
}
