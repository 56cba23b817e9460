// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// reading is what the key's counter of a unit says this month.
func (c *caller) reading(unit string) meter.Reading {
	c.Helper()
	r, err := c.meter.Peek(context.Background(), meter.ID{
		Owner: meter.Owner{Kind: meter.OfKey, ID: c.key.ID, Mode: c.key.Mode}, Unit: unit, Calendar: usage.Months,
	}, usage.Months.Ordinal(c.clock()))
	c.must(err)
	return r
}

func TestWhatBecomesOfWhatWasReserved(t *testing.T) {
	paid := &plan.Route{Name: "paid", Cost: plan.Cost{Units: 5}}
	always := &plan.Route{Name: "always", Cost: plan.Cost{Units: 5}, ChargeOn: []plan.StatusRange{{From: 200, To: 599}}}
	tokens := &plan.Route{Name: "tokens", Cost: plan.Cost{Units: 5, Header: "X-Usage"}}
	for _, test := range []struct {
		what         string
		to           *plan.Route
		answer       gate.Answer
		used, billed int64
		outcome      string
	}{
		{"200", paid, gate.Answer{Status: 200}, 5, 5, gate.Allowed},
		{"404", paid, gate.Answer{Status: 404}, 5, 5, gate.Allowed},
		{"429", paid, gate.Answer{Status: 429}, 0, 0, gate.UpstreamError},
		{"502", paid, gate.Answer{Status: 502}, 0, 0, gate.UpstreamError},
		{"502 that is charged", always, gate.Answer{Status: 502}, 5, 5, gate.UpstreamError},
		{"no answer", paid, gate.Answer{}, 0, 0, gate.UpstreamError},
		{"gone client", paid, gate.Answer{Gone: true}, 5, 0, gate.Allowed},
		{"units on a route of fixed cost", paid, gate.Answer{Status: 200, Known: true, Units: 9}, 5, 5, gate.Allowed},
		{"more than the reserve", tokens, gate.Answer{Status: 200, Known: true, Units: 9}, 9, 9, gate.Allowed},
		{"less than the reserve", tokens, gate.Answer{Status: 200, Known: true, Units: 2}, 2, 2, gate.Allowed},
		{"explicit zero", tokens, gate.Answer{Status: 200, Known: true}, 0, 0, gate.Allowed},
		{"nothing said", tokens, gate.Answer{Status: 200}, 5, 5, gate.Allowed},
		{"units of a failure", tokens, gate.Answer{Status: 500, Known: true, Units: 9}, 0, 0, gate.UpstreamError},
	} {
		c := newHouse(t, quotas(quota(100, plan.PerKey))).caller()
		ticket, refusal := c.try(test.to)
		if refusal != nil {
			t.Fatalf("%s: refused: %s", test.what, refusal.Reason)
		}
		if got := c.reading(plan.Requests); got.Used() != 5 || got.Billed != 0 {
			t.Errorf("%s: in flight %d are used, %d billed", test.what, got.Used(), got.Billed)
		}
		ticket.Settle(test.answer)
		ticket.Settle(gate.Answer{Status: 200})
		got := c.reading(plan.Requests)
		if got.Used() != test.used || got.Billed != test.billed || ticket.Outcome() != test.outcome {
			t.Errorf("%s: %d used, %d billed, %s; want %d, %d, %s",
				test.what, got.Used(), got.Billed, ticket.Outcome(), test.used, test.billed, test.outcome)
		}
		if w := ticket.Windows(nil); len(w) != 1 || w[0].Used != test.used || w[0].Remaining != 100-test.used {
			t.Errorf("%s: the answer shows %+v", test.what, w)
		}
	}
}

