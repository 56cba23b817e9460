// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newEcho returns an upstream that upgrades to WebSocket and sends back every
// byte, until the other side hangs up.
func newEcho(t *testing.T) *upstream {
	t.Helper()
	u := newUpstream(t)
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.answered.Add(1)
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		u.mu.Lock()
		u.byKey[r.Header.Get("Keytoll-Key-Id")]++
		u.mu.Unlock()
		conn, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.Copy(conn, brw)
	})
	return u
}

// upgrade opens a WebSocket through the gateway, and returns the status and the
// connection.
func (g *gateway) upgrade(t *testing.T, secret string) (int, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /live HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", secret)
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, conn, reader
}

func TestAWebSocketPassesAndCountsOne(t *testing.T) {
	t.Parallel()
	u := newEcho(t)
	g := start(t, u, "default_plan p\nplan p {\n quota 2/month\n concurrency 1\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "a@example.com"})
	status, conn, reader := g.upgrade(t, secret)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status: got %d, want 101", status)
	}
	if got := g.Used(key); got != 1 {
		t.Errorf("usage at the upgrade: got %d, want 1", got)
	}
	sent := bytes.Repeat([]byte("frames of any kind\x00\xff"), 20_000)
	go func() { _, _ = conn.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(reader, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what came back is not what was sent, %v", err)
	}
	if status, _, _ := g.upgrade(t, secret); status != http.StatusTooManyRequests {
		t.Errorf("a second at concurrency 1: got %d, want 429", status)
	}
	conn.Close()
	g.WaitFor("free slot", func() bool {
		status, conn, _ := g.upgrade(t, secret)
		conn.Close()
		return status == http.StatusSwitchingProtocols
	})
	if got, want := g.Used(key), u.count(key); got != 2 || want != 2 {
		t.Errorf("usage: got %d, the upstream upgraded %d, want 2", got, want)
	}
	if status, _, _ := g.upgrade(t, secret); status != http.StatusTooManyRequests {
		t.Errorf("a third at a quota of 2: got %d, want 429", status)
	}
}

// TestOpenStreamsOfARevokedKeyAreCutWithin30Seconds holds a WebSocket and an
// event stream open, of a key that is revoked and of one that is not.
func TestOpenStreamsOfARevokedKeyAreCutWithin30Seconds(t *testing.T) {
	t.Parallel()
	sockets, events := newEcho(t), newUpstream(t)
	g := start(t, sockets, "", `@events path /slow
	keytoll
	reverse_proxy @events `+strings.TrimPrefix(events.URL, "http://"))
	revoked, gone := g.Mint(object{"customer": "a@example.com", "plan": "pro"})
	_, kept := g.Mint(object{"customer": "b@example.com", "plan": "pro"})
	type stream struct {
		name string
		read func() error
	}
	open := func(secret string) []stream {
		status, _, reader := g.upgrade(t, secret)
		if status != http.StatusSwitchingProtocols {
			t.Fatalf("status: got %d, want 101", status)
		}
		req, err := http.NewRequest(http.MethodGet, g.URL+"/slow?for=10m", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", secret)
		res, err := g.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		first := make([]byte, len("data: begun\n\n"))
		if _, err := io.ReadFull(res.Body, first); err != nil {
			t.Fatal(err)
		}
		one := func(r io.Reader) func() error {
			return func() error {
				_, err := r.Read(make([]byte, 1))
				return err
			}
		}
		return []stream{{"WebSocket", one(reader)}, {"event stream", one(res.Body)}}
	}
	cut, held := open(gone), open(kept)
	g.Must("POST", "/v1/keys/"+revoked+"/revoke", nil)
	at := time.Now()
	for _, s := range cut {
		if err := s.read(); err == nil {
			t.Errorf("%s: something came", s.name)
		}
		if took := time.Since(at); took > 30*time.Second {
			t.Errorf("%s: cut after %v, want at most 30 s", s.name, took)
		}
	}
	for _, s := range held {
		ended := make(chan error, 1)
		go func() { ended <- s.read() }()
		select {
		case err := <-ended:
			t.Errorf("%s of another key: cut, too: %v", s.name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
