// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
)

const tokenPlans = `
	default_plan p
	plan p {
		quota 10000 tokens/month
		concurrency 1
	}
`

func TestACostFromAHeaderIsSettledAndStripped(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans, gate: "route x /* {\n\t\t\tunit tokens\n\t\t\tcost header X-Usage-Units reserve 100\n\t\t}"})
	secret, key := h.mint()
	for _, step := range []struct {
		said string
		want int64
	}{{"7", 7}, {"0", 7}, {"", 107}, {"nonsense", 207}, {"-1", 307}} {
		h.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
			if step.said != "" {
				w.Header().Set("X-Usage-Units", step.said)
			}
		})
		got := h.call("GET", "/x", bearerOf(secret)...)
		if got.status != http.StatusOK || got.header.Get("X-Usage-Units") != "" {
			t.Errorf("got %d %v, want 200 without the cost header", got.status, got.header)
		}
		if used := h.used(key).Units["tokens"]; used != step.want {
			t.Errorf("after %q: got %d tokens, want %d", step.said, used, step.want)
		}
	}
}

func TestACostFromTheBodyIsSettledBeforeTheLastByte(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans, gate: "route x /* {\n\t\t\tunit tokens\n\t\t\tcost json usage.total_tokens reserve 100\n\t\t}"})
	secret, key := h.mint()
	events := "data: {\"usage\":null}\n\ndata: {\"usage\":{\"total_tokens\":11}}\n\ndata: [DONE]\n\n"
	body := `{"choices":[],"usage":{"total_tokens":31}}`
	for _, step := range []struct {
		claim  string
		answer http.HandlerFunc
		want   int64
	}{
		{"a known length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = io.WriteString(w, body)
		}, 31},
		{"chunks", func(w http.ResponseWriter, _ *http.Request) {
			for i := range body {
				_, _ = io.WriteString(w, body[i:i+1])
				w.(http.Flusher).Flush()
			}
		}, 62},
		{"events", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			_, _ = io.WriteString(w, events)
		}, 73},
		{"nothing said: the reserve", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, 173},
		{"no body: the reserve", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 273},
		{"an upstream's error: refunded", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, 500) }, 273},
	} {
		h.upstream.answers(step.answer)
		got := h.call("GET", "/x", bearerOf(secret)...)
		if used := h.used(key).Units["tokens"]; used != step.want {
			t.Errorf("%s: got %d tokens after %d %q, want %d", step.claim, used, got.status, got.body, step.want)
		}
	}
}