func TestAPendingAnswerThatIsNotChargedIsRefundedAtOnce(t *testing.T) {
	c := newHouse(t, quotas(quota(1, plan.PerKey))).caller()
	ticket, _ := c.try(&plan.Route{Name: "tokens", Cost: plan.Cost{Units: 1, JSON: "n"}})
	ticket.Settle(gate.Answer{Status: 503, Pending: true})
	c.wantPassed(route)
	ticket.Settle(gate.Answer{Status: 503, Known: true, Units: 4})
	if got := c.usage().Quota.Used; got != 1 {
		t.Errorf("%d are used, want 1", got)
	}
}

func TestUsageIsBookedByPlanRouteAndOutcome(t *testing.T) {
	h := newHouse(t, quotas(quota(2, plan.PerKey)))
	c := h.caller()
	c.do(route, 200)
	c.do(route, 500)
	c.do(&plan.Route{Name: "chat", Unit: "tokens", Cost: plan.Cost{Units: 7}}, 200)
	c.wantRefused(route, gate.QuotaExceeded)
	stranger := *c
	stranger.secret = "unknown"
	stranger.wantRefused(route, gate.InvalidKey)
	h.must(h.meter.Flush(context.Background()))

	book := func(g store.Group) string {
		rows, err := h.store.Usage(context.Background(), store.UsageQuery{
			From: noon.Truncate(time.Hour), To: noon.Add(time.Hour), Bucket: store.HourBucket, Group: g,
		})
		h.must(err)
		var text strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&text, "%s%s%s%s: %d refused %d refunded %d %v\n", r.Key, r.Plan, r.Route, r.Outcome, r.Requests, r.Refused, r.Refunded, r.Units)
		}
		return text.String()
	}
	for group, want := range map[store.Group]string{
		store.ByOutcome: "allowed: 2 refused 0 refunded 0 map[requests:2 tokens:7]\ninvalid_key: 0 refused 1 refunded 0 map[]\n" +
			"quota_exceeded: 0 refused 1 refunded 0 map[]\nupstream_error: 0 refused 0 refunded 1 map[]\n",
		store.ByRoute: "chat: 1 refused 0 refunded 0 map[requests:1 tokens:7]\ndefault: 1 refused 2 refunded 1 map[requests:1]\n",
		store.ByKey: ": 0 refused 1 refunded 0 map[]\n" +
			c.key.ID + ": 2 refused 1 refunded 1 map[requests:2 tokens:7]\n",
		store.ByPlan: ": 0 refused 1 refunded 0 map[]\nfree: 2 refused 1 refunded 1 map[requests:2 tokens:7]\n",
	} {
		if got := book(group); got != want {
			t.Errorf("by %s:\n%swant\n%s", group, got, want)
		}
	}
}

func TestShadowModeAdmitsAllAndRecordsWhatItWouldRefuse(t *testing.T) {
	p := quotas(quota(2, plan.PerKey))
	p.Rates = []plan.Rate{rate(1, time.Hour, 3, plan.PerKey)}
	p.Concurrency = plan.Concurrency{Limit: 1, Scope: plan.PerKey}
	h := newHouse(t, p)
	c := h.caller()
	pass := func(call *gate.Call) *gate.Ticket {
		call.Shadow = true
		ticket := &gate.Ticket{}
		refusal, err := h.gate.Admit(context.Background(), call, ticket)
		if refusal != nil || err != nil {
			t.Fatalf("refused in shadow mode: %+v, %v", refusal, err)
		}
		return ticket
	}
	for i, want := range []gate.Reason{"", "", gate.QuotaExceeded, gate.RateLimited} {
		ticket := pass(c.call(route))
		var got gate.Reason
		if ticket.Would != nil {
			got = ticket.Would.Reason
		}
		if got != want || ticket.Key == nil {
			t.Errorf("call %d would be refused by %q, want %q", i, got, want)
		}
		ticket.Settle(gate.Answer{Status: 200})
		ticket.Release()
	}
	if got := c.usage(); got.Requests != 4 || got.Quota.Used != 4 || got.Refused != 0 {
		t.Errorf("counted %d requests, %d of the quota, %d refused, want 4, 4, 0", got.Requests, got.Quota.Used, got.Refused)
	}
	if got := c.reading(plan.Requests); got.Billed != 0 {
		t.Errorf("%d units were billed in shadow mode", got.Billed)
	}

	nobody := c.call(route)
	nobody.Secret = ""
	if ticket := pass(nobody); ticket.Key != nil || ticket.Would.Reason != gate.MissingKey {
		t.Errorf("without a key: %+v", ticket.Would)
	} else {
		ticket.Settle(gate.Answer{Status: 200})
	}
	c.edit(func(k *apikey.Key) { k.State = apikey.Revoked })
	if ticket := pass(c.call(route)); ticket.Key != nil || ticket.Would.Reason != gate.InvalidKey {
		t.Errorf("with a revoked key: key %v, %+v", ticket.Key, ticket.Would)
	}
	found, _ := h.gate.Denials(gate.DenialQuery{Limit: 99})
	if len(found) != 4 || !found[0].Shadow {
		t.Errorf("%d would-be refusals were recorded, want 4", len(found))
	}
}

