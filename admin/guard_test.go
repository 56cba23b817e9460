// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryCallNeedsATokenButHealthAndHome(t *testing.T) {
	a := newAPI(t)
	for _, r := range a.routes() {
		method, path, _ := strings.Cut(strings.TrimSuffix(r.pattern, "{$}"), " ")
		path = strings.ReplaceAll(path, "{id}", "x_1")
		for _, token := range []string{"", "Bearer", "Bearer ", "Bearer nope", "Basic " + ownerToken, ownerToken} {
			w := a.call(method, path, "", "Authorization", token)
			if open := r.roles == public; open != (w.Code < 400) {
				t.Errorf("%s with %q: got %d", r.pattern, token, w.Code)
			} else if !open && w.Code != 401 && w.Code != 429 {
				t.Errorf("%s with %q: got %d", r.pattern, token, w.Code)
			}
		}
	}
	w := a.call("GET", "/v1/keys", "", "Authorization", "").refused(401, "unauthorized", "")
	if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
		t.Errorf("got WWW-Authenticate %q", got)
	}
	a.call("GET", "/nothing", "", "Authorization", "").refused(401, "unauthorized", "")
}

func TestWrongTokensAreLimitedAndTheRightOneIsNot(t *testing.T) {
	a := newAPI(t)
	for i := range maxAttempts {
		if w := a.call("GET", "/v1/keys", "", "Authorization", "Bearer nope"); w.Code != 401 {
			t.Fatalf("attempt %d: got %d, want 401", i, w.Code)
		}
	}
	w := a.call("GET", "/v1/keys", "", "Authorization", "Bearer nope").refused(429, "too_many_attempts", "")
	if got := w.Header().Get("Retry-After"); got != "60" {
		t.Errorf("got Retry-After %q, want 60", got)
	}
	a.call("GET", "/v1/keys", "").want(200)
	r := httptest.NewRequest("GET", "http://localhost/v1/keys", nil)
	r.RemoteAddr = "192.0.2.9:1"
	r.Header.Set("Authorization", "Bearer nope")
	a.do(r).want(401)
	a.clock.advance(time.Minute)
	a.call("GET", "/v1/keys", "", "Authorization", "Bearer nope").want(401)
}

func TestTheMemoryOfWrongTokensIsBounded(t *testing.T) {
	a, now := newAttempts(), time.Unix(0, 0)
	for i := range 10 * maxAttemptRows {
		a.failed(strings.Repeat("x", i%97)+string(rune('a'+i%26))+time.Duration(i).String(), now)
	}
	if len(a.rows) > maxAttemptRows {
		t.Errorf("remembers %d addresses", len(a.rows))
	}
}

