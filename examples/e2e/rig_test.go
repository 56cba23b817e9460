// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the Caddy under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "keytoll-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "caddy")
		args := []string{"build", "-o", binary}
		if raced {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "../caddy")...)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the Caddy under test:", err)
			return 1
		}
		return m.Run()
	}())
}

// An upstream is the API that is sold. It counts for itself.
type upstream struct {
	*httptest.Server
	answered atomic.Int64 // answers it has given
	mu       sync.Mutex
	byKey    map[string]int64 // of them, by Keytoll-Key-Id
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{byKey: make(map[string]int64)}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		u.answered.Add(1)
		u.mu.Lock()
		u.byKey[r.Header.Get("Keytoll-Key-Id")]++
		u.mu.Unlock()
		if status := r.URL.Query().Get("status"); status != "" {
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.WriteHeader(code)
			return
		}
		if r.URL.Path == "/slow" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: begun\n\n")
			w.(http.Flusher).Flush()
			wait, _ := time.ParseDuration(r.URL.Query().Get("for"))
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "data: ended\n\n")
			return
		}
		_, _ = io.WriteString(w, "hello\n")
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) count(key string) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byKey[key]
}

// A gateway is one Caddy process with Keytoll before an upstream.
type gateway struct {
	t          *testing.T
	dir        string // everything it writes
	config     string // its Caddyfile
	url, admin string
	token      string
	caddyAdmin string // Caddy's own
	cmd        *exec.Cmd
	exited     chan struct{}
	secrets    *[]string // minted by mint: looked for everywhere at the end
	client     *http.Client
}

// ports gives n loopback ports that were free a moment ago.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// start runs Caddy with global Keytoll options and a site's directives before
// the upstream u, and waits until it decides requests.
func start(t *testing.T, u *upstream, options, site string) *gateway {
	t.Helper()
	dir := t.TempDir()
	p := ports(t, 3)
	g := &gateway{
		t: t, dir: dir, config: filepath.Join(dir, "Caddyfile"),
		url:        fmt.Sprintf("http://127.0.0.1:%d", p[0]),
		admin:      fmt.Sprintf("http://127.0.0.1:%d", p[1]),
		caddyAdmin: fmt.Sprintf("127.0.0.1:%d", p[2]),
		secrets:    new([]string),
		client: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
			MaxIdleConnsPerHost: 256, DisableCompression: true,
		}},
	}
	g.configure(u, options, site)
	g.run()
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.searchForSecrets()
		g.stop()
		g.searchFilesForSecrets()
	})
	return g
}

