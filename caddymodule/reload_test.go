// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/store"
)

const openPlan = `
	default_plan p
	plan p {
		quota 1000000/month
	}
`

func TestReloadsUnderLoadKeepCountsExact(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, key := h.mint()
	var calls, others atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				r, _ := http.NewRequest("GET", "http://api.test/", nil)
				r.Header.Set("X-API-Key", secret.Reveal())
				res, err := h.client.Do(r)
				if err != nil {
					continue // Caddy closed the socket: what was answered is what counts
				}
				res.Body.Close()
				calls.Add(1)
				if res.StatusCode != http.StatusOK {
					others.Add(1)
				}
			}
		})
	}
	for i := range 30 {
		h.load(blueprint{globals: openPlan, site: "header X-Load " + strings.Repeat("x", i+1)})
	}
	cancel()
	clients.Wait()
	h.waitUntilIdle()
	if others.Load() > 0 {
		t.Errorf("got %d answers that were not 200", others.Load())
	}
	used := h.used(key).Requests
	if used != int64(h.upstream.count()) || used < calls.Load() || calls.Load() == 0 {
		t.Errorf("got %d requests counted, %d at the upstream, %d answered: want the first two equal", used, h.upstream.count(), calls.Load())
	}
}

func TestAFailedReloadFallsBack(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, _ := h.mint()
	err := h.tryLoad(h.caddyfile(blueprint{globals: "default_plan p\n\t\tplan p {\n\t\t\trate 1/hour\n\t\t}\n\t\tadmin 127.0.0.1:0 {\n\t\t\ttls missing.pem missing.key\n\t\t}"}))
	if err == nil || !strings.Contains(err.Error(), "missing.pem") {
		t.Fatalf("got %v, want the reload to fail for the certificate", err)
	}
	for range 3 {
		if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
			t.Fatalf("got %d %s, want the plan of the configuration before", got.status, got.body)
		}
	}
	if n := len(h.engine().inForce); n != 1 {
		t.Errorf("got %d configurations in force, want 1", n)
	}
}

func TestAPlanEditHoldsAtTheNextRequestAndKeepsCounts(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, key := h.mint()
	for range 3 {
		h.call("GET", "/", bearerOf(secret)...)
	}
	h.load(blueprint{globals: "default_plan p\n\t\tplan p {\n\t\t\tquota 2/month\n\t\t}"})
	got := h.call("GET", "/", bearerOf(secret)...)
	if p := got.problem(t); p.Code != "quota_exceeded" || *p.Used != 3 {
		t.Errorf("got %s, want quota_exceeded with 3 used", got.body)
	}
	if used := h.used(key).Requests; used != 3 {
		t.Errorf("got %d requests counted, want 3", used)
	}
}

// holdsSlow makes the upstream say when a request for /slow has arrived, and
// answer it once released.
func (h *house) holdsSlow() (arrived, release chan bool) {
	arrived, release = make(chan bool), make(chan bool)
	h.upstream.answers(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- true
			<-release
		}
	})
	return arrived, release
}

func TestCountsAreExactAfterAGracefulStop(t *testing.T) {
	b := blueprint{globals: openPlan}
	h := open(t, b)
	secret, key := h.mint()
	arrived, release := h.holdsSlow()
	for range 7 {
		h.call("GET", "/", bearerOf(secret)...)
	}
	done := make(chan answer)
	go func() { done <- h.call("GET", "/slow", bearerOf(secret)...) }()
	<-arrived
	stopped := make(chan error)
	go func() { stopped <- caddy.Stop() }()
	close(release)
	if got := <-done; got.status != http.StatusOK {
		t.Errorf("got %d for the request in flight, want 200", got.status)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if h.engine() != nil {
		t.Error("the engine is still there")
	}
	h.client.CloseIdleConnections()
	h.load(b)
	if used := h.used(key).Requests; used != 8 {
		t.Errorf("got %d requests counted after the start, want 8", used)
	}
	if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
		t.Errorf("got %d after the start, want 200", got.status)
	}
}

func TestARequestOutlivesItsConfigurationAndTheEngineIsAdopted(t *testing.T) {
	b := blueprint{globals: openPlan}
	h := open(t, b)
	secret, key := h.mint()
	arrived, release := h.holdsSlow()
	done := make(chan answer)
	go func() { done <- h.call("GET", "/slow", bearerOf(secret)...) }()
	<-arrived
	before := h.engine()
	h.load(blueprint{globals: openPlan, site: "header X-Second 1"})
	if h.engine() != before {
		t.Error("the engine was opened again")
	}
	close(release)
	if got := <-done; got.status != http.StatusOK {
		t.Errorf("got %d, want 200", got.status)
	}
	h.waitUntilIdle()
	if used := h.used(key).Requests; used != 1 {
		t.Errorf("got %d requests counted, want 1", used)
	}
}