// on returns the request as if it had come in on a local address.
func on(r *http.Request, network, address string) *http.Request {
	var local net.Addr = &net.UnixAddr{Net: network, Name: address}
	if network == "tcp" {
		local, _ = net.ResolveTCPAddr(network, address)
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func TestOnlyKnownHostsAreAnswered(t *testing.T) {
	a := newAPI(t, func(o *Options, _ *gateSettings) { o.Hosts = []string{"Admin.Example.com"} })
	const loopback, outside = "127.0.0.1:2021", "10.0.0.5:2021"
	for _, c := range []struct {
		host, network, local string
		accepted             bool
	}{
		{"localhost", "tcp", loopback, true},
		{"LOCALHOST:2021", "tcp", loopback, true},
		{"localhost.", "tcp", loopback, true},
		{"127.0.0.1:2021", "tcp", loopback, true},
		{"[::1]:2021", "tcp", loopback, true},
		{"[::1]", "tcp", loopback, true},
		{"admin.example.com", "tcp", loopback, true},
		{"admin.example.com:443", "tcp", outside, true},
		{"10.0.0.5:2021", "tcp", outside, true},
		{"192.168.7.7:2021", "tcp", outside, true}, // an address of the machine that forwards to a container
		{"anything", "unix", "/run/keytoll.sock", true},

		{"", "tcp", loopback, false},
		{"evil.example", "tcp", loopback, false},
		{"evil.example:2021", "tcp", outside, false},
		{"localhost.evil.example", "tcp", loopback, false},
		{"localhost@evil.example", "tcp", loopback, false},
		{"evil.example:localhost", "tcp", loopback, false},
		{"admin.example.com.evil.example", "tcp", loopback, false},
		{"10.0.0.5:2021", "tcp", loopback, false},
		{"0.0.0.0:2021", "tcp", loopback, false},
		{"2130706433", "tcp", loopback, false},
		{"0x7f.1", "tcp", loopback, false},
		{"[::1", "tcp", loopback, false},
		{"localhost\x00", "tcp", loopback, false},
		{"localhost,evil.example", "tcp", loopback, false},
	} {
		r := on(httptest.NewRequest("GET", "/healthz", nil), c.network, c.local)
		r.Host = c.host
		if w := a.do(r); (w.Code == 200) != c.accepted {
			t.Errorf("Host %q on %s %s: got %d", c.host, c.network, c.local, w.Code)
		}
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	a := newAPI(t)
	for _, c := range []struct {
		field, value string
		accepted     bool
	}{
		{"Origin", "http://localhost:2021", true},
		{"Origin", "https://localhost:2021", true}, // who ends TLS before us
		{"Sec-Fetch-Site", "same-origin", true},
		{"Sec-Fetch-Site", "none", true},

		{"Origin", "null", false},
		{"Origin", "http://localhost:3000", false},
		{"Origin", "http://localhost", false},
		{"Origin", "http://evil.example", false},
		{"Origin", "http://localhost:2021.evil.example", false},
		{"Origin", "http://localhost:2021@evil.example", false},
		{"Origin", "http://evil.example@localhost:2021", false},
		{"Origin", "http://localhost:2021/", false},
		{"Origin", "ftp://localhost:2021", false},
		{"Origin", "//localhost:2021", false},
		{"Origin", "localhost:2021", false},
		{"Origin", " ", false},
		{"Sec-Fetch-Site", "cross-site", false},
		{"Sec-Fetch-Site", "same-site", false},
		{"Sec-Fetch-Site", "nonsense", false},
	} {
		for _, method := range []string{"GET", "POST"} {
			w := a.call(method, "/v1/customers", "", c.field, c.value)
			if accepted := w.Code < 300; accepted != c.accepted {
				t.Errorf("%s with %s: %s: got %d", method, c.field, c.value, w.Code)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("CORS is answered")
			}
		}
	}
	r := httptest.NewRequest("GET", "https://localhost/healthz", nil)
	r.TLS = &tls.ConnectionState{}
	r.Header.Set("Origin", "http://localhost")
	a.do(r).refused(403, "cross_site", "")
	r = httptest.NewRequest("GET", "http://localhost/healthz", nil)
	r.Header["Origin"] = []string{"http://localhost", "http://evil.example"}
	a.do(r).refused(403, "cross_site", "")
	a.call("OPTIONS", "/v1/keys", "", "Access-Control-Request-Method", "POST", "Origin", "").refused(405, "method_not_allowed", "")
}

func TestPathsAndMethodsThatAreNotThere(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{
		"/v1", "/v1/", "/v1/keys/", "//v1/keys", "/v1//keys", "/v1/./keys", "/v1/x/../keys", "/V1/keys", "/v1/keys/a/b", "/v1/keys/a/rotate/x", "/dashboard",
	} {
		a.call("GET", path, "").refused(404, "not_found", "")
	}
	for _, path := range []string{"/v1/keys/..%2f..%2fadmin-tokens", "/v1/keys/%00", "/v1/keys/%ff", "/v1/keys/" + strings.Repeat("a", 5000)} {
		a.call("GET", path, "").refused(404, "not_found", "")
	}
	w := a.call("DELETE", "/v1/keys", "").refused(405, "method_not_allowed", "")
	if got := w.Header().Get("Allow"); got != "GET, HEAD, POST" {
		t.Errorf("got Allow %q", got)
	}
	a.call("TRACE", "/v1/keys", "").want(405)
	a.call("GET", "/v1/%6beys", "").want(200)
}

func TestBodies(t *testing.T) {
	a := newAPI(t)
	post := func(body string, fields ...string) *reply { return a.call("POST", "/v1/customers", body, fields...) }
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "application/merge-patch+json", "application/x-ndjson", "json", ";"} {
		post(`{}`, "Content-Type", kind).refused(415, "unsupported_media_type", "")
	}
	post(`{}`, "Content-Type", "Application/JSON; charset=utf-8").want(201)
	a.call("PATCH", "/v1/customers/"+post(`{}`).text("id"), `{}`, "Content-Type", "application/merge-patch+json").want(200)
	a.call("POST", "/v1/keys/import", `{}`, "Content-Type", "text/csv").refused(415, "unsupported_media_type", "")

	post(`{"name":"`+strings.Repeat("a", 1<<20)+`"}`).refused(413, "body_too_large", "")
	for _, body := range []string{
		`[]`, `"x"`, `null`, `7`, `{`, `{"name":"a"}x`, `{"name":"a"}{}`, `{"name":"a",}`, `{name:"a"}`, "{\"name\":\"\xff\"}", "{\"name\":\"a\nb\"}", `{'name':'a'}`, "\ufeff{}", "\x00",
		`{"metadata":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) + `}`,
		`{"metadata":{"a":` + strings.Repeat(`[`, 30000) + strings.Repeat(`]`, 30000) + `}}`,
	} {
		post(body).refused(400, "invalid_body", "")
	}
	post(`{"name":"\ud800"}`).refused(400, "invalid_field", "name")
	post(`{"na\u006de":"a","name":"b"}`).refused(400, "invalid_field", "name")
	for _, body := range []string{`{"name":"geheim`, `{"geheim":1}`} { // a secret put in the wrong place
		if w := post(body).want(400); strings.Contains(w.text("detail"), "geheim") {
			t.Errorf("the detail repeats what was sent: %s", w.Body)
		}
	}
}

func TestAnswersAreKeptByNobody(t *testing.T) {
	a := newAPI(t)
	for _, w := range []*reply{a.call("GET", "/", "", "Authorization", ""), a.call("GET", "/v1/keys", ""), a.call("GET", "/v1/nothing", ""), a.call("GET", "/healthz", "")} {
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", w.call, name, got, want)
			}
		}
		if w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s: has no request id", w.call)
		}
	}
}

