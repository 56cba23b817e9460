// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGarbageBreaksNothing sends 10 000 broken requests over raw connections,
// many of them whole but for a few bytes and with a good secret. The gate must
// then decide as before, hold no more goroutines, and have charged no more than
// the upstream has seen.
func TestGarbageBreaksNothing(t *testing.T) {
	t.Parallel()
	const garbage, clients = 10_000, 16
	u := newUpstream(t)
	g := start(t, u, "default_plan p\nplan p {\n quota 1M/month\n concurrency 1000\n }", `keytoll {
		key_from header X-API-Key
		key_from bearer
		key_from query api_key
		route images /v1/images/* {
			cost 20
		}
		route health GET /health {
			public
		}
	}`)
	// Shown where Caddy logs it: in URLs, in fields with a broken name.
	minted := g.Must("POST", "/v1/keys", object{"customer": "a@example.com"})
	key, secret := minted["id"].(string), minted["api_key"].(string)
	for range clients { // what stays open is opened before the measurement
		g.Get("/", secret)
	}
	g.Client.CloseIdleConnections()
	u.CloseClientConnections()
	before := g.goroutines()

	var wait sync.WaitGroup
	for c := range clients {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 2))
			for range garbage / clients {
				g.throw(t, broken(random, secret))
			}
		})
	}
	wait.Wait()

	if text := g.wholeLog(); strings.Contains(text, "panic") {
		i := strings.Index(text, "panic")
		t.Errorf("it panicked:\n%s", text[max(0, i-500):min(len(text), i+2000)])
	}
	// Clients that hung up leave requests behind: their end is awaited.
	g.WaitFor("end of all requests", func() bool { return g.metric("keytoll_requests_in_flight") == 0 })
	u.CloseClientConnections()
	g.Client.CloseIdleConnections()
	g.WaitFor(fmt.Sprintf("return to %d goroutines", before), func() bool { return g.goroutines() <= before+5 })
	used, answered := g.Used(key), u.count(key)
	if used < answered {
		t.Errorf("usage %d, but the upstream answered %d", used, answered)
	}
	for range 20 {
		if got := g.Get("/", secret); got != http.StatusOK {
			t.Errorf("a good request after it: got %d, want 200", got)
		}
		if got := g.Get("/", "sk_live_nobody"); got != http.StatusForbidden && got != http.StatusTooManyRequests {
			t.Errorf("a bad key after it: got %d, want 403 or 429", got)
		}
	}
	if got := g.Used(key); got != used+20 {
		t.Errorf("usage after 20 more: got %d, want %d", got, used+20)
	}
}

// throw sends bytes on a connection of their own and waits for an answer to
// begin, for the end, or for a moment.
func (g *gateway) throw(t *testing.T, raw []byte) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Write(raw)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = conn.Read(make([]byte, 512))
}

// broken returns a request with up to eight of its bytes changed, dropped or
// doubled, or nothing like a request.
func broken(random *rand.Rand, secret string) []byte {
	if random.IntN(10) == 0 {
		raw := make([]byte, 1+random.IntN(2000))
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		return raw
	}
	methods := []string{"GET", "POST", "OPTIONS", "HEAD", "CONNECT", "TRACE", "PRI", "get", ""}
	paths := []string{"/", "/v1/images/a", "/v1/images/%2e%2e/a", "/health", "/slow?for=1ms", "*", "//", "/%00", "http://x/", "/?api_key=" + secret}
	heads := []string{
		"X-API-Key: " + secret, "Authorization: Bearer " + secret, "X-API-Key: ", "Authorization: Bearer", "Authorization: Basic Og==",
		"Connection: Keytoll-Key-Id, close", "Keytoll-Plan: pro", "Transfer-Encoding: chunked", "Content-Length: 5", "Content-Length: -1",
		"Upgrade: h2c", "Upgrade: websocket", "Trailer: Keytoll-Mode", "Expect: 100-continue", "Origin: https://a.example", "Host: b",
		"Access-Control-Request-Method: POST", "X-A: " + strings.Repeat("a", random.IntN(3000)),
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.%d\r\nHost: a\r\n", methods[random.IntN(len(methods))], paths[random.IntN(len(paths))], random.IntN(2))
	for range random.IntN(6) {
		raw.WriteString(heads[random.IntN(len(heads))] + "\r\n")
	}
	raw.WriteString("\r\n5\r\nhello\r\n0\r\nKeytoll-Mode: test\r\n\r\n"[:random.IntN(38)])
	out := raw.Bytes()
	for range random.IntN(8) {
		i := random.IntN(len(out))
		switch random.IntN(3) {
		case 0:
			out[i] = byte(random.Uint32())
		case 1:
			out = append(out[:i], out[min(i+1, len(out)-1):]...)
		case 2:
			out = append(out[:i], append([]byte{out[i]}, out[i:]...)...)
		}
	}
	return out
}

// TestWhatClientsLeaveUnfinishedIsGivenBack plays clients that hang up at every
// stage of a request: concurrency slots and goroutines must return.
func TestWhatClientsLeaveUnfinishedIsGivenBack(t *testing.T) {
	t.Parallel()
	const rounds = 50
	u := newUpstream(t)
	g := start(t, u, "default_plan p\nplan p {\n quota 1M/month\n concurrency 1000\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	g.Get("/", secret)
	g.Client.CloseIdleConnections()
	u.CloseClientConnections()
	before := g.goroutines()
	head := "\r\nHost: a\r\nX-API-Key: " + secret + "\r\n"
	for name, raw := range map[string]string{
		"nothing":                    "",
		"half a request line":        "GET /",
		"half a header":              "GET / HTTP/1.1\r\nHost: a\r\nX-API-K",
		"half a body":                "POST / HTTP/1.1" + head + "Content-Length: 100\r\n\r\nhalf",
		"half a chunk":               "POST / HTTP/1.1" + head + "Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
		"a body that is waited for":  "POST / HTTP/1.1" + head + "Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
		"an answer that is not read": "GET /slow?for=1m HTTP/1.1" + head + "\r\n",
		"requests one on the other":  strings.Repeat("GET / HTTP/1.1"+head+"\r\n", 20),
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(conn, raw); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}
			g.WaitFor("end of all requests", func() bool { return g.metric("keytoll_requests_in_flight") == 0 })
			if got := g.Get("/", secret); got != http.StatusOK {
				t.Errorf("a good request after it: got %d, want 200", got)
			}
		})
	}
	g.WaitFor("end of all requests", func() bool { return g.metric("keytoll_requests_in_flight") == 0 })
	g.Client.CloseIdleConnections()
	u.CloseClientConnections()
	g.WaitFor(fmt.Sprintf("return to %d goroutines", before), func() bool { return g.goroutines() <= before+5 })
	if used, answered := g.Used(key), u.count(key); used < answered {
		t.Errorf("usage %d, but the upstream answered %d", used, answered)
	}
}

