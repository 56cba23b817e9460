// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/memstore"
)

type (
	gateSettings   = gate.Settings
	keyRecord      = apikey.Key
	customerRecord = customer.Customer
	planRecord     = plan.Plan
)

const ownerToken = "kta_the-owner-of-the-tests"

// api is a server over real engines in memory, with a clock of its own.
type api struct {
	*Server
	t      testing.TB
	logged *bytes.Buffer
	clock  *clock
	schema *schema
}

type clock struct {
	mu    sync.Mutex
	start time.Time
	past  time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start.Add(c.past)
}

func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.past
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past += d
}

// testPlans are free (the default), pro (pooled) and tiny (one key).
func testPlans(t testing.TB) []plan.Plan {
	rate := func(words string) plan.Rate { return must(plan.ParseRate(strings.Fields(words)))(t) }
	quota := func(words string) plan.Quota { return must(plan.ParseQuota(strings.Fields(words)))(t) }
	plans := []plan.Plan{
		{ID: "free", Rates: []plan.Rate{rate("10/second burst 20")}, Quotas: []plan.Quota{quota("1000/month")}},
		{ID: "pro", Title: "Pro", Rates: []plan.Rate{rate("100/second")}, Quotas: []plan.Quota{quota("100000/month per customer overage bill")}, Scopes: []string{"chat", "images"}},
		{ID: "tiny", Quotas: []plan.Quota{quota("5/month")}, MaxKeys: 1},
	}
	for i := range plans {
		plans[i].Source = plan.FromConfig
		plans[i].Normalize()
	}
	return plans
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// newAPI starts an API; options change what it is made of.
func newAPI(t testing.TB, options ...func(*Options, *gate.Settings)) *api {
	t.Helper()
	ctx := context.Background()
	a := &api{t: t, logged: &bytes.Buffer{}, clock: &clock{start: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	engine := memstore.New()
	logger := slog.New(slog.NewTextHandler(&locked{w: a.logged}, nil))
	m := must(meter.Open(ctx, meter.Options{
		Journal: engine, Ledger: engine, Node: "test", Now: a.clock.now, Elapsed: a.clock.elapsed, Logger: logger,
	}))(t)
	g := must(gate.New(ctx, gate.Options{Directory: engine, Journal: engine, Meter: m, Now: a.clock.now, Logger: logger}))(t)
	t.Cleanup(func() {
		for _, end := range []func(context.Context) error{g.Close, m.Close, func(context.Context) error { return engine.Close() }} {
			if err := end(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	o := Options{Store: engine, Gate: g, Meter: m, Now: a.clock.now, Logger: logger, OwnerToken: ownerToken, Version: "test"}
	settings := gate.Settings{Plans: testPlans(t), DefaultPlan: "free"}
	for _, option := range options {
		option(&o, &settings)
	}
	if _, err := g.Apply(ctx, settings); err != nil {
		t.Fatal(err)
	}
	a.Server = must(New(o))(t)
	a.schema = newSchema(t, a.Server)
	return a
}

// locked lets a test read what others log.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// reply is an answer as its caller has it.
type reply struct {
	*httptest.ResponseRecorder
	t    testing.TB
	call string
	json map[string]any // of a body that is one JSON object
}

// call makes a call as the owner; a body makes it JSON. What a 2xx says is
// compared with openapi.json. Fields are pairs of header names and values; an
// empty value takes one away.
func (a *api) call(method, target, body string, fields ...string) *reply {
	a.t.Helper()
	r := httptest.NewRequest(method, "http://localhost:2021"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Authorization", "Bearer "+ownerToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		}
		if fields[i+1] == "" {
			r.Header.Del(fields[i])
		}
	}
	return a.do(r)
}

func (a *api) do(r *http.Request) *reply {
	a.t.Helper()
	w := &reply{ResponseRecorder: httptest.NewRecorder(), t: a.t, call: r.Method + " " + r.URL.RequestURI()}
	a.ServeHTTP(w.ResponseRecorder, r)
	kind := w.Header().Get("Content-Type")
	if kind == "application/json" || kind == "application/problem+json" {
		if err := json.Unmarshal(w.Body.Bytes(), &w.json); err != nil {
			a.t.Fatalf("%s: the answer is not JSON: %v\n%s", w.call, err, w.Body)
		}
	}
	a.schema.check(a.t, a.Server, r, w)
	return w
}

// want fails the test unless the answer has that status.
func (w *reply) want(status int) *reply {
	w.t.Helper()
	if w.Code != status {
		w.t.Fatalf("%s: got %d, want %d: %s", w.call, w.Code, status, w.Body)
	}
	return w
}

// refused fails the test unless the answer is that problem.
func (w *reply) refused(status int, code, field string) *reply {
	w.t.Helper()
	w.want(status)
	if got := w.json["code"]; got != code {
		w.t.Fatalf("%s: got code %v, want %s: %s", w.call, got, code, w.Body)
	}
	if got, _ := w.json["field"].(string); got != field {
		w.t.Fatalf("%s: got field %q, want %q: %s", w.call, got, field, w.Body)
	}
	return w
}

// text returns a member of the answer by its path, as text.
func (w *reply) text(path string) string {
	w.t.Helper()
	value := w.at(path)
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	}
	raw, _ := json.Marshal(value)
	return string(raw)
}

func (w *reply) at(path string) any {
	w.t.Helper()
	var value any = w.json
	for name := range strings.SplitSeq(path, ".") {
		members, is := value.(map[string]any)
		if !is {
			w.t.Fatalf("%s: %s is not there: %s", w.call, path, w.Body)
		}
		next, there := members[name]
		if !there {
			w.t.Fatalf("%s: %s is not there: %s", w.call, path, w.Body)
		}
		value = next
	}
	return value
}

// says fails the test unless members are as told, in pairs of path and text.
func (w *reply) says(pairs ...string) *reply {
	w.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := w.text(pairs[i]); got != pairs[i+1] {
			w.t.Errorf("%s: %s: got %q, want %q", w.call, pairs[i], got, pairs[i+1])
		}
	}
	return w
}

// data returns the records of a list.
func (w *reply) data() []map[string]any {
	w.t.Helper()
	values, is := w.at("data").([]any)
	if !is {
		w.t.Fatalf("%s: data is not a list: %s", w.call, w.Body)
	}
	list := make([]map[string]any, 0, len(values))
	for _, value := range values {
		list = append(list, value.(map[string]any))
	}
	return list
}

// lines returns the objects of an NDJSON answer.
func (w *reply) lines() (all []map[string]any) {
	w.t.Helper()
	for line := range strings.Lines(w.Body.String()) {
		var members map[string]any
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			w.t.Fatalf("%s: a line is not JSON: %v: %s", w.call, err, line)
		}
		all = append(all, members)
	}
	return all
}

// mint makes a key and returns its id, its customer's and its secret.
func (a *api) mint(body string) (key, customer, secret string) {
	a.t.Helper()
	w := a.call("POST", "/v1/keys", body).want(201)
	return w.text("id"), w.text("customer"), w.text("api_key")
}

// request sends a request of the sold API through the gate, with a status of
// the upstream, and returns "allowed" or why it was refused.
func (a *api) request(secret string, status int) string {
	a.t.Helper()
	routes := must(plan.CompileRoutes(nil, false))(a.t)
	route := must(routes.Match("GET", "/"))(a.t)
	call := &gate.Call{
		Secret: secret, Route: route, ClientIP: netip.MustParseAddr("192.0.2.7"), Now: a.clock.now(),
		Method: "GET", Path: "/", RequestID: func() string { return "req_1" },
	}
	var ticket gate.Ticket
	refusal, err := a.o.Gate.Admit(context.Background(), call, &ticket)
	if err != nil {
		a.t.Fatal(err)
	}
	if refusal != nil {
		return string(refusal.Reason)
	}
	ticket.Settle(gate.Answer{Status: status})
	ticket.Release()
	return "allowed"
}

// everything returns all that the store holds in the books admin writes.
func (a *api) everything() string {
	a.t.Helper()
	var all strings.Builder
	for _, book := range []store.Book{store.Meta, store.Audit, store.Idempotency, store.Tokens, store.Adjustments, store.Sessions, store.Tombstones} {
		err := a.o.Store.Scan(context.Background(), book, store.Range{}, func(key, value []byte) bool {
			all.Write(key)
			all.Write(value)
			all.WriteByte('\n')
			return true
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
	return all.String()
}