func TestTheLastRequestClosesAnEngineThatWasLeft(t *testing.T) {
	e, err := rent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	place := e.engine.place
	if err := e.engine.open(t.Context(), &Storage{directory: place}); err != nil {
		t.Fatal(err)
	}
	app := &App{settings: settingsOf(t)}
	if err := e.engine.apply(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	entered, g, err := e.enter(t.Context())
	if err != nil || g == nil {
		t.Fatal(err)
	}
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	if e.engine.store == nil {
		t.Fatal("the engine was closed under a request")
	}
	adopted, err := rent(place)
	if err != nil || adopted.engine != e.engine {
		t.Fatalf("got %v, %v: want the engine adopted", adopted, err)
	}
	entered.leave()
	if adopted.engine.store == nil {
		t.Fatal("the engine was closed under its new tenant")
	}
	if late, _, err := e.enter(t.Context()); err != nil || late == nil {
		t.Fatalf("got %v: want a late request let in by the new tenant", err)
	} else {
		late.leave()
	}
	if err := adopted.end(); err != nil {
		t.Fatal(err)
	}
	if adopted.engine.store != nil {
		t.Error("the engine is open without a tenant")
	}
	if _, _, err := e.enter(t.Context()); err == nil {
		t.Error("a request entered an engine that is closed")
	}
}

func settingsOf(t *testing.T) gate.Settings {
	t.Helper()
	a := new(App)
	a.Storage = &Storage{Engine: engineMemory}
	if err := a.resolve(); err != nil {
		t.Fatal(err)
	}
	return a.settings
}

func TestValidatingBesideARunningServerChangesNothing(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, _ := h.mint()
	before, _ := filepath.Glob(h.dir + "/data/*")
	config, err := adapt(h.caddyfile(blueprint{globals: "default_plan q\n\t\tplan q {\n\t\t\trate 1/hour\n\t\t}"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(config); err != nil {
		t.Fatal(err)
	}
	if after, _ := filepath.Glob(h.dir + "/data/*"); len(after) != len(before) {
		t.Errorf("got files %v, want %v", after, before)
	}
	for range 3 {
		if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
			t.Errorf("got %d %s, want the running configuration", got.status, got.body)
		}
	}
}

func TestARevokedKeyIsRefusedAtTheNextRequest(t *testing.T) {
	h := open(t, blueprint{globals: openPlan})
	secret, key := h.mint()
	h.call("GET", "/", bearerOf(secret)...)
	k, err := h.engine().store.Key(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	k.State = apikey.Revoked
	h.write(k)
	if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusForbidden {
		t.Errorf("got %d, want 403", got.status)
	}
}

func TestConfigurationShowsNoSecret(t *testing.T) {
	t.Setenv("KEYTOLL_TEST_TOKEN", "kta_environment_secret")
	h := open(t, blueprint{globals: "admin 127.0.0.1:0 {\n\t\t\ttoken {env.KEYTOLL_TEST_TOKEN}\n\t\t}"})
	config, err := adapt(h.caddyfile(blueprint{globals: "admin 127.0.0.1:0 {\n\t\t\ttoken {env.KEYTOLL_TEST_TOKEN}\n\t\t}"}))
	if err != nil || strings.Contains(string(config), "environment_secret") || !strings.Contains(string(config), "{env.KEYTOLL_TEST_TOKEN}") {
		t.Errorf("got %s, %v, want the placeholder", config, err)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "data", "admin.token")); err == nil {
		t.Error("a token file was made beside a configured token")
	}
}

func TestWhatIsPastItsRetentionIsPrunedHourlyAndClosingDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, new(Handler))
		b.app.Retention = &Retention{Hours: caddy.Duration(time.Hour)}
		b.provision()
		b.start()
		e := b.engine()
		old := time.Now().Add(-5 * time.Hour).UTC().Truncate(time.Hour)
		row := store.UsageRow{Start: old, Route: "x", Outcome: "allowed", UsageCount: store.UsageCount{Requests: 1}}
		if err := e.store.Append(t.Context(), "node_other", 1, []store.UsageRow{row}); err != nil {
			t.Fatal(err)
		}
		hours := store.UsageQuery{From: old.Add(-time.Hour), To: old.Add(2 * time.Hour), Bucket: store.HourBucket}
		if rows, err := e.store.Usage(t.Context(), hours); err != nil || len(rows) != 1 {
			t.Fatalf("got %v, %v, want the row", rows, err)
		}
		time.Sleep(pruneEvery + time.Minute)
		if rows, err := e.store.Usage(t.Context(), hours); err != nil || len(rows) != 0 {
			t.Errorf("got %v, %v, want the row pruned", rows, err)
		}
		b.close()
	})
}
