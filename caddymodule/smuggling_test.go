// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A wire is an upstream that keeps requests byte for byte.
type wire struct {
	mu   sync.Mutex // guards seen
	seen []string
}

// newWire listens on socket. It understands just enough HTTP to know where a
// request ends.
func newWire(t *testing.T, socket string) *wire {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	w := new(wire)
	var serving sync.WaitGroup
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.serve(conn)
		}
	})
	return w
}

func (w *wire) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	var all strings.Builder
	line := func() string {
		text, _ := reader.ReadString('\n')
		all.WriteString(text)
		return strings.TrimRight(text, "\r\n")
	}
	line()
	chunked := false
	for text := line(); text != ""; text = line() {
		chunked = chunked || strings.EqualFold(text, "Transfer-Encoding: chunked")
	}
	for chunked {
		size := line()
		if size != "0" && size != "" {
			line()
			continue
		}
		for text := line(); text != ""; text = line() {
		}
		break
	}
	w.mu.Lock()
	w.seen = append(w.seen, all.String())
	w.mu.Unlock()
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// headers returns the header lines of a request whose name begins so, sorted.
func headers(request, prefix string) (found []string) {
	head, _, _ := strings.Cut(request, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if strings.HasPrefix(strings.ToLower(line), strings.ToLower(prefix)) {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}

func TestWhatReachesTheUpstreamByteForByte(t *testing.T) {
	b := blueprint{
		globals: "default_plan p\n\t\tplan p {\n\t\t}",
		gate:    "route health /health {\n\t\t\tpublic\n\t\t}",
		site:    "reverse_proxy /* unix/{dir}/wire.sock",
	}
	h := open(t, b)
	w := newWire(t, filepath.Join(h.dir, "wire.sock"))
	secret, key := h.mint()
	s := secret.Reveal()
	k, err := h.engine().store.Key(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	identity := strings.Join([]string{"Keytoll-Customer-Id: " + k.Customer, "Keytoll-Key-Id: " + key, "Keytoll-Mode: live", "Keytoll-Plan: p"}, "|")
	auth := "Authorization: Bearer " + s + "\r\n"
	cases := []struct {
		claim, request string
		status         string            // of the first answer
		upstream       map[string]string // header prefix → lines joined by |; nil: not asked
	}{
		{"the key is removed", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", "200", map[string]string{"authorization": "", "keytoll": identity}},
		{"the key header is removed", "GET / HTTP/1.1\r\nHost: a\r\nx-api-key: " + s + "\r\n\r\n", "200", map[string]string{"x-api": ""}},
		{"forged identity is replaced", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Keytoll-Key-Id: root\r\nkeytoll-plan: root\r\nKEYTOLL-EXTRA: 1\r\n\r\n", "200", map[string]string{"keytoll": identity}},
		{"forged identity with underscores is dropped", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Keytoll_Plan: root\r\n\r\n", "200", map[string]string{"keytoll": identity}},
		{"Connection names identity", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Connection: Keytoll-Plan\r\n\r\n", "200", map[string]string{"keytoll": identity, "connection": ""}},
		{"Connection names identity among others", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Connection: keep-alive, keytoll-PLAN , KEYTOLL-key-id,x-foo\r\nX-Foo: 1\r\n\r\n", "200", map[string]string{"keytoll": identity, "x-foo": ""}},
		{"several Connections", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Connection: close\r\nConnection: Keytoll-Customer-Id\r\nConnection: Keytoll-Mode\r\n\r\n", "200", map[string]string{"keytoll": identity}},
		{"Connection names the key header", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: " + s + "\r\nConnection: X-API-Key\r\n\r\n", "200", map[string]string{"x-api": ""}},
		{"a declared trailer", "POST / HTTP/1.1\r\nHost: a\r\n" + auth + "Transfer-Encoding: chunked\r\nTrailer: Keytoll-Plan, X-Sum\r\n\r\n2\r\nhi\r\n0\r\nKeytoll-Plan: root\r\nX-Sum: 1\r\n\r\n", "200", map[string]string{"keytoll": identity, "trailer": "Trailer: X-Sum"}},
		{"an undeclared trailer", "POST / HTTP/1.1\r\nHost: a\r\n" + auth + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nKeytoll-Plan: root\r\n\r\n", "200", map[string]string{"keytoll": identity}},
		{"a trailer that is the key", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n2\r\nhi\r\n0\r\n" + auth + "\r\n", "401", nil},
		{"forged identity on a public route", "GET /health HTTP/1.1\r\nHost: a\r\nKeytoll-Plan: root\r\nConnection: keytoll-plan\r\n\r\n", "200", map[string]string{"keytoll": ""}},
		{"a trailer on a public route", "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Keytoll-Plan, X-Sum\r\n\r\n2\r\nhi\r\n0\r\nKeytoll-Plan: root\r\nX-Sum: 1\r\n\r\n", "200", map[string]string{"keytoll": ""}},
		{"the key twice", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + auth + "\r\n", "400", nil},
		{"the key in two spellings", "GET / HTTP/1.1\r\nHost: a\r\nX-API-KEY: " + s + "\r\nx-api-key: " + s + "\r\n\r\n", "400", nil},
		{"two keys in one field", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: " + s + ", " + s + "\r\n\r\n", "403", nil},
		{"the scheme in another case, spaces around", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization:   bEARER   " + s + "  \r\n\r\n", "200", map[string]string{"authorization": ""}},
		{"a tab after the scheme", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\t" + s + "\r\n\r\n", "401", nil},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key : " + s + "\r\n\r\n", "400", nil},
		{"a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: \r\n " + s + "\r\n\r\n", "200", map[string]string{"x-api": ""}},
		{"a NUL in the key", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: a\x00b\r\n\r\n", "400", nil},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\n" + auth + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400", nil},
		{"length and chunks", "POST / HTTP/1.1\r\nHost: a\r\n" + auth + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200", map[string]string{"content-length": ""}},
		{"no host", "GET / HTTP/1.1\r\n" + auth + "\r\n", "400", nil},
		{"h2c", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "400", nil},
		{"CONNECT", "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n" + auth + "\r\n", "405", nil},
		{"CONNECT with a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", "405", nil},
		{"an absolute target", "GET http://a/x HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", "200", map[string]string{"get ": "GET /x HTTP/1.1"}},
		{"OPTIONS * is the server's own", "OPTIONS * HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", "200", nil},
		{"another X-Forwarded-For", "GET / HTTP/1.1\r\nHost: a\r\n" + auth + "X-Forwarded-For: 1.2.3.4\r\n\r\n", "200", map[string]string{"x-forwarded-for": ""}},
	}
	for _, c := range cases {
		t.Run(c.claim, func(t *testing.T) {
			head, rest, _ := strings.Cut(c.request, "\r\n")
			request := strings.ReplaceAll(head+"\r\n"+rest, "Host: a\r\n", "Host: api.test\r\n")
			request = strings.ReplaceAll(request, "http://a/", "http://api.test/")
			if !strings.Contains(strings.ToLower(request), "\r\nconnection:") {
				request = strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
			}
			answer := h.rawFirst(request)
			if got := strings.TrimPrefix(answer, "HTTP/1.1 "); !strings.HasPrefix(got, c.status) {
				t.Fatalf("got %q, want %s", answer, c.status)
			}
			seen := w.take()
			if c.upstream == nil {
				if len(seen) > 0 {
					t.Errorf("the upstream was asked:\n%s", seen)
				}
				return
			}
			if len(seen) != 1 {
				t.Fatalf("the upstream was asked %d times, want once", len(seen))
			}
			if strings.Contains(seen[0], s) {
				t.Errorf("the upstream sees the secret:\n%s", seen[0])
			}
			if _, body, _ := strings.Cut(seen[0], "\r\n\r\n"); strings.Contains(strings.ToLower(body), "keytoll") {
				t.Errorf("the upstream gets a forged trailer:\n%s", seen[0])
			}
			for prefix, want := range c.upstream {
				if got := strings.Join(headers(seen[0], prefix), "|"); got != want {
					t.Errorf("%s: got %q, want %q", prefix, got, want)
				}
			}
		})
	}
}

// rawFirst sends bytes as they are and returns the first line that comes back.
func (h *house) rawFirst(request string) string {
	h.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(h.dir, "api.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, request)
	line, _ := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
	return line
}
