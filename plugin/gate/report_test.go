// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

func TestTheUsageOfAKeyAsJSON(t *testing.T) {
	h := newHouse(t, quotas(quota(1000, plan.PerKey), quota(5000, plan.PerCustomer)))
	who := h.customer()
	c := h.of(who)
	h.of(who).admitted(7)
	c.admitted(40)
	c.do(route, 500)
	c.do(&plan.Route{Name: "chat", Unit: "tokens", Cost: plan.Cost{Units: 90}}, 200)
	c.wantRefused(&plan.Route{Name: "dear", Cost: plan.Cost{Units: 6000}}, gate.QuotaExceeded)
	got, err := json.Marshal(c.usage())
	h.must(err)
	want := `{"key":"` + c.key.ID + `","period":{"start":"2026-11-01T00:00:00Z","end":"2026-12-01T00:00:00Z"},` +
		`"requests":41,"units":{"requests":41,"tokens":90},"refused":1,"quotas":[` +
		`{"unit":"requests","scope":"key","period":"month","limit":1000,"used":41,"remaining":959,"over":0,"resets_at":"2026-12-01T00:00:00Z"},` +
		`{"unit":"requests","scope":"customer","period":"month","limit":5000,"used":48,"remaining":4952,"over":0,"resets_at":"2026-12-01T00:00:00Z"}],` +
		`"quota":{"unit":"requests","scope":"key","period":"month","limit":1000,"used":41,"remaining":959,"over":0,"resets_at":"2026-12-01T00:00:00Z"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r, err := h.gate.CustomerUsage(context.Background(), who.ID, apikey.Live)
	h.must(err)
	if r.Requests != 48 || r.Refused != 1 || len(r.Quotas) != 1 || r.Quota.Used != 48 || r.Customer != who.ID {
		t.Errorf("the customer's: %+v", r)
	}
	if r, err := h.gate.CustomerUsage(context.Background(), who.ID, apikey.Test); err != nil || r.Requests != 0 {
		t.Errorf("of test keys: %+v, %v", r, err)
	}
}

func TestTheUsageOfWhoHasNoQuotaAndOfNobody(t *testing.T) {
	h := newHouse(t, quotas())
	got, err := json.Marshal(h.caller().usage())
	h.must(err)
	var shape map[string]any
	h.must(json.Unmarshal(got, &shape))
	if shape["quota"] != nil || len(shape["quotas"].([]any)) != 0 {
		t.Errorf("got %s", got)
	}
	if _, err := h.gate.KeyUsage(context.Background(), "key_none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no key: %v", err)
	}
	if _, err := h.gate.CustomerUsage(context.Background(), "cust_none", apikey.Live); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no customer: %v", err)
	}
}

func TestCountsRatesAndUnitsOutliveAGracefulRestart(t *testing.T) {
	p := quotas(quota(10, plan.PerKey))
	p.Rates = []plan.Rate{rate(1, time.Second, 4, plan.PerKey)}
	h := newHouse(t, p)
	c := h.caller()
	c.admitted(4)
	h.pass(time.Second)
	c.do(&plan.Route{Name: "chat", Unit: "tokens", Cost: plan.Cost{Units: 9}}, 200)
	h.close()
	h.pass(2 * time.Second)
	h.open()
	h.apply(p)
	if got := c.usage(); got.Requests != 5 || got.Units["tokens"] != 9 {
		t.Errorf("after the restart %d requests, %v units, want 5 and 9 tokens", got.Requests, got.Units)
	}
	if n, refusal := c.admitted(9); n != 2 || refusal.Reason != gate.RateLimited {
		t.Errorf("2 s later %d passed, then %+v; want 2 by the rate", n, refusal)
	}
}

func TestWhoIsAlwaysRefusedIsCountedToo(t *testing.T) {
	h := newHouse(t, quotas(quota(0, plan.PerKey)))
	c := h.caller()
	c.admitted(1)
	c.edit(func(k *apikey.Key) { k.State = apikey.Disabled })
	c.wantRefused(route, gate.InvalidKey)
	if got := c.usage().Refused; got != 2 {
		t.Errorf("%d refused requests were counted, want 2", got)
	}
	h.close()
	h.open()
	h.apply(quotas(quota(0, plan.PerKey)))
	c.wantRefused(route, gate.InvalidKey)
	if got := c.usage().Refused; got != 3 {
		t.Errorf("after a restart %d, want 3", got)
	}
}

func TestWhenAKeyWasLastUsedIsKeptOverARestart(t *testing.T) {
	h := newHouse(t, quotas(quota(2, plan.PerKey)))
	c, never := h.caller(), h.caller()
	last := func(c *caller) time.Time {
		at, err := h.gate.LastUsed(context.Background(), c.key.ID)
		h.must(err)
		return at
	}
	c.wantPassed(route)
	h.pass(10 * time.Second)
	c.wantPassed(route)
	if got := last(c); !got.Equal(noon) {
		t.Errorf("within the minute: %v, want %v", got, noon)
	}
	h.pass(10 * time.Minute)
	c.wantRefused(route, gate.QuotaExceeded)
	h.close()
	h.open()
	h.apply(quotas(quota(3, plan.PerKey)))
	if got := last(c); !got.Equal(noon) {
		t.Errorf("after a restart and a refusal: %v, want %v", got, noon)
	}
	c.wantPassed(route)
	if got := last(c); !got.Equal(h.clock()) {
		t.Errorf("used again: %v, want %v", got, h.clock())
	}
	if got := last(never); !got.IsZero() {
		t.Errorf("never used: %v", got)
	}
}

func TestAnExplanationNamesTheCheckThatRefuses(t *testing.T) {
	h := newHouse(t, quotas(quota(1, plan.PerKey)))
	for _, test := range []struct {
		what, check string
		edit        func(*apikey.Key)
		to          *plan.Route
		code        gate.Reason
	}{
		{"nothing", "", func(*apikey.Key) {}, nil, ""},
		{"revoked", "key", func(k *apikey.Key) { k.State = apikey.Revoked }, nil, gate.InvalidKey},
		{"expired", "expiry", func(k *apikey.Key) { k.ExpiresAt = noon }, nil, gate.ExpiredKey},
		{"scope", "scope", func(k *apikey.Key) { k.Scopes = []string{"a"} }, &plan.Route{Name: "r", Scope: "b"}, gate.InsufficientScope},
		{"quota", "quota", func(*apikey.Key) {}, &plan.Route{Name: "r", Cost: plan.Cost{Units: 2}}, gate.QuotaExceeded},
	} {
		c := h.caller(test.edit)
		x, err := h.gate.Explain(context.Background(), gate.Subject{Hash: apikey.Secret(c.secret).Hash(), Route: test.to})
		h.must(err)
		failed := slices.IndexFunc(x.Checks, func(c gate.ExplainedCheck) bool { return !c.Pass })
		if x.Admitted != (test.check == "") || x.Code != test.code || test.check != "" && (failed < 0 || x.Checks[failed].Check != test.check) {
			t.Errorf("%s: admitted %v, %s, %+v", test.what, x.Admitted, x.Code, x.Checks)
		}
		if x.Key != c.key.ID || x.Plan != "free" || x.PlanFrom != "default" {
			t.Errorf("%s: explained %+v", test.what, x)
		}
		if used := c.usage(); used.Requests != 0 || used.Refused != 0 {
			t.Errorf("%s: explaining was counted", test.what)
		}
	}
	if _, err := h.gate.Explain(context.Background(), gate.Subject{Key: "key_none"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no key: %v", err)
	}
}
