// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what was seen into testdata")

// TestWhatTheUpstreamReceivesByteForByte plays testdata/raw: each file holds
// what a client sends, the statuses it must get, and every byte the upstream
// must then receive. In files a line ends by CR LF unless \n says otherwise;
// \x00 and its like stand for bytes, {secret} and its like for what was minted.
func TestWhatTheUpstreamReceivesByteForByte(t *testing.T) {
	tape := newTape(t)
	u := &upstream{}
	u.Server = tape.server()
	g := start(t, u, `
		default_plan free
		plan free {
			rate 100000/second
			quota 1M/month
		}`, `keytoll {
		headers off
		route health GET /health {
			public
		}
		route images /v1/images/* {
			cost 20
		}
		route chat POST /v1/chat {
			scope chat
		}
	}`)
	id, secret := g.Mint(object{"customer": "raw@example.com"})
	_, other := g.Mint(object{"customer": "raw@example.com"})
	revoked, gone := g.Mint(object{"customer": "raw@example.com"})
	_, tied := g.Mint(object{"customer": "raw@example.com", "allowed_ips": []string{"192.0.2.0/24"}})
	_, narrow := g.Mint(object{"customer": "raw@example.com", "scopes": []string{"images"}})
	g.Must("POST", "/v1/keys/"+revoked+"/revoke", nil)
	// Shown where Caddy logs it: in the URL, in a header that nothing reads.
	stray, _ := g.Must("POST", "/v1/keys", object{"customer": "raw@example.com"})["api_key"].(string)
	customer := g.Must("GET", "/v1/keys/"+id, nil)["customer"].(string)
	names := strings.NewReplacer(
		"{secret}", secret, "{other}", other, "{revoked}", gone, "{tied}", tied, "{narrow}", narrow, "{stray}", stray,
		"{host}", strings.TrimPrefix(g.URL, "http://"), "{key}", id, "{customer}", customer,
		"{long}", strings.Repeat("k", 5000), "{megabyte}", strings.Repeat("h", 1<<20))
	back := strings.NewReplacer(
		secret, "{secret}", other, "{other}", gone, "{revoked}", tied, "{tied}", narrow, "{narrow}",
		strings.TrimPrefix(g.URL, "http://"), "{host}", id, "{key}", customer, "{customer}")

	files, err := filepath.Glob("testdata/raw/*.txt")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files in testdata/raw, %v; want at least 25", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			sent, want := readRaw(t, file)
			tape.rewind()
			statuses := g.play(t, []byte(names.Replace(sent)))
			got := "status " + strings.Join(statuses, " ") + "\n" + back.Replace(tape.text())
			if *update {
				writeRaw(t, file, got)
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

const seen = "---- seen\n"

// readRaw splits a file into what is sent, as bytes, and what must be seen.
func readRaw(t *testing.T, file string) (sent, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, want, _ := strings.Cut(string(text), seen)
	var out strings.Builder
	for line := range strings.Lines(head) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		line = strings.TrimSuffix(line, "\n")
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		out.WriteString(raw)
		if !strings.HasSuffix(raw, "\n") {
			out.WriteString("\r\n")
		}
	}
	return out.String(), want
}

func writeRaw(t *testing.T, file, got string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), seen)
	if err := os.WriteFile(file, []byte(head+seen+got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// play sends the bytes on one connection and returns the statuses of all
// answers; "closed" where the connection ended without one.
func (g *gateway) play(t *testing.T, sent []byte) []string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = conn.Write(sent) // a gateway that hangs up early is an answer, too
		if !bytes.Contains(sent, []byte("\r\n\r\n")) && !bytes.Contains(sent, []byte("\n\n")) {
			_ = conn.(*net.TCPConn).CloseWrite() // half a request: nothing more is to come
		}
	}()
	method, _, _ := bytes.Cut(sent, []byte(" "))
	reader := bufio.NewReader(conn)
	var statuses []string
	for {
		res, err := http.ReadResponse(reader, &http.Request{Method: string(method)})
		if err != nil {
			if len(statuses) == 0 {
				return []string{"closed"}
			}
			return statuses
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		status := strconv.Itoa(res.StatusCode)
		if _, code, ok := strings.Cut(string(body), `"code":"`); ok {
			code, _, _ = strings.Cut(code, `"`)
			status += " " + code
		}
		statuses = append(statuses, status)
	}
}

// A tape is an upstream that writes down every byte it receives.
type tape struct {
	t        *testing.T
	listener net.Listener
	mu       sync.Mutex
	requests bytes.Buffer // of complete requests
}

func newTape(t *testing.T) *tape {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tape := &tape{t: t, listener: listener}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { tape.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wait.Wait()
	})
	return tape
}

// serve takes one request, answers it, and closes.
func (p *tape) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var raw bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	p.mu.Lock()
	p.requests.Write(raw.Bytes())
	p.mu.Unlock()
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

func (p *tape) rewind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests.Reset()
}

// text returns what was received, its bytes as the files write them.
func (p *tape) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests.Len() == 0 {
		return "nothing\n"
	}
	var out strings.Builder
	for line := range strings.Lines(p.requests.String()) {
		body, crlf := strings.CutSuffix(line, "\r\n")
		quoted := strconv.Quote(body)
		out.WriteString(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`))
		if !crlf && strings.HasSuffix(line, "\n") {
			continue // Quote has written \n
		}
		out.WriteString("\n")
	}
	return out.String()
}

// server lends the tape the address fields of a test server.
func (p *tape) server() *httptest.Server {
	return &httptest.Server{URL: "http://" + p.listener.Addr().String()}
}
