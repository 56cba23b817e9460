// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestTheJudgeConvictsANaiveMeter puts a gateway that is right in all but one
// thing before the judge: it writes its counts to disk every 100 ms.
func TestTheJudgeConvictsANaiveMeter(t *testing.T) {
	u := newUpstream(t)
	g := &naiveGateway{t: t, dir: t.TempDir(), address: fmt.Sprintf("127.0.0.1:%d", rig.Ports(t, 1)[0]), to: u.URL}
	c := &campaign{t: t, accused: g, upstream: u, dice: dice(t.Name())}
	c.run(min(*kills, 50))
	g.Kill()
	c.tell("naive meter")
	for _, what := range []crime{overrun, uncounted} {
		if n := total(c.charges, what); n == 0 {
			t.Errorf("the judge does not see that %s; the accounts of the last wave:\n%s", what, names(c.accounts))
		} else {
			t.Logf("convicted: %s: %d units", what, n)
		}
	}
}

// naiveGateway is this test binary, running runNaive.
type naiveGateway struct {
	t                *testing.T
	dir, address, to string
	cmd              *exec.Cmd
}

func (g *naiveGateway) Spawn() {
	g.cmd = exec.Command(os.Args[0], "-naive", g.address, "-naive-dir", g.dir, "-naive-to", g.to)
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
}

func (g *naiveGateway) Await() {
	deadline := time.After(time.Minute)
	for {
		conn, err := net.Dial("tcp", g.address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-deadline:
			g.t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (g *naiveGateway) Kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}

func (g *naiveGateway) url() string { return "http://" + g.address }

func (g *naiveGateway) enrol(a *account) { a.secrets = []string{a.name} }

func (g *naiveGateway) count(a *account) (c counted) {
	res, err := http.Get(g.url() + "/count?account=" + a.name)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	var count naiveCount
	if err := json.NewDecoder(res.Body).Decode(&count); err != nil {
		g.t.Fatal(err)
	}
	return counted{used: count.Used, billed: count.Billed}
}

type naiveCount struct{ Used, Billed int64 }

// naive counts exactly, in memory.
type naive struct {
	mu     sync.Mutex // guards counts
	counts map[string]*naiveCount
}

// runNaive is the naive gateway's main.
func runNaive(address, dir, to string) error {
	upstream, err := url.Parse(to)
	if err != nil {
		return err
	}
	n := &naive{counts: make(map[string]*naiveCount)}
	path := filepath.Join(dir, "counts.json")
	if text, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(text, &n.counts); err != nil {
			return err
		}
	}
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			if err := n.write(path); err != nil {
				panic(err)
			}
		}
	}()
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	proxy.ModifyResponse = func(r *http.Response) error {
		n.settle(r.Request.Header.Get(whoseHeader), costOf(r.Request.URL.Path), r.StatusCode)
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	mux := http.NewServeMux()
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		_ = json.NewEncoder(w).Encode(n.of(r.URL.Query().Get("account")))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !n.reserve(r.Header.Get("X-API-Key"), costOf(r.URL.Path)) {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	return http.ListenAndServe(address, mux)
}

func (n *naive) of(name string) *naiveCount {
	if n.counts[name] == nil {
		n.counts[name] = &naiveCount{}
	}
	return n.counts[name]
}

func (n *naive) reserve(name string, cost int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.of(name)
	for _, p := range plans {
		if len(name) > len(p.id) && name[:len(p.id)] == p.id && c.Used+cost > p.bound {
			return false
		}
	}
	c.Used += cost
	return true
}

func (n *naive) settle(name string, cost int64, status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if status >= http.StatusInternalServerError {
		n.of(name).Used -= cost
		return
	}
	n.of(name).Billed += cost
}

// write replaces the file of counts.
func (n *naive) write(path string) error {
	n.mu.Lock()
	text, err := json.Marshal(n.counts)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