// TestABodyThatDripsHoldsUpNobodyElse sends a body byte by byte, with other
// requests in between.
func TestABodyThatDripsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := start(t, u, "", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com", "plan": "pro"})
	_, other := g.Mint(object{"customer": "b@example.com", "plan": "pro"})
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	const length = 40
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n", secret, length)
	for range length {
		if got := g.Get("/", other); got != http.StatusOK {
			t.Errorf("another request: got %d, want 200", got)
		}
		if _, err := conn.Write([]byte("b")); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || g.Used(key) != 1 {
		t.Errorf("the dripping request: got %d and usage %d, want 200 and 1", res.StatusCode, g.Used(key))
	}
}

// TestHeadersOfAMegabyteAreRefused sends one large field, and many small ones.
func TestHeadersOfAMegabyteAreRefused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := start(t, u, "", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	for name, fields := range map[string]string{
		"one":  "X-A: " + strings.Repeat("a", 1<<20+8192) + "\r\n",
		"many": strings.Repeat("X-A: a field of some length\r\n", 1<<20/20),
	} {
		got := g.play(t, []byte("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: "+secret+"\r\n"+fields+"\r\n"))
		if len(got) != 1 || got[0] != "431" && got[0] != "closed" {
			t.Errorf("%s: got %v, want 431", name, got)
		}
	}
	if got := g.Used(key); got != 0 || u.answered.Load() != 0 {
		t.Errorf("usage %d, the upstream answered %d, want 0", got, u.answered.Load())
	}
	if got := g.Get("/", secret); got != http.StatusOK {
		t.Errorf("a good request after it: got %d, want 200", got)
	}
}

// goroutines returns how many the process has, by Caddy's own admin API.
func (g *gateway) goroutines() int {
	g.T.Helper()
	res, err := http.Get("http://" + g.CaddyAdmin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		g.T.Fatal(err)
	}
	defer res.Body.Close()
	var n int
	if _, err := fmt.Fscanf(res.Body, "goroutine profile: total %d", &n); err != nil {
		g.T.Fatal(err)
	}
	return n
}

// metric returns the value of a metric that has no labels.
func (g *gateway) metric(name string) float64 {
	g.T.Helper()
	req, err := http.NewRequest(http.MethodGet, g.Admin+"/metrics", nil)
	if err != nil {
		g.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	res, err := g.Client.Do(req)
	if err != nil {
		g.T.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var value float64
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if _, err := fmt.Sscan(text, &value); err != nil {
				g.T.Fatal(err)
			}
			return value
		}
	}
	g.T.Fatalf("no metric %s (%d)", name, res.StatusCode)
	return 0
}

// wholeLog returns all that the process has logged.
func (g *gateway) wholeLog() string {
	text, err := os.ReadFile(filepath.Join(g.Dir, "log"))
	if err != nil {
		g.T.Fatal(err)
	}
	return string(text)
}

// TestAClientThatCutsItsBodyShortIsCharged hangs up within the body, which the
// upstream then has worked on: a 502 to nobody must not be free.
func TestAClientThatCutsItsBodyShortIsCharged(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := start(t, u, "default_plan p\nplan p {\n quota 10/month\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	for i := range 10 {
		g.throw(t, []byte("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: "+secret+"\r\nContent-Length: 100\r\n\r\nhalf"))
		g.WaitFor("end of it", func() bool { return u.count(key) == int64(i+1) && g.metric("keytoll_requests_in_flight") == 0 })
	}
	if got := g.Used(key); got != 10 {
		t.Errorf("usage: got %d, want 10", got)
	}
	if got := g.Get("/", secret); got != http.StatusTooManyRequests {
		t.Errorf("the next request: got %d, want 429", got)
	}
}
