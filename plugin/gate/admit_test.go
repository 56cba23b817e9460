// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

func TestAGoodKeyPassesAndIsKnown(t *testing.T) {
	c := newHouse(t, quotas()).caller()
	ticket, refusal := c.try(route)
	if refusal != nil {
		t.Fatalf("refused: %s", refusal.Reason)
	}
	if ticket.Key.ID != c.key.ID || ticket.Customer.ID != c.customer.ID || ticket.Plan.ID != "free" {
		t.Errorf("got %s of %s on %s", ticket.Key.ID, ticket.Customer.ID, ticket.Plan.ID)
	}
	if ticket.Cost != 1 || ticket.Usage() != 0 {
		t.Errorf("in flight it costs %d and has used %d, want 1 and 0", ticket.Cost, ticket.Usage())
	}
	ticket.Settle(gate.Answer{Status: 200})
	if ticket.Outcome() != gate.Allowed || ticket.Usage() != 1 {
		t.Errorf("settled it was %s and used %d, want allowed and 1", ticket.Outcome(), ticket.Usage())
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	h := newHouse(t, quotas())
	good := h.caller()
	genuine, err := apikey.Mint("sk", apikey.Live, strings.NewReader(strings.Repeat("x", 32)))
	h.must(err)
	corrupt := genuine.Reveal()[:len(genuine)-1] + "!"
	corrupt = corrupt[:len(corrupt)-1] + string(genuine.Reveal()[len(genuine)-1]^1)
	for _, test := range []struct {
		what   string
		secret string
		twice  bool
		want   gate.Reason
	}{
		{"none", "", false, gate.MissingKey},
		{"two different ones", good.secret, true, gate.AmbiguousKey},
		{"unknown", "never-made", false, gate.InvalidKey},
		{"our form, unknown", genuine.Reveal(), false, gate.InvalidKey},
		{"our form, wrong checksum", corrupt, false, gate.InvalidKey},
		{"longer than 512 bytes", strings.Repeat("a", 513), false, gate.InvalidKey},
		{"5000 bytes", strings.Repeat("a", 5000), false, gate.InvalidKey},
	} {
		call := good.call(route)
		call.Secret, call.Ambiguous = test.secret, test.twice
		var ticket gate.Ticket
		refusal, err := h.gate.Admit(context.Background(), call, &ticket)
		h.must(err)
		if refusal == nil || refusal.Reason != test.want {
			t.Errorf("%s: got %+v, want %s", test.what, refusal, test.want)
		}
		if ticket.Outcome() != string(test.want) || ticket.Key != nil {
			t.Errorf("%s: the ticket says %s of key %v", test.what, ticket.Outcome(), ticket.Key)
		}
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	h := newHouse(t, plan.Plan{ID: "free", Scopes: []string{"chat"}, Routes: []string{"default", "chat"}})
	scoped := func(name, scope string) *plan.Route {
		return &plan.Route{Name: name, Scope: scope, Cost: plan.Cost{Units: 1}}
	}
	for _, test := range []struct {
		what string
		edit func(*apikey.Key)
		to   *plan.Route
		want gate.Reason
	}{
		{"revoked", func(k *apikey.Key) { k.State = apikey.Revoked }, route, gate.InvalidKey},
		{"disabled", func(k *apikey.Key) { k.State = apikey.Disabled }, route, gate.InvalidKey},
		{"expired", func(k *apikey.Key) { k.ExpiresAt = noon }, route, gate.ExpiredKey},
		{"revoked and expired", func(k *apikey.Key) { k.State, k.ExpiresAt = apikey.Revoked, noon }, route, gate.InvalidKey},
		{"without the scope", func(k *apikey.Key) { k.Scopes = []string{"images"} }, scoped("chat", "chat"), gate.InsufficientScope},
		{"of a plan without the scope", func(*apikey.Key) {}, scoped("chat", "images"), gate.InsufficientScope},
		{"of a plan without the route", func(*apikey.Key) {}, scoped("audio", ""), gate.RouteNotInPlan},
		{"from elsewhere", func(k *apikey.Key) { k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} }, route, gate.IPNotAllowed},
		{"on no route", func(*apikey.Key) {}, nil, gate.UnknownRoute},
	} {
		c := h.caller(test.edit)
		if refusal := c.do(test.to, 200); refusal == nil || refusal.Reason != test.want {
			t.Errorf("a key %s: got %+v, want %s", test.what, refusal, test.want)
		}
		if used := c.usage(); used.Requests != 0 {
			t.Errorf("a key %s: %d requests were counted", test.what, used.Requests)
		}
	}
	c := h.caller(func(k *apikey.Key) {
		k.Scopes = []string{"chat"}
		k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	c.wantPassed(scoped("chat", "chat"))
	c.ip = "::ffff:192.0.2.9"
	c.wantPassed(route)
}

func TestAPublicRouteNeedsNoKeyAndCountsNothing(t *testing.T) {
	c := newHouse(t, quotas(quota(1, plan.PerKey))).caller()
	for range 3 {
		c.wantPassed(&plan.Route{Name: "health", Public: true, Cost: plan.Cost{Units: 1}})
	}
	if got := c.usage().Requests; got != 0 {
		t.Errorf("%d requests were counted", got)
	}
}

func TestASecretThatWasReplacedWorksUntilItsGraceIsOver(t *testing.T) {
	h := newHouse(t, quotas())
	c := h.caller()
	c.wantPassed(route)
	c.edit(func(k *apikey.Key) {
		k.Rotate(apikey.HeldSecret{Hash: apikey.Secret("the next one").Hash()}, time.Hour, h.clock())
	})
	next := *c
	next.secret = "the next one"
	c.wantPassed(route)
	next.wantPassed(route)
	h.pass(time.Hour)
	c.wantRefused(route, gate.InvalidKey)
	next.wantPassed(route)
	if got := c.usage().Requests; got != 4 {
		t.Errorf("both secrets of the key made %d requests, want 4", got)
	}
}

func TestAKeyExpiresWithoutAWrite(t *testing.T) {
	h := newHouse(t, quotas())
	c := h.caller(func(k *apikey.Key) { k.ExpiresAt = noon.Add(time.Minute) })
	c.wantPassed(route)
	h.pass(time.Minute)
	c.wantRefused(route, gate.ExpiredKey)
}

func TestWhoDoesNotPayIsRefusedUnlessThereIsAFallback(t *testing.T) {
	h := newHouse(t, quotas())
	subscribed := func(status customer.SubscriptionStatus, grace time.Time) customer.Customer {
		return h.customer(func(c *customer.Customer) {
			c.Subscription = &customer.Subscription{ID: "sub", Status: status, GraceUntil: grace}
		})
	}
	h.of(subscribed(customer.SubscribedActive, time.Time{})).wantPassed(route)
	unpaid := h.of(subscribed(customer.Unpaid, time.Time{}))
	refusal := unpaid.wantRefused(route, gate.PaymentRequired)
	if want := "https://example.com/pricing?c=" + unpaid.customer.ID; refusal.UpgradeURL != want {
		t.Errorf("upgrade at %q, want %q", refusal.UpgradeURL, want)
	}

	due := h.of(subscribed(customer.PastDue, noon.Add(time.Hour)))
	due.wantPassed(route)
	h.pass(time.Hour)
	due.wantRefused(route, gate.PaymentRequired)

	_, err := h.gate.Apply(context.Background(), gate.Settings{
		Plans: []plan.Plan{quotas()}, DefaultPlan: "free", FallbackPlan: "free",
	})
	h.must(err)
	due.wantPassed(route)
	unpaid.wantPassed(route)
}

func TestARevokedKeyIsRefusedAtTheNextCallUnderLoad(t *testing.T) {
	h := newHouse(t, quotas())
	c := h.caller()
	var revoked atomic.Bool
	var passedAfter atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for refused := false; !refused; {
				after := revoked.Load()
				refused = c.do(route, 200) != nil
				if after && !refused {
					passedAfter.Add(1)
				}
			}
		})
	}
	for range 200 {
		c.do(route, 200)
	}
	c.edit(func(k *apikey.Key) { k.State = apikey.Revoked })
	revoked.Store(true)
	group.Wait()
	if n := passedAfter.Load(); n != 0 {
		t.Errorf("%d calls that began after the revocation passed", n)
	}
}

