// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// An upstream is the API that is sold. It keeps what it was asked.
type upstream struct {
	mu       sync.Mutex // guards what follows
	requests []*http.Request
	answer   http.HandlerFunc
}

func newUpstream(t *testing.T, socket string) *upstream {
	t.Helper()
	u := new(upstream)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(u)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return u
}

// ServeHTTP keeps the request and answers it.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests = append(u.requests, r)
	answer := u.answer
	u.mu.Unlock()
	if answer == nil {
		_, _ = w.Write([]byte("hello"))
		return
	}
	answer(w, r)
}

// answers sets how requests are answered from now on.
func (u *upstream) answers(f http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = f
}

// count returns how many requests came.
func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// last returns the last request that came.
func (u *upstream) last(t *testing.T) *http.Request {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		t.Fatal("the upstream was not asked")
	}
	return u.requests[len(u.requests)-1]
}
