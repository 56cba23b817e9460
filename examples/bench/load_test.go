// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func server(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestALoadSendsEachRequestOnceOverItsConnections(t *testing.T) {
	var asked atomic.Int64
	var secrets [3]atomic.Int64
	var connections sync.Map
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		secrets[r.Header.Get("X-Api-Key")[0]-'0'].Add(1)
		connections.Store(r.RemoteAddr, true)
		_, _ = w.Write([]byte("hello\n"))
	})
	l := load{address: address, connections: 4, requests: [][]byte{request(address, "0"), request(address, "1"), request(address, "2")}}
	if err := l.run(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 300 {
		t.Errorf("got %d requests, want 300", asked.Load())
	}
	opened := 0
	connections.Range(func(_, _ any) bool { opened++; return true })
	if opened > 4 {
		t.Errorf("got %d connections, want 4", opened)
	}
	for i := range secrets {
		if n := secrets[i].Load(); n != 100 {
			t.Errorf("got %d requests with secret %d, want 100", n, i)
		}
	}
}

func TestALoadEndsAtAnyOtherAnswer(t *testing.T) {
	address := server(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTooManyRequests) })
	l := load{address: address, connections: 2, requests: [][]byte{request(address, "")}}
	err := l.run(t.Context(), 10)
	if err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("got %v, want an error that names the status", err)
	}
}

func TestAFixedRateIsKept(t *testing.T) {
	address := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello\n")) })
	l := load{address: address, connections: 4, requests: [][]byte{request(address, "")}}
	begin := time.Now()
	took, err := l.paced(t.Context(), 51, 500)
	if err != nil {
		t.Fatal(err)
	}
	if lasted := time.Since(begin); lasted < 100*time.Millisecond {
		t.Errorf("50 intervals of 2 ms took %s", lasted)
	}
	if len(took) != 51 || percentile(took, 0) > percentile(took, 100) {
		t.Errorf("got %d times from %s to %s, want 51, the shortest first", len(took), percentile(took, 0), percentile(took, 100))
	}
}
