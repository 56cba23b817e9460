// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/goleak"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/store"
)

func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "keytoll")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		os.Setenv(name, home)
	}
	code := m.Run()
	if err := goleak.Find(leaksOfOthers...); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.RemoveAll(home)
	os.Exit(code)
}

// leaksOfOthers are goroutines that Caddy starts once and never ends.
var leaksOfOthers = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	goleak.IgnoreAnyFunction("github.com/DeRuina/timberjack.(*Logger).millRun"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).keepStorageClean.func1"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.init.2.func1"),
	goleak.IgnoreAnyFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.(*sinkWriter).Close"),
	goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"),
}

// A house is a running Caddy with a gate before an upstream, all on sockets in
// one directory.
type house struct {
	t        testing.TB
	dir      string
	upstream *upstream
	client   *http.Client
}

// globals and site hold what a test adds to the Caddyfile; {dir} is replaced.
type blueprint struct {
	globals string // options within keytoll { … }
	gate    string // options within the directive
	site    string // directives beside it
	before  string // global options beside keytoll
}

// open starts a house. It is closed with the test.
func open(t *testing.T, b blueprint) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.upstream = newUpstream(t, filepath.Join(h.dir, "up.sock"))
	h.client = &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.dir, "api.sock"))
		}, DisableCompression: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	h.load(b)
	return h
}

func (h *house) caddyfile(b blueprint) string {
	admin := ""
	if !strings.Contains(b.globals, "admin ") {
		admin = "admin off"
	}
	store := ""
	if !strings.Contains(b.globals, "storage ") {
		store = "storage bbolt {dir}/data"
	}
	text := `{
	admin off
	persist_config off
	grace_period 5s
	log {
		output discard
	}
	` + b.before + `
	keytoll {
		` + store + `
		` + admin + `
		` + b.globals + `
	}
}
http://api.test {
	bind unix/{dir}/api.sock
	` + b.site + `
	keytoll {
		` + b.gate + `
	}
	reverse_proxy unix/{dir}/up.sock
}
`
	return strings.ReplaceAll(text, "{dir}", h.dir)
}

// load starts, or reloads, the configuration.
func (h *house) load(b blueprint) {
	h.t.Helper()
	if err := h.tryLoad(h.caddyfile(b)); err != nil {
		h.t.Fatalf("loading: %v", err)
	}
}

func (h *house) tryLoad(text string) error {
	config, err := adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func adapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// engine returns the engine of the house's storage.
func (h *house) engine() *engine {
	var found *engine
	engines.Range(func(place, value any) bool {
		if strings.HasPrefix(place.(string), h.dir) || place == engineMemory {
			found = value.(*engine)
		}
		return true
	})
	return found
}

// mint makes a customer with one key.
func (h *house) mint(change ...func(*customer.Customer, *apikey.Key)) (apikey.Secret, string) {
	h.t.Helper()
	secret, err := apikey.Mint("sk", apikey.Live, rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	now := time.Now()
	c := customer.Customer{ID: id.New("cust", now), CreatedAt: now}
	k := apikey.Key{
		ID: id.New("key", now), Customer: c.ID, Name: "test", Mode: apikey.Live, State: apikey.Active, CreatedAt: now,
		Secrets: []apikey.HeldSecret{{Hash: secret.Hash(), Start: secret.Start()}},
	}
	for _, f := range change {
		f(&c, &k)
	}
	if _, err := h.engine().store.Write(h.t.Context(), store.Mutations{Customers: []customer.Customer{c}, Keys: []apikey.Key{k}}); err != nil {
		h.t.Fatal(err)
	}
	return secret, k.ID
}

// write writes a changed key.
func (h *house) write(k apikey.Key) {
	h.t.Helper()
	if _, err := h.engine().store.Write(h.t.Context(), store.Mutations{Keys: []apikey.Key{k}}); err != nil {
		h.t.Fatal(err)
	}
}

// validate does what `caddy validate` does.
func validate(config []byte) error {
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		return err
	}
	return caddy.Validate(&parsed)
}

// used returns what the key has used, as keytoll_usage would say.
func (h *house) used(key string) *gate.UsageReport {
	h.t.Helper()
	report, err := h.engine().gate.Load().KeyUsage(h.t.Context(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	return report
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem returns the answer's problem.
func (a answer) problem(t *testing.T) (p problemBody) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("got body %q, want a problem: %v", a.body, err)
	}
	return p
}

// call sends a request. Header fields are given as name, value.
func (h *house) call(method, path string, fields ...string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://api.test"+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header[http.CanonicalHeaderKey(fields[i])] = append(r.Header[http.CanonicalHeaderKey(fields[i])], fields[i+1])
	}
	return h.do(r)
}

// do sends a request. A connection that Caddy accepts just as a reload closes
// its socket ends unanswered, with or without a gate: then it is sent again.
func (h *house) do(r *http.Request) answer {
	h.t.Helper()
	res, err := h.client.Do(r)
	for again := 0; errors.Is(err, io.EOF) && r.Body == nil && again < 5; again++ {
		res, err = h.client.Do(r)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// raw sends bytes as they are and returns all that comes back.
func (h *house) raw(request string) string {
	h.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(h.dir, "api.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		h.t.Fatal(err)
	}
	var all bytes.Buffer
	_, _ = io.Copy(&all, conn)
	return all.String()
}
