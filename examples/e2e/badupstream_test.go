// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// newRawUpstream returns an upstream that does to every connection, after one
// request, what answer does, and closes it. It counts those requests.
func newRawUpstream(t *testing.T, answer func(conn net.Conn, r *http.Request)) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{byKey: make(map[string]int64)}
	u.Server = &httptest.Server{URL: "http://" + listener.Addr().String()}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				u.answered.Add(1)
				answer(conn, r)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wait.Wait()
	})
	return u
}

// TestAFailingUpstreamIsNotCharged plays upstreams that give no answer, and
// some that begin one: what did not reach a status line costs nothing, what
// did is charged by it.
func TestAFailingUpstreamIsNotCharged(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer func(conn net.Conn, r *http.Request)
		status int
		used   int64 // of 5 requests
	}{
		"hangs up at once": {func(net.Conn, *http.Request) {}, 502, 0},
		"resets": {func(conn net.Conn, _ *http.Request) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}, 502, 0},
		"answers nonsense": {func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "\x00\x01\x02 220 mail.example.com ESMTP\r\n\r\n\xff\xfe")
		}, 502, 0},
		"answers half a status line": {func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 20")
		}, 502, 0},
		"answers a header without end": {func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-A: ")
			text := make([]byte, 64<<10)
			for i := range text {
				text[i] = 'a'
			}
			for range 256 { // more than any limit
				if _, err := conn.Write(text); err != nil {
					return
				}
			}
		}, 502, 0},
		"answers 500":               {respond(500, "Content-Length: 2\r\n\r\nno"), 500, 0},
		"answers 429 of its own":    {respond(429, "Content-Length: 2\r\n\r\nno"), 429, 0},
		"answers 408":               {respond(408, "Content-Length: 2\r\n\r\nno"), 408, 0},
		"answers 404":               {respond(404, "Content-Length: 2\r\n\r\nno"), 404, 5},
		"answers an invalid status": {respond(799, "Content-Length: 2\r\n\r\nno"), 799, 0}, // to be taken for 5xx: RFC 9110, 15
		"cuts off in the body":      {respond(200, "Content-Length: 100\r\n\r\nonly this"), 200, 5},
		"cuts off in a chunk":       {respond(200, "Transfer-Encoding: chunked\r\n\r\n64\r\nonly this"), 200, 5},
		"answers nonsense chunks":   {respond(200, "Transfer-Encoding: chunked\r\n\r\nzz\r\nonly this"), 200, 5},
		"says less than it sends":   {respond(200, "Content-Length: 2\r\n\r\nmuch more than two"), 200, 5},
	}
	// One gateway before all of them, by path.
	upstreams := make(map[string]*upstream)
	var site strings.Builder
	path := func(name string) string { return "/" + strings.ReplaceAll(name, " ", "-") }
	for name, c := range cases {
		u := newRawUpstream(t, c.answer)
		upstreams[name] = u
		fmt.Fprintf(&site, "reverse_proxy %s %s\n", path(name), strings.TrimPrefix(u.URL, "http://"))
	}
	g := start(t, newUpstream(t), "default_plan p\nplan p {\n quota 1000/month\n }", "keytoll\n"+site.String())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			key, secret := g.Mint(object{"customer": "a@example.com"})
			for range 5 {
				if got := g.status(path(name), secret); got != c.status {
					t.Errorf("status: got %d, want %d", got, c.status)
				}
			}
			if got := g.Used(key); got != c.used {
				t.Errorf("usage: got %d, want %d", got, c.used)
			}
			if got := upstreams[name].answered.Load(); got < 5 {
				t.Errorf("the upstream was asked %d times, want 5", got)
			}
			if got := g.Get("/", secret); got != http.StatusOK {
				t.Errorf("a good upstream after it: got %d, want 200", got)
			}
		})
	}
}

