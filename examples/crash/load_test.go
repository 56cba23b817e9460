// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load is a crowd of clients. What it counts may be read while it runs.
type load struct {
	t        testing.TB
	url      string
	accounts []*account

	requests atomic.Int64
	died     atomic.Int64 // requests in flight when the gateway died
	mu       sync.Mutex   // guards statuses
	statuses map[int]int64

	stop chan struct{}
	done sync.WaitGroup
}

// run begins to send requests of all kinds by so many clients, until end.
func (l *load) run(r *rand.Rand, clients int) {
	l.statuses = make(map[int]int64)
	l.stop = make(chan struct{})
	for range clients {
		mine := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		l.done.Go(func() {
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if dead := l.once(client, mine); dead {
					return
				}
			}
		})
	}
}

// end waits until the last answer has come.
func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

// once sends one request of a random kind. The gateway is dead if it does not
// answer what it should.
func (l *load) once(client *http.Client, r *rand.Rand) (dead bool) {
	a := l.accounts[r.IntN(len(l.accounts))]
	path, want := plainPath, ""
	switch n := r.IntN(100); {
	case n < 15:
		path = heavyPath
	case n < 25:
		want = wantFailure
	case n < 28:
		want = wantNothing
	}
	_, err := l.send(client, a, a.secrets[r.IntN(len(a.secrets))], path, want)
	return err != nil && (want != wantNothing || !errors.Is(err, context.Canceled))
}

// send sends one request and counts what came of it. Its error is that of a
// request that was not answered.
func (l *load) send(client *http.Client, a *account, secret, path, want string) (status int, err error) {
	cost := costOf(path)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// A POST, so that no client or proxy quietly sends it twice.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+path, nil)
	if err != nil {
		l.t.Error(err)
		return 0, err
	}
	req.Header.Set("X-API-Key", secret)
	req.Header.Set(whoseHeader, a.name)
	if want != "" {
		req.Header.Set(wantHeader, want)
	}
	l.requests.Add(1)
	if want == wantNothing {
		timer := time.AfterFunc(5*time.Millisecond, cancel)
		defer timer.Stop()
	}
	res, err := client.Do(req)
	if err == nil {
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
	}
	switch {
	case err == nil:
		l.count(a, res.StatusCode, cost)
		return res.StatusCode, nil
	case want == wantNothing && errors.Is(err, context.Canceled):
		a.hungUp.Add(cost)
	case errors.Is(err, syscall.ECONNREFUSED): // it never began
	default:
		a.lost.Add(cost)
		l.died.Add(1)
	}
	return 0, err
}

func (l *load) count(a *account, status int, cost int64) {
	switch {
	case status < 300:
		a.received.Add(cost)
	case status == http.StatusTooManyRequests && cost == 1:
		a.refusals.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[status]++
}

// drain spends what is left of an account's quota, one request after the other.
func (l *load) drain(a *account) {
	l.t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for refused := 0; refused < 3; {
		switch status, err := l.send(client, a, a.secrets[0], plainPath, ""); {
		case err != nil:
			l.t.Fatalf("spending the rest of %s: %v", a.name, err)
		case status == http.StatusTooManyRequests:
			refused++
		case status != http.StatusOK && status != http.StatusServiceUnavailable:
			l.t.Fatalf("spending the rest of %s: status %d", a.name, status)
		}
	}
}

// check reports statuses that nobody should have seen.
func (l *load) check() {
	l.t.Helper()
	for status, n := range l.statuses {
		switch status {
		case http.StatusOK, http.StatusInternalServerError, http.StatusTooManyRequests:
		case http.StatusServiceUnavailable:
			figures.add("requests refused by 503 after a kill", n)
		default:
			l.t.Errorf("%d answers of status %d", n, status)
		}
	}
}