func FuzzHostsAndOriginsOfOthersAreRefused(f *testing.F) {
	for _, seed := range [][2]string{
		{"localhost:2021", "http://localhost:2021"},
		{"127.0.0.1", "null"},
		{"evil.example", ""},
		{"[::1]:1", "https://[::1]:1"},
		{"localhost:", "http://localhost:"},
		{"LOCALHOST.", "http://LOCALHOST."},
		{"::1", "http://::1"},
		{"[::ffff:127.0.0.1]:80", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, host, origin string) {
		r := &http.Request{Host: host, Header: http.Header{"Origin": {origin}}}
		if newHosts(nil).check(r) == nil {
			// What a browser would connect to under this name is this machine.
			u, err := url.Parse("http://" + host + "/")
			if err != nil {
				t.Skip() // no browser sends it
			}
			name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
			if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
				t.Errorf("the host %q, that is %q, was accepted", host, name)
			}
		}
		if checkOrigin(r) == nil {
			u, err := url.Parse(origin)
			if err != nil || !strings.EqualFold(u.Host, host) {
				t.Errorf("the origin %q was accepted for the host %q", origin, host)
			}
		}
	})
}

func FuzzDocumentsAreReadAsTheyWereWritten(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"a":[{"b":null}]}`, `{"a":"\u0000\ud800"}`, `{"a":1e999}`, `[1]`, `{"a":{"b":{"b":-0}}} `, "{\"\xff\":1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := parseDocument(raw)
		if err != nil {
			if p := problemOf(err); p.status != 400 {
				t.Errorf("got %v", err)
			}
			return
		}
		var plain map[string]any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&plain); err != nil || !reflect.DeepEqual(plain, d.members) {
			t.Errorf("%q: got %v, want %v: %v", raw, d.members, plain, err)
		}
		again, err := parseDocument(mustJSON(d.members))
		if err != nil || again.digest() != d.digest() {
			t.Errorf("%q reads otherwise when it is written: %v", raw, err)
		}
		for _, read := range []func(*fields){
			func(f *fields) { readKey(f, new(keyRecord)) }, func(f *fields) { readCustomer(f, new(customerRecord)) }, func(f *fields) { readPlan(f, new(planRecord)) },
		} {
			f := d.reading()
			read(f)
			if err := f.finish(); err != nil && problemOf(err).status != 400 {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestCallsAreObservedByTheirPattern(t *testing.T) {
	var seen []string
	a := newAPI(t, func(o *Options, _ *gateSettings) {
		o.Observe = func(pattern string, status int) { seen = append(seen, fmt.Sprint(pattern, " ", status)) }
	})
	a.call("GET", "/v1/keys/key_1", "")
	a.call("GET", "/v1/keys", "", "Authorization", "")
	a.call("GET", "/v1/nothing", "")
	a.call("GET", "/v1/keys", "", "Host", "evil.example")
	a.call("HEAD", "/v1/stream", "")
	want := []string{"GET /v1/keys/{id} 404", "GET /v1/keys 401", " 404", " 403", "GET /v1/stream 200"}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
}