// respond answers with a status and the rest of an answer.
func respond(status int, rest string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) {
		fmt.Fprintf(conn, "HTTP/1.1 %d Status\r\nConnection: close\r\n%s", status, rest)
	}
}

// status returns the status of one request, however its body ends.
func (g *gateway) status(path, secret string) int {
	g.T.Helper()
	req, err := http.NewRequest(http.MethodGet, g.URL+path, nil)
	if err != nil {
		g.T.Fatal(err)
	}
	req.Header.Set("X-API-Key", secret)
	res, err := g.Client.Do(req)
	if err != nil {
		g.T.Error(err)
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestAnUpstreamThatIsDownIs502AndCostsNothing(t *testing.T) {
	t.Parallel()
	u := &upstream{Server: &httptest.Server{URL: fmt.Sprintf("http://127.0.0.1:%d", rig.Ports(t, 1)[0])}}
	g := start(t, u, "default_plan free\nplan free {\n quota 3/month\n concurrency 2\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	for range 10 { // more than the quota
		if got := g.status("/", secret); got != http.StatusBadGateway {
			t.Errorf("status: got %d, want 502", got)
		}
	}
	if got := g.Used(key); got != 0 {
		t.Errorf("usage: got %d, want 0", got)
	}
	if status, _ := g.Call("GET", "/healthz", nil); status != http.StatusOK {
		t.Errorf("healthz: got %d, want 200: requests can be decided", status)
	}
}

// TestWhoReadsAnAnswersEndReadsItsFinalUsage asks for the usage directly after
// the last byte, many times, with answers of every kind.
func TestWhoReadsAnAnswersEndReadsItsFinalUsage(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	u := newUpstream(t)
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 5 {
		case 0: // known length
			_, _ = io.WriteString(w, "hello")
		case 1: // chunked
			_, _ = io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, " and good bye")
		case 2: // nothing
			w.WriteHeader(http.StatusNoContent)
		case 3: // refunded
			w.WriteHeader(http.StatusInternalServerError)
		case 4: // more than one buffer
			_, _ = w.Write(make([]byte, 300<<10))
		}
		u.answered.Add(1)
	})
	g := start(t, u, "default_plan p\nplan p {\n quota 1M/month\n concurrency 1\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	const rounds = 200
	var want int64
	for range rounds {
		// With one at a time, a slot given back late would refuse the next.
		switch got := g.Get("/", secret); got {
		case http.StatusOK, http.StatusNoContent:
			want++
		case http.StatusInternalServerError:
		default:
			t.Fatalf("status %d", got)
		}
		if got := g.Used(key); got != want {
			t.Fatalf("usage after the last byte: got %d, want %d", got, want)
		}
	}
	if got := u.answered.Load(); got != rounds {
		t.Errorf("the upstream answered %d, want %d", got, rounds)
	}
}

// TestASlowUpstreamHoldsUpNobodyElse has one request wait while another key's
// are answered.
func TestASlowUpstreamHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := start(t, u, "default_plan p\nplan p {\n quota 1M/month\n concurrency 1\n }", "keytoll")
	slow, secret := g.Mint(object{"customer": "slow@example.com"})
	_, other := g.Mint(object{"customer": "other@example.com"})
	req, err := http.NewRequest(http.MethodGet, g.URL+"/slow?for=1m", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", secret)
	res, err := g.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Get("/", secret); got != http.StatusTooManyRequests {
		t.Errorf("a second of the waiting key: got %d, want 429", got)
	}
	for range 20 {
		if got := g.Get("/", other); got != http.StatusOK {
			t.Errorf("another key: got %d, want 200", got)
		}
	}
	res.Body.Close() // the client hangs up: it is charged, and the slot is free
	g.WaitFor("free slot", func() bool { return g.Get("/", secret) == http.StatusOK })
	if got, want := g.Used(slow), u.count(slow); got != want || want != 2 {
		t.Errorf("usage: got %d, the upstream answered %d, want 2", got, want)
	}
}
