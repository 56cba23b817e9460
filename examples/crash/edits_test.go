// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

func TestAnUpgradeHoldsAtTheNextRequestAndADowngradeAdmitsNothingMore(t *testing.T) {
	withinOneMonth(t)
	u := newUpstream(t)
	g := newGateway(t, u)
	g.Configure(u.URL, options()+"plan wide {\nquota 10M/month\n}\n", site)
	g.Run()
	g.StopAtEnd()
	a := &account{name: "edited", plan: "solo", bound: 10_000_000}
	g.enrol(a)
	u.open(a)
	l := &load{t: t, url: g.URL, accounts: enrolWide(g, u, 2), statuses: make(map[int]int64)}
	l.accounts = append(l.accounts, a)
	l.drain(a)
	l.run(dice(t.Name()), clients)
	flips := 10
	for i := range flips {
		g.Must(http.MethodPatch, "/v1/keys/"+a.keys[0], rig.Object{"plan": "wide"})
		if got := g.try(a); got != http.StatusOK {
			t.Errorf("flip %d: the request after an upgrade gets %d, want 200", i, got)
		}
		g.Must(http.MethodPatch, "/v1/keys/"+a.keys[0], rig.Object{"plan": "solo"})
		before := a.forwarded.Load()
		for range 5 {
			if got := g.try(a); got != http.StatusTooManyRequests {
				t.Errorf("flip %d: the request after a downgrade below usage gets %d, want 429", i, got)
			}
		}
		// Only what was admitted before the downgrade may still arrive.
		if late := a.forwarded.Load() - before; late > clients*heavyCost {
			t.Errorf("flip %d: %d units were forwarded after a downgrade", i, late)
		}
		quota := g.Must(http.MethodGet, "/v1/keys/"+a.keys[0]+"/usage", nil)["quota"].(map[string]any)
		if quota["remaining"].(float64) != 0 || quota["used"].(float64) < 300 {
			t.Errorf("flip %d: the quota after a downgrade is %v, want nothing to remain", i, quota)
		}
	}
	l.end()
	l.check()
	lost := a.lost.Load() + a.hungUp.Load()
	convicted(t, "after the edits", judge(a, g.count(a), slack{unbilled: lost, quota: lost, exact: true}))
}

// TestAKillDuringReloadsCostsNothing kills gateways that read their Caddyfile
// again and again.
func TestAKillDuringReloadsCostsNothing(t *testing.T) {
	withinOneMonth(t)
	u := newUpstream(t)
	g := newGateway(t, u)
	var reloads int64
	c := &campaign{t: t, accused: g, upstream: u, dice: dice(t.Name()), longest: 1500, between: func() func() {
		var done sync.WaitGroup
		done.Go(func() {
			for {
				if _, err := g.Reload(); err != nil {
					return
				}
				reloads++
			}
		})
		return done.Wait
	}}
	c.run(max(*kills/10, 2))
	convicted(t, "with reloads", c.charges)
	figures.set("reload storms: reloads", reloads)
	figures.set("reload storms: kill -9", int64(c.killed))
	figures.set("reload storms: requests", c.requests)
	figures.set("reload storms: units forwarded over quota", c.overruns)
	g.Stop()
}

// TestAnImportThatAKillBreaksOffBooksEachUseOnce sends the same lines until they
// have all arrived.
func TestAnImportThatAKillBreaksOffBooksEachUseOnce(t *testing.T) {
	withinOneMonth(t)
	u := newUpstream(t)
	g := newGateway(t, u)
	g.Run()
	r := dice(t.Name())
	const keys, used = 300, 7
	for round := range max(*kills/10, 2) {
		var lines strings.Builder
		for i := range keys {
			sum := sha256.Sum256(fmt.Appendf(nil, "import-%d-%d-%d", *seed, round, i))
			fmt.Fprintf(&lines, `{"hash":%q,"email":"import-%d-%d@example.com","customer_plan":"pool","used":%d}`+"\n",
				hex.EncodeToString(sum[:]), round, i%3, used)
		}
		var done sync.WaitGroup
		done.Go(func() { _, _ = g.importLines(lines.String()) })
		pause(r, 5, 150)
		g.Kill()
		done.Wait()
		g.Run()
		summary, err := g.importLines(lines.String())
		if err != nil || summary["errors"].(float64) != 0 {
			t.Fatalf("round %d: importing again: %v, %v", round, summary, err)
		}
		for i := range 3 {
			email := fmt.Sprintf("import-%d-%d@example.com", round, i)
			found := g.Must(http.MethodGet, "/v1/customers?q="+email, nil)["data"].([]any)
			if len(found) != 1 {
				t.Fatalf("round %d: %d customers %s", round, len(found), email)
			}
			id := found[0].(map[string]any)["id"].(string)
			units := g.Must(http.MethodGet, "/v1/customers/"+id+"/usage", nil)["units"].(map[string]any)
			if got := units["requests"]; got != float64(keys/3*used) {
				t.Errorf("round %d: %s has used %v, want %d", round, email, got, keys/3*used)
			}
		}
	}
	g.Stop()
}

// importLines imports, and returns the summary.
func (g *gateway) importLines(lines string) (summary rig.Object, err error) {
	req, err := http.NewRequest(http.MethodPost, g.Admin+"/v1/keys/import", strings.NewReader(lines))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := g.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(raw))
	err = json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &summary)
	if err == nil && summary["object"] != "import_summary" {
		err = fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	return summary, err
}