func TestWindowsShowEveryLimitOfACall(t *testing.T) {
	p := quotas(quota(100, plan.PerKey), quota(500, plan.PerCustomer),
		plan.Quota{Unit: "tokens", Limit: 9, Span: plan.Day, Scope: plan.PerKey, Overage: plan.Block})
	p.Rates = []plan.Rate{
		rate(10, time.Second, 20, plan.PerKey), rate(300, time.Second, 300, plan.PerCustomer),
		rate(1, 250*time.Millisecond, 4, plan.PerKey), rate(60, 90*time.Second, 60, plan.PerKey),
	}
	h := newHouse(t, p)
	c := h.caller()
	ticket, _ := c.try(route)
	const want = `"second";q=20;w=1, "second-2";q=300;w=1, "250ms";q=4;w=1, "1m30s";q=60;w=90, "quota";q=100;w=2592000, "quota-2";q=500;w=2592000`
	if got := ticket.PolicyField(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var got strings.Builder
	for _, w := range ticket.Windows(nil) {
		fmt.Fprintf(&got, "%s %d-%d=%d %v %v\n", w.Name, w.Limit, w.Used, w.Remaining, w.Length, w.Reset)
	}
	const state = `second 20-1=19 1s 100ms
second-2 300-1=299 1s 3.333334ms
250ms 4-1=3 250ms 250ms
1m30s 60-1=59 1m30s 1.5s
quota 100-1=99 720h0m0s 492h0m0s
quota-2 500-1=499 720h0m0s 492h0m0s
`
	if got.String() != state {
		t.Errorf("got\n%swant\n%s", got.String(), state)
	}
	ticket.Settle(gate.Answer{Status: 200})
}

func TestThePolicyFollowsTheLengthOfTheMonth(t *testing.T) {
	h := newHouse(t, quotas(quota(5, plan.PerKey)))
	c := h.caller()
	c.wantPassed(route)
	h.pass(21 * 24 * time.Hour)
	ticket, _ := c.try(route)
	if got, want := ticket.PolicyField(), `"quota";q=5;w=2678400`; got != want {
		t.Errorf("in December %s, want %s", got, want)
	}
	ticket.Settle(gate.Answer{Status: 200})
}

func TestARefusalShowsItsWindows(t *testing.T) {
	p := quotas(quota(9, plan.PerKey))
	p.Rates = []plan.Rate{rate(1, time.Minute, 2, plan.PerKey)}
	c := newHouse(t, p).caller()
	c.admitted(2)
	ticket, refusal := c.try(route)
	if refusal == nil || refusal.RetryAfter != time.Minute {
		t.Fatalf("got %+v", refusal)
	}
	w := ticket.Windows(nil)
	if len(w) != 2 || w[0].Remaining != 0 || w[0].Reset != 2*time.Minute || w[1].Remaining != 7 {
		t.Errorf("the refusal shows %+v", w)
	}
}
