// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestWhatTheOwnerSaysHoldsAtTheNextRequestOnEverySite revokes, disables,
// enables, rotates and edits plans while other requests of the same keys are
// under way, and asks both of two sites that share an engine: once directly
// after the admin API has answered.
func TestWhatTheOwnerSaysHoldsAtTheNextRequestOnEverySite(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g, second := twoSites(t, u)
	// Past 30 refusals a minute, a key that does not open is too_many_attempts.
	ask := func(secret string, want ...string) {
		t.Helper()
		for _, site := range []string{g.URL, second} {
			if got := outcomeAt(t, g, site, secret); !slices.Contains(want, got) {
				t.Errorf("%s: got %s, want %s", site, got, want[0])
			}
		}
	}
	for range 5 {
		key, secret := g.Mint(object{"customer": "a@example.com"})
		other, alive := g.Mint(object{"customer": "b@example.com"})
		stop := noise(g, second, secret, alive)

		ask(secret, "allowed")
		g.Must("POST", "/v1/keys/"+key+"/disable", nil)
		ask(secret, "invalid_key", "too_many_attempts")
		g.Must("POST", "/v1/keys/"+key+"/enable", nil)
		ask(secret, "allowed")

		next := g.Must("POST", "/v1/keys/"+key+"/rotate", object{"grace": "1h"})["api_key"].(string)
		ask(secret, "allowed")
		ask(next, "allowed")
		last := g.Must("POST", "/v1/keys/"+key+"/rotate", object{"grace": "0s"})["api_key"].(string)
		ask(secret, "invalid_key", "too_many_attempts")
		ask(next, "invalid_key", "too_many_attempts")
		ask(last, "allowed")

		g.Must("PUT", "/v1/plans/tight", object{"quotas": []object{{"unit": "requests", "limit": 1, "period": "month"}}})
		g.Must("PATCH", "/v1/keys/"+other, object{"plan": "tight"})
		ask(alive, "quota_exceeded")
		g.Must("PUT", "/v1/plans/tight", object{"quotas": []object{{"unit": "requests", "limit": 1_000_000, "period": "month"}}})
		ask(alive, "allowed")
		g.Must("PATCH", "/v1/keys/"+other, object{"plan": nil})
		ask(alive, "allowed")

		g.Must("POST", "/v1/keys/"+key+"/revoke", nil)
		ask(last, "invalid_key", "too_many_attempts")
		ask(alive, "allowed")

		for outcome := range stop() {
			if !slices.Contains([]string{"allowed", "invalid_key", "too_many_attempts", "quota_exceeded"}, outcome) {
				t.Errorf("under load: %s", outcome)
			}
		}
		if got, want := g.Used(other), u.count(other); got != want {
			t.Errorf("usage %d, the upstream answered %d", got, want)
		}
		if got, want := g.Used(key), u.count(key); got != want {
			t.Errorf("usage of the revoked key %d, the upstream answered %d", got, want)
		}
	}
}

// twoSites starts a gateway with two sites on one engine, and returns the
// second one's URL too.
func twoSites(t *testing.T, u *upstream) (*gateway, string) {
	t.Helper()
	g := &gateway{rig.New(t)}
	g.Configure(u.URL, "default_plan p\nplan p {\n quota 1M/month\n }", "keytoll")
	text, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	site := string(text[strings.LastIndex(string(text), g.SiteAddress()):])
	port := strconv.Itoa(rig.Ports(t, 1)[0])
	write(t, g.Config, []byte(string(text)+strings.Replace(site, g.SiteAddress(), "http://:"+port, 1)))
	g.Run()
	g.StopAtEnd()
	return g, "http://127.0.0.1:" + port
}

// noise sends requests of the secrets to both sites until the function it
// returns is called, which tells what became of them.
func noise(g *gateway, second string, secrets ...string) (stop func() map[string]int) {
	end := make(chan struct{})
	outcomes := make(map[string]int)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			site := []string{g.URL, second}[i%2]
			for {
				select {
				case <-end:
					return
				default:
				}
				outcome := outcomeAt(g.T, g, site, secrets[i/2])
				mu.Lock()
				outcomes[outcome]++
				mu.Unlock()
			}
		})
	}
	return func() map[string]int {
		close(end)
		wait.Wait()
		return outcomes
	}
}

// outcomeAt returns what one request to a site comes to: allowed, or the code of
// the refusal.
func outcomeAt(t testing.TB, g *gateway, site, secret string) string {
	req, err := http.NewRequest(http.MethodGet, site+"/", nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("X-API-Key", secret)
	res, err := g.Client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		_, _ = io.Copy(io.Discard, res.Body)
		return "allowed"
	}
	var refusal struct{ Code string }
	if err := json.NewDecoder(res.Body).Decode(&refusal); err != nil {
		t.Errorf("status %d: %v", res.StatusCode, err)
	}
	return refusal.Code
}
