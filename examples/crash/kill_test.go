// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// gateway is Caddy with Keytoll, accused.
type gateway struct{ *rig.Gateway }

// options are the plans of the campaign as global options.
func options() string {
	var out strings.Builder
	out.WriteString("default_plan solo\n")
	for _, p := range plans {
		out.WriteString("plan " + p.id + " {\n" + p.grammar + "\n}\n")
	}
	return out.String()
}

const site = `keytoll {
	route heavy ` + heavyPath + ` {
		cost 5
	}
}`

func newGateway(t testing.TB, u *upstream) *gateway {
	t.Helper()
	g := &gateway{rig.New(t)}
	g.Configure(u.URL, options(), site)
	return g
}

func (g *gateway) url() string { return g.URL }

func (g *gateway) enrol(a *account) {
	n := 1
	for _, p := range plans {
		if p.id == a.plan {
			n = p.keys
		}
	}
	for range n {
		id, secret := g.Mint(rig.Object{"customer": a.name + "@example.com", "plan": a.plan})
		a.keys, a.secrets = append(a.keys, id), append(a.secrets, secret)
	}
}

// count reads an account's quota as the API explains it.
func (g *gateway) count(a *account) counted {
	g.T.Helper()
	answer := g.Must(http.MethodGet, "/v1/explain?key="+a.keys[0], nil)
	limits, _ := answer["limits"].([]any)
	for _, l := range limits {
		if limit, _ := l.(map[string]any); limit["kind"] == "quota" {
			used, ok := limit["used"].(float64)
			billed, both := limit["billed"].(float64)
			if ok && both {
				return counted{used: int64(used), billed: int64(billed)}
			}
		}
	}
	g.T.Fatalf("no quota with what is used and billed of it in %v", answer)
	return counted{}
}

// writes makes keys and revokes others while the gateway is killed. What was
// acknowledged must hold afterwards.
type writes struct {
	g       *gateway
	minted  []string // ids
	revoked []string
}

// begin writes until the gateway is killed.
func (w *writes) begin() (end func()) {
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ; i++ {
			status, answer, err := w.g.Try(http.MethodPost, "/v1/keys", rig.Object{"customer": "writes@example.com"})
			id, _ := answer["id"].(string)
			if err != nil || status != http.StatusCreated {
				return
			}
			w.minted = append(w.minted, id)
			if i%2 == 0 {
				continue
			}
			if status, _, err = w.g.Try(http.MethodPost, "/v1/keys/"+id+"/revoke", nil); err != nil || status != http.StatusOK {
				return
			}
			w.revoked = append(w.revoked, id)
		}
	})
	return done.Wait
}

// check looks for what was acknowledged.
func (w *writes) check() {
	w.g.T.Helper()
	for _, id := range w.minted {
		if status, _ := w.g.Call(http.MethodGet, "/v1/keys/"+id, nil); status != http.StatusOK {
			w.g.T.Errorf("key %s was acknowledged and is gone: status %d", id, status)
		}
	}
	for _, id := range w.revoked {
		if got := w.g.Must(http.MethodGet, "/v1/keys/"+id, nil)["status"]; got != "revoked" {
			w.g.T.Errorf("key %s was revoked and is %v", id, got)
		}
	}
}

func TestNoKillCostsAQuotaABillOrAnAnswer(t *testing.T) {
	withinOneMonth(t)
	u := newUpstream(t)
	g := newGateway(t, u)
	w := &writes{g: g}
	c := &campaign{t: t, accused: g, upstream: u, dice: dice(t.Name()), between: w.begin}
	c.run(*kills)
	convicted(t, "Keytoll", c.charges)
	w.check()
	c.tell("Keytoll")
	figures.set("Keytoll: admin writes acknowledged and kept", int64(len(w.minted)+len(w.revoked)))
	g.SearchForSecrets()
	g.Stop()
	g.SearchFilesForSecrets()
}