func TestAStreamLearnsThatItsKeyWasRevoked(t *testing.T) {
	for what, end := range map[string]func(c *caller){
		"revoked":  func(c *caller) { c.edit(func(k *apikey.Key) { k.State = apikey.Revoked }) },
		"disabled": func(c *caller) { c.edit(func(k *apikey.Key) { k.State = apikey.Disabled }) },
		"expired":  func(c *caller) { c.pass(time.Hour) },
		"replaced": func(c *caller) {
			c.edit(func(k *apikey.Key) { k.Rotate(apikey.HeldSecret{Hash: apikey.Hash{1}}, 0, c.clock()) })
		},
	} {
		c := newHouse(t, quotas()).caller(func(k *apikey.Key) { k.ExpiresAt = noon.Add(time.Hour) })
		ticket, _ := c.try(route)
		c.edit(func(k *apikey.Key) { k.Name = "renamed" })
		if ticket.Revoked() {
			t.Errorf("%s: already before", what)
		}
		end(c)
		if !ticket.Revoked() {
			t.Errorf("%s: the stream does not learn of it", what)
		}
		ticket.Settle(gate.Answer{Status: 200})
	}
}

func TestAStreamLearnsOfExpiryWithoutAnyWrite(t *testing.T) {
	c := newHouse(t, quotas()).caller(func(k *apikey.Key) { k.ExpiresAt = noon.Add(time.Hour) })
	ticket, _ := c.try(route)
	if ticket.Revoked() {
		t.Error("revoked at once")
	}
	if c.pass(time.Hour); !ticket.Revoked() {
		t.Error("not revoked when the key had expired")
	}
	ticket.Settle(gate.Answer{Status: 200})
}

func TestNothingIsDecidedBeforeSettingsAreApplied(t *testing.T) {
	h := newHouse(t, quotas())
	c := h.caller()
	h.close()
	h.open()
	var ticket gate.Ticket
	if refusal, err := h.gate.Admit(context.Background(), c.call(route), &ticket); err == nil {
		t.Errorf("decided: %+v", refusal)
	}
	if ticket.Outcome() != string(gate.Unavailable) {
		t.Errorf("outcome is %s", ticket.Outcome())
	}
}

func TestIdentifySpendsNothing(t *testing.T) {
	h := newHouse(t, quotas(quota(1, plan.PerKey)))
	c := h.caller()
	for range 3 {
		var ticket gate.Ticket
		refusal, err := h.gate.Identify(context.Background(), c.call(nil), &ticket)
		h.must(err)
		if refusal != nil || ticket.Key.ID != c.key.ID {
			t.Fatalf("got %+v", refusal)
		}
	}
	c.wantPassed(route)
}