// configure writes the Caddyfile.
func (g *gateway) configure(u *upstream, options, site string) {
	g.t.Helper()
	text := fmt.Sprintf(`{
	auto_https off
	admin %s
	grace_period 20s
	keytoll {
		storage bbolt %s
		admin %s
		%s
	}
	log default {
		format filter {
			wrap json
			request>headers>X-Api-Key delete
		}
	}
}
%s {
	bind 127.0.0.1
	log
	%s
	reverse_proxy %s
}
`, g.caddyAdmin, filepath.Join(g.dir, "data"), strings.TrimPrefix(g.admin, "http://"), options,
		g.url, site, strings.TrimPrefix(u.URL, "http://"))
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// run starts the process and waits until it is ready.
func (g *gateway) run() {
	g.t.Helper()
	log, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer log.Close()
	g.cmd = exec.Command(binary, "run", "--config", g.config, "--adapter", "caddyfile")
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.Env = g.env()
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(g.cmd, g.exited)
	g.waitFor("readiness", func() bool {
		select {
		case <-g.exited:
			g.t.Fatalf("the gateway ended at start:\n%s", g.log())
		default:
		}
		res, err := http.Get(g.admin + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	token, err := os.ReadFile(filepath.Join(g.dir, "data", "admin.token"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.token = strings.TrimSpace(string(token))
}

// env keeps what Caddy writes inside the gateway's directory.
func (g *gateway) env() []string {
	return append(os.Environ(), "HOME="+g.dir, "XDG_DATA_HOME="+g.dir+"/xdg-data", "XDG_CONFIG_HOME="+g.dir+"/xdg-config")
}

// waitFor polls until ok, for at most a minute: other processes set the pace here.
func (g *gateway) waitFor(what string, ok func() bool) {
	g.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("no %s within a minute; the log:\n%s", what, g.log())
		}
	}
}

func (g *gateway) log() string {
	text, _ := os.ReadFile(filepath.Join(g.dir, "log"))
	return string(text[max(0, len(text)-8000):])
}

// stop ends the process in order and waits for it.
func (g *gateway) stop() {
	if g.cmd.ProcessState == nil {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
	}
	<-g.exited
	if raced {
		if text, _ := os.ReadFile(filepath.Join(g.dir, "log")); bytes.Contains(text, []byte("DATA RACE")) {
			g.t.Errorf("the race detector spoke:\n%s", text)
		}
	}
}

// kill ends it without order.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.exited
}

// reload makes the process read its Caddyfile again, and returns what Caddy said.
func (g *gateway) reload() (string, error) {
	cmd := exec.Command(binary, "reload", "--config", g.config, "--adapter", "caddyfile", "--address", g.caddyAdmin, "--force")
	cmd.Env = g.env()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// object is a JSON object of the admin API.
type object map[string]any

// call makes an admin call and returns its status and answer.
func (g *gateway) call(method, path string, body any) (int, object) {
	g.t.Helper()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			g.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, g.admin+path, reader)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var answer object
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			g.t.Fatalf("%s %s: %v in %q", method, path, err, raw)
		}
	}
	return res.StatusCode, answer
}

// must is call for calls that succeed.
func (g *gateway) must(method, path string, body any) object {
	g.t.Helper()
	status, answer := g.call(method, path, body)
	if status >= 300 {
		g.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// mint makes a key and returns its id and secret.
func (g *gateway) mint(fields object) (id, secret string) {
	g.t.Helper()
	answer := g.must("POST", "/v1/keys", fields)
	id, _ = answer["id"].(string)
	secret, _ = answer["api_key"].(string)
	if id == "" || secret == "" {
		g.t.Fatalf("minting a key: no id or secret in %v", answer)
	}
	*g.secrets = append(*g.secrets, secret)
	return id, secret
}

// get calls the sold API and returns the status; the body is read to its end.
func (g *gateway) get(path, secret string) int {
	res, err := g.send(path, secret)
	if err != nil {
		g.t.Error(err)
		return 0
	}
	return res.StatusCode
}

func (g *gateway) send(path, secret string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, g.url+path, nil)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		req.Header.Set("X-API-Key", secret)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// used returns how many requests the key's usage shows.
func (g *gateway) used(key string) int64 {
	g.t.Helper()
	requests, ok := g.must("GET", "/v1/keys/"+key+"/usage", nil)["requests"].(float64)
	if !ok {
		g.t.Fatal("no requests in the key's usage")
	}
	return int64(requests)
}

// searchForSecrets looks for minted secrets in what the process tells.
func (g *gateway) searchForSecrets() {
	pages := []string{"http://" + g.caddyAdmin + "/config/", g.admin + "/metrics", g.admin + "/v1/denials", g.admin + "/v1/audit", g.admin + "/v1/keys"}
	for _, page := range pages {
		req, err := http.NewRequest(http.MethodGet, page, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		if strings.HasPrefix(page, g.admin) {
			req.Header.Set("Authorization", "Bearer "+g.token)
		}
		res, err := g.client.Do(req)
		if err != nil {
			continue // it was killed by the test
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		g.noSecretIn(page, body)
	}
}

// searchFilesForSecrets looks for minted secrets in every file the process wrote.
func (g *gateway) searchFilesForSecrets() {
	err := filepath.WalkDir(g.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		g.noSecretIn(path, body)
		return err
	})
	if err != nil {
		g.t.Error(err)
	}
}

func (g *gateway) noSecretIn(where string, text []byte) {
	for _, secret := range *g.secrets {
		if bytes.Contains(text, []byte(secret)) {
			g.t.Errorf("a secret is in %s", where)
			return
		}
	}
}
