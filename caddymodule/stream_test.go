// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// A bench is a handler over an engine in memory, without Caddy.
type bench struct {
	*house
	app     *App
	handler *Handler
}

// newBench returns a handler whose plan has no limit. The caller closes it.
func newBench(t testing.TB, h *Handler) *bench {
	t.Helper()
	app := &App{Storage: &Storage{Engine: engineMemory}, DefaultPlan: "p", Plans: []Plan{{ID: "p"}}}
	if err := app.resolve(); err != nil {
		t.Fatal(err)
	}
	return &bench{house: &house{t: t, dir: t.Name()}, app: app, handler: h}
}

// provision does what Caddy does before a configuration starts.
func (b *bench) provision() {
	b.t.Helper()
	var err error
	if b.app.tenancy, err = rent(b.t.Name()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.handler.prepare(); err != nil {
		b.t.Fatal(err)
	}
	b.app.logger = b.app.tenancy.engine.logger
	b.handler.app, b.handler.series = b.app, b.app.tenancy.engine.metrics.handler(b.handler.routes.All())
}

func (b *bench) start() {
	b.t.Helper()
	ctx := context.Background()
	if err := b.app.tenancy.engine.open(ctx, b.app.Storage); err != nil {
		b.t.Fatal(err)
	}
	if err := b.app.tenancy.engine.apply(ctx, b.app); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.app.Cleanup(); err != nil {
		b.t.Error(err)
	}
}

// A line is a client's connection that knows deadlines.
type line struct {
	*httptest.ResponseRecorder
	cut bool
}

func (l *line) SetReadDeadline(at time.Time) error  { l.cut = true; return nil }
func (l *line) SetWriteDeadline(at time.Time) error { l.cut = true; return nil }
func (l *line) FlushError() error                   { return nil }

func TestAStreamOfARevokedKeyIsCutWithin30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, new(Handler))
		b.provision()
		b.start()
		defer b.close()
		secret, id := b.mint()
		var ended time.Time
		stream := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			for {
				if _, err := w.Write([]byte("data: x\n\n")); err != nil {
					ended = time.Now()
					return nil
				}
				time.Sleep(time.Second)
			}
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", secret.Reveal())
		client := &line{ResponseRecorder: httptest.NewRecorder()}
		done := make(chan error)
		go func() { done <- b.handler.ServeHTTP(client, r, stream) }()
		time.Sleep(45 * time.Second)
		if !ended.IsZero() {
			t.Fatal("the stream ended before the key was revoked")
		}
		k, err := b.engine().store.Key(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		k.State, k.RevokedAt = apikey.Revoked, time.Now()
		revoked := time.Now()
		b.write(k)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := ended.Sub(revoked); took > 30*time.Second || !client.cut {
			t.Errorf("the stream ended %v after the key, want within 30 s", took)
		}
	})
}

func TestARequestBeforeTheStartWaitsForItOrIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, new(Handler))
		b.provision()
		defer b.close()
		began := time.Now()
		early := httptest.NewRecorder()
		if err := b.handler.ServeHTTP(early, httptest.NewRequest("GET", "/", nil), nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); early.Code != http.StatusServiceUnavailable || took != waitForStart || early.Header().Get("Retry-After") != "1" {
			t.Errorf("got %d %v after %v, want 503 after %v", early.Code, early.Header(), took, waitForStart)
		}
		waiting := httptest.NewRecorder()
		done := make(chan error)
		go func() { done <- b.handler.ServeHTTP(waiting, httptest.NewRequest("GET", "/", nil), nil) }()
		time.Sleep(time.Second)
		b.start()
		if err := <-done; err != nil || waiting.Code != http.StatusUnauthorized {
			t.Errorf("got %d, %v once it had started, want 401", waiting.Code, err)
		}
	})
}

func TestHandlersDoNotAllocateMuch(t *testing.T) {
	b := newBench(t, &Handler{Routes: []Route{{Name: "chat", Path: "/v1/chat"}}})
	b.provision()
	b.start()
	defer b.close()
	secret, _ := b.mint()
	answer := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		_, err := w.Write([]byte("hello"))
		return err
	})
	r := httptest.NewRequest("GET", "/v1/chat", nil)
	key := []string{secret.Reveal()}
	w := &discard{header: http.Header{}}
	n := testing.AllocsPerRun(1000, func() {
		r.Header["X-Api-Key"] = key
		clear(w.header)
		w.header["Content-Length"] = []string{"5"}
		if err := b.handler.ServeHTTP(w, r, answer); err != nil {
			t.Fatal(err)
		}
	})
	if w.status != http.StatusOK {
		t.Fatalf("got %d, want 200", w.status)
	}
	const own = 1 // what this test allocates itself
	if n-own > 4 {
		t.Errorf("got %v allocations in a request, want at most 4", n-own)
	}
}

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkHandler(b *testing.B) {
	h := newBench(b, &Handler{Routes: []Route{{Name: "chat", Path: "/v1/chat"}}})
	h.app.settings.Plans = []plan.Plan{{
		ID:     "p",
		Rates:  []plan.Rate{{Unit: plan.Requests, Count: plan.MaxCount, Per: time.Second, Burst: plan.MaxCount, Scope: plan.PerKey}},
		Quotas: []plan.Quota{{Unit: plan.Requests, Limit: plan.MaxCount, Span: plan.Month, Scope: plan.PerKey, Overage: plan.Block}},
	}}
	h.provision()
	h.start()
	defer h.close()
	secret, _ := h.mint()
	answer := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		_, err := w.Write([]byte("hello"))
		return err
	})
	key := []string{secret.Reveal()}
	length := []string{"5"}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		r := httptest.NewRequest("GET", "/v1/chat", nil)
		w := &discard{header: http.Header{}}
		for p.Next() {
			r.Header["X-Api-Key"] = key
			clear(w.header)
			w.header["Content-Length"] = length
			if err := h.handler.ServeHTTP(w, r, answer); err != nil || w.status != http.StatusOK {
				b.Error(errors.Join(err, errors.New("not admitted")))
			}
		}
	})
}
