// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// The sold API: what its requests cost, and the headers by which a client tells
// the upstream whose request it is and what answer it wants.
const (
	plainPath   = "/plain" // costs 1
	heavyPath   = "/heavy" // costs heavyCost
	heavyCost   = 5
	whoseHeader = "Judge-Account"
	wantHeader  = "Judge-Want"
	wantFailure = "failure" // a 500
	wantNothing = "nothing" // no answer: the client will hang up
)

func costOf(path string) int64 {
	if path == heavyPath {
		return heavyCost
	}
	return 1
}

// upstream is the API that is sold. It counts for itself: each thing before
// anybody else can know of it.
type upstream struct {
	*httptest.Server
	mu       sync.Mutex // guards accounts
	accounts map[string]*account
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{accounts: make(map[string]*account)}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) open(a *account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accounts[a.name] = a
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	u.mu.Lock()
	a := u.accounts[r.Header.Get(whoseHeader)]
	u.mu.Unlock()
	if a == nil {
		http.Error(w, "whose?", http.StatusTeapot)
		return
	}
	cost := costOf(r.URL.Path)
	a.forwarded.Add(cost)
	switch r.Header.Get(wantHeader) {
	case wantFailure:
		a.refunded.Add(cost)
		http.Error(w, "as you wish", http.StatusInternalServerError)
	case wantNothing:
		<-r.Context().Done()
	default:
		a.answered.Add(cost)
		_, _ = io.WriteString(w, "hello\n")
	}
}