func TestACompressedAnswerIsAskedForInClear(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans, gate: "route x /* {\n\t\t\tunit tokens\n\t\t\tcost json usage.total_tokens reserve 100\n\t\t}", site: "encode"})
	secret, key := h.mint()
	h.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"usage":{"total_tokens":5},"pad":"`+strings.Repeat("x", 2000)+`"}`)
	})
	got := h.call("GET", "/", append(bearerOf(secret), "Accept-Encoding", "gzip")...)
	if got.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %v, want the client to be answered compressed", got.header)
	}
	if used := h.used(key).Units["tokens"]; used != 5 {
		t.Errorf("got %d tokens, want 5", used)
	}
}

func TestWhoHasReadAnAnswerToItsEndFindsItsSlotFree(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans})
	secret, _ := h.mint()
	h.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	})
	for i := range 200 {
		path := []string{"/", "/chunked"}[i%2]
		if got := h.call("GET", path, bearerOf(secret)...); got.status != http.StatusOK {
			t.Fatalf("got %d %s in call %d, want 200", got.status, got.body, i)
		}
	}
}

func TestTooManyAtOnceAreRefused(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans})
	secret, _ := h.mint()
	arrived, release := make(chan bool), make(chan bool)
	h.upstream.answers(func(http.ResponseWriter, *http.Request) { arrived <- true; <-release })
	done := make(chan answer)
	go func() { done <- h.call("GET", "/", bearerOf(secret)...) }()
	<-arrived
	got := h.call("GET", "/", bearerOf(secret)...)
	if p := got.problem(t); got.status != 429 || p.Code != "concurrency_limited" || got.header.Get("Retry-After") != "1" ||
		*p.Limit != 1 || *p.Used != 1 || *p.Reset != 1 || p.Violated[0] != "concurrency" {
		t.Errorf("got %d %s, want 429 concurrency_limited, and again in 1 s", got.status, got.body)
	}
	close(release)
	if got := <-done; got.status != http.StatusOK {
		t.Errorf("got %d, want 200", got.status)
	}
}

func TestAClientThatHangsUpIsCharged(t *testing.T) {
	h := open(t, blueprint{})
	secret, key := h.mint()
	arrived, over := make(chan bool), make(chan bool)
	h.upstream.answers(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-r.Context().Done()
		close(over)
	})
	conn, err := net.Dial("unix", filepath.Join(h.dir, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer %s\r\n\r\n", secret.Reveal())
	<-arrived
	conn.Close()
	<-over
	h.waitUntilIdle()
	if used := h.used(key).Requests; used != 1 {
		t.Errorf("got %d requests counted, want 1", used)
	}
}

// waitUntilIdle waits until no request is in flight.
func (h *house) waitUntilIdle() {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); h.engine().metrics.tenants.inFlight() > 0; {
		if time.Now().After(deadline) {
			h.t.Fatal("requests are still in flight after 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTheUpstreamsOwnRateHeadersAreReplaced(t *testing.T) {
	h := open(t, blueprint{gate: "headers standard legacy quota openai"})
	secret, _ := h.mint()
	h.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-Quota-Used", "x-ratelimit-limit-tokens"} {
			w.Header().Set(name, "theirs")
		}
		w.Header().Set("X-Other", "theirs")
	})
	got := h.call("GET", "/", bearerOf(secret)...)
	for name, values := range got.header {
		if values[0] == "theirs" && name != "X-Other" {
			t.Errorf("got %s of the upstream", name)
		}
	}
	for name, want := range map[string]string{
		"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1",
		"X-Quota-Limit": "1000", "X-Quota-Used": "1", "X-Quota-Remaining": "999",
		"X-RateLimit-Limit-Requests": "10", "X-RateLimit-Remaining-Requests": "9", "X-RateLimit-Reset-Requests": "1s",
		"X-RateLimit-Limit-Tokens": "",
	} {
		if got := got.header.Get(name); got != want {
			t.Errorf("got %s: %q, want %q", name, got, want)
		}
	}
	if _, err := time.Parse(time.RFC3339, got.header.Get("X-Quota-Reset")); err != nil {
		t.Errorf("got X-Quota-Reset %q, want RFC 3339", got.header.Get("X-Quota-Reset"))
	}
}

func TestHeadersCanBeOff(t *testing.T) {
	h := open(t, blueprint{gate: "headers off"})
	secret, _ := h.mint()
	if got := h.call("GET", "/", bearerOf(secret)...); got.header.Get("RateLimit") != "" {
		t.Errorf("got %v, want no RateLimit", got.header)
	}
}

func TestBrowsersMayCallFromAllowedOrigins(t *testing.T) {
	h := open(t, blueprint{gate: "cors https://app.example.com"})
	secret, _ := h.mint()
	ask := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}
	got := h.call("OPTIONS", "/", append(ask, "Origin", "https://app.example.com")...)
	if got.status != http.StatusNoContent || got.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		got.header.Get("Access-Control-Allow-Methods") != "POST" || got.header.Get("Access-Control-Allow-Headers") != "authorization" {
		t.Errorf("got %d %v, want the preflight answered", got.status, got.header)
	}
	if h.upstream.count() != 0 {
		t.Error("the upstream was asked")
	}
	got = h.call("GET", "/", "Origin", "https://app.example.com")
	if got.status != 401 || got.header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "RateLimit") {
		t.Errorf("got %d %v, want a refusal that the page can read", got.status, got.header)
	}
	got = h.call("GET", "/", append(bearerOf(secret), "Origin", "https://app.example.com")...)
	if got.status != 200 || got.header.Get("Access-Control-Allow-Origin") == "" || got.header.Get("Vary") != "Origin" {
		t.Errorf("got %d %v, want an answer that the page can read", got.status, got.header)
	}
	got = h.call("GET", "/", append(bearerOf(secret), "Origin", "https://evil.example")...)
	if got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %v for another origin", got.header)
	}
}

func TestAPreflightPassesUncountedOrIsChecked(t *testing.T) {
	h := open(t, blueprint{})
	ask := []string{"Origin", "https://a.example", "Access-Control-Request-Method", "POST", "Keytoll-Plan", "root"}
	if got := h.call("OPTIONS", "/", ask...); got.status != http.StatusOK || h.upstream.last(t).Header.Get("Keytoll-Plan") != "" {
		t.Errorf("got %d, want the upstream's 200 without a forged identity", got.status)
	}
	if got := h.call("OPTIONS", "/"); got.status != http.StatusUnauthorized {
		t.Errorf("got %d for another OPTIONS, want 401", got.status)
	}
	h.load(blueprint{gate: "preflight check"})
	if got := h.call("OPTIONS", "/", ask...); got.status != http.StatusUnauthorized {
		t.Errorf("got %d with preflight check, want 401", got.status)
	}
}

func TestAWebSocketCountsOneAndHoldsItsSlot(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans})
	secret, key := h.mint()
	h.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		conn, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := brw.ReadString('\n')
		fmt.Fprint(conn, "echo "+line)
	})
	conn, err := net.Dial("unix", filepath.Join(h.dir, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-API-Key: %s\r\n\r\n", secret.Reveal())
	reader := bufio.NewReader(conn)
	status, err := reader.ReadString('\n')
	if err != nil || !strings.Contains(status, "101") {
		t.Fatalf("got %q, %v, want 101", status, err)
	}
	if got := h.call("GET", "/", bearerOf(secret)...); got.problem(t).Code != "concurrency_limited" {
		t.Errorf("got %s while the socket is open, want concurrency_limited", got.body)
	}
	fmt.Fprint(conn, "ping\n")
	rest, err := io.ReadAll(reader)
	if err != nil || !strings.HasSuffix(string(rest), "echo ping\n") {
		t.Errorf("got %q, %v, want the echo", rest, err)
	}
	conn.Close()
	h.waitUntilIdle()
	if used := h.used(key).Requests; used != 1 {
		t.Errorf("got %d requests counted, want 1", used)
	}
	h.upstream.answers(nil)
	if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
		t.Errorf("got %d after the socket was closed, want 200", got.status)
	}
}

func TestAPanicStillSettles(t *testing.T) {
	h := open(t, blueprint{globals: tokenPlans, site: "abort /abort"})
	secret, key := h.mint()
	h.raw(fmt.Sprintf("GET /abort HTTP/1.1\r\nHost: api.test\r\nX-API-Key: %s\r\n\r\n", secret.Reveal()))
	h.waitUntilIdle()
	if used := h.used(key).Requests; used != 0 {
		t.Errorf("got %d requests counted, want 0", used)
	}
	if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
		t.Errorf("got %d %s, want the slot free again", got.status, got.body)
	}
}

func TestInformationalAnswersPassUnsettled(t *testing.T) {
	h := open(t, blueprint{})
	secret, key := h.mint()
	h.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusInternalServerError)
	})
	raw := h.raw(fmt.Sprintf("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nX-API-Key: %s\r\n\r\n", secret.Reveal()))
	if !strings.HasPrefix(raw, "HTTP/1.1 103 ") || !strings.Contains(raw, "HTTP/1.1 500 ") {
		t.Errorf("got %q, want 103, then 500", raw)
	}
	if used := h.used(key).Requests; used != 0 {
		t.Errorf("got %d requests counted, want the 500 refunded", used)
	}
}

func TestTestKeysAreToldApart(t *testing.T) {
	h := open(t, blueprint{})
	secret, _ := h.mint(func(_ *customer.Customer, k *apikey.Key) { k.Mode = apikey.Test })
	h.call("GET", "/", bearerOf(secret)...)
	if got := h.upstream.last(t).Header.Get("Keytoll-Mode"); got != "test" {
		t.Errorf("got mode %q, want test", got)
	}
}
