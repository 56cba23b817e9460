// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func connect(t *testing.T, address string) *Client {
	t.Helper()
	c, err := New(Options{Address: address, Token: "kta_test", Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return connect(t, server.URL)
}

func TestAddresses(t *testing.T) {
	for address, local := range map[string]bool{
		"": true, "127.0.0.1:2021": true, "localhost:2021": true, "http://[::1]:2021/": true, "unix//run/keytoll.sock": true,
		"unix//run/keytoll.sock|0660": true, "unix:///run/keytoll.sock": true, "https://admin.example.com": false, "10.0.0.1:2021": false,
	} {
		if c, err := New(Options{Address: address}); err != nil || c.Local() != local {
			t.Errorf("%q: got local %v, %v, want %v", address, err == nil && c.Local(), err, local)
		}
	}
	for _, address := range []string{"ftp://x", "http://", "http://u:p@x", "http://x/v1", "http://x?y=z", "unix/", "a b"} {
		if _, err := New(Options{Address: address}); err == nil {
			t.Errorf("%q is taken for an address", address)
		}
	}
}

func TestASocketIsAnAddress(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"id":%q}`, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	server.Listener = listener
	server.Start()
	defer server.Close()
	found, err := Get[Key](context.Background(), connect(t, "unix/"+socket+"|0660"), "/v1/keys/key_1", nil)
	if err != nil || found.Value.ID != "/v1/keys/key_1 Bearer kta_test" {
		t.Errorf("got %+v, %v", found.Value, err)
	}
}

func TestARecordKeepsWhatWasSent(t *testing.T) {
	const sent = `{"id":"key_1","new_in_2028":[1,2],"plan":null}`
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sent) })
	found, err := Get[Key](context.Background(), c, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(found)
	if err != nil || string(text) != sent || found.Value.ID != "key_1" || found.Value.Plan != "" {
		t.Errorf("got %s, %+v, %v", text, found.Value, err)
	}
}

func TestProblemsAreErrors(t *testing.T) {
	for want, c := range map[string]struct {
		status int
		body   string
		header http.Header
	}{
		"name: It is required.":                          {400, `{"code":"invalid_field","field":"name","detail":"It is required."}`, nil},
		"email is taken by cust_1.":                      {409, `{"code":"duplicate","field":"email","detail":"email is taken by cust_1."}`, nil},
		"the admin API answered 502 Bad Gateway":         {502, `<html>`, http.Header{"Content-Type": {"text/html"}}},
		"the admin API answered 503 Service Unavailable": {503, `{broken`, nil},
		"the admin API answered 302 Found":               {302, ``, http.Header{"Location": {"http://127.0.0.1:1/"}}},
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "7")
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		_, err := Get[Key](context.Background(), client, "/", nil)
		var problem *Error
		if !errors.As(err, &problem) || problem.Status != c.status || problem.Error() != want || problem.RetryAfter != 7*time.Second {
			t.Errorf("%d %s: got %v, want %s", c.status, c.body, err, want)
		}
	}
}

func TestTheTokenIsNotSentOn(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was called with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	if _, err := Get[Key](context.Background(), c, "/", nil); err == nil {
		t.Error("a redirect was followed")
	}
}

func TestAPostWhoseAnswerWasLostIsSentAgainAsTheSame(t *testing.T) {
	var keys []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"name":"x"}` {
			t.Errorf("got the body %s, %v", body, err)
		}
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{}`)
	})
	if _, err := Call[Key](context.Background(), c, http.MethodPost, "/", nil, map[string]string{"name": "x"}); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0] != keys[1] || len(keys[0]) < 20 {
		t.Errorf("got the Idempotency-Keys %q", keys)
	}
}

func TestListsAreReadPageByPage(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		at, _ := strconv.Atoi(r.URL.Query().Get("after"))
		if r.URL.Query().Get("q") != "x" {
			t.Errorf("got the query %s", r.URL.RawQuery)
		}
		fmt.Fprintf(w, `{"data":[{"id":"%d"},{"id":"%d"}],"has_more":%v,"next_cursor":"%d"}`, at+1, at+2, at < 4, at+2)
	})
	query := url.Values{"q": {"x"}}
	var got []string
	for record, err := range All[Key](context.Background(), c, "/v1/keys", query) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Value.ID)
	}
	if strings.Join(got, "") != "123456" {
		t.Errorf("got %v", got)
	}
	if query.Has("after") {
		t.Error("the caller's query was changed")
	}
	for range All[Key](context.Background(), c, "/v1/keys", query) {
		break // asks for no second page
	}
}

func TestNothingThatAnswersIsUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := Get[Key](context.Background(), connect(t, gone.URL), "/v1/keys", nil)
	if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "/v1/keys") {
		t.Errorf("got %v", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Get[Key](stopped, connect(t, gone.URL), "/", nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("a call that was given up: got %v", err)
	}
}
