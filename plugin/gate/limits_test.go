// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"fmt"
	"slices"
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

// state is what all limits of a caller say, to compare before and after.
func state(t *testing.T, c *caller) string {
	t.Helper()
	x, err := c.gate.Explain(context.Background(), gate.Subject{Key: c.key.ID})
	c.must(err)
	var text strings.Builder
	for _, l := range x.Limits {
		fmt.Fprintf(&text, "%s %s %s: %d of %d left\n", l.Kind, l.Name, l.Scope, l.Remaining, l.Limit)
	}
	return text.String()
}

func TestARefusedCallConsumesNothingWhicheverLimitRefuses(t *testing.T) {
	wide := plan.Plan{
		ID: "free",
		Rates: []plan.Rate{
			rate(50, time.Second, 50, plan.PerKey), rate(60, time.Minute, 60, plan.PerCustomer),
			rate(70, time.Hour, 70, plan.PerKey),
		},
		Concurrency: plan.Concurrency{Limit: 40, Scope: plan.PerKey},
		Quotas: []plan.Quota{
			quota(80, plan.PerKey), quota(90, plan.PerCustomer),
			{Unit: plan.Requests, Limit: 85, Span: plan.Day, Scope: plan.PerKey},
		},
	}
	for _, test := range []struct {
		what   string
		narrow func(*plan.Plan)
		want   gate.Reason
	}{
		{"first rate", func(p *plan.Plan) { p.Rates[0].Burst = 1 }, gate.RateLimited},
		{"second rate", func(p *plan.Plan) { p.Rates[1].Burst = 1 }, gate.RateLimited},
		{"third rate", func(p *plan.Plan) { p.Rates[2].Burst = 1 }, gate.RateLimited},
		{"concurrency", func(p *plan.Plan) { p.Concurrency.Limit = 1 }, gate.ConcurrencyLimited},
		{"quota of the key", func(p *plan.Plan) { p.Quotas[0].Limit = 1 }, gate.QuotaExceeded},
		{"pooled quota", func(p *plan.Plan) { p.Quotas[1].Limit = 1 }, gate.QuotaExceeded},
		{"quota of the day", func(p *plan.Plan) { p.Quotas[2].Limit = 1 }, gate.QuotaExceeded},
	} {
		p := wide
		p.Rates, p.Quotas = slices.Clone(wide.Rates), slices.Clone(wide.Quotas)
		test.narrow(&p)
		c := newHouse(t, p).caller()
		ticket, refusal := c.try(route)
		if refusal != nil {
			t.Fatalf("%s: the first call was refused: %s", test.what, refusal.Reason)
		}
		before := state(t, c)
		for range 3 {
			if _, refusal = c.try(route); refusal == nil || refusal.Reason != test.want {
				t.Fatalf("%s: got %+v, want %s", test.what, refusal, test.want)
			}
		}
		if after := state(t, c); after != before {
			t.Errorf("%s: refusals changed\n%sinto\n%s", test.what, before, after)
		}
		if used := c.usage(); used.Refused != 3 {
			t.Errorf("%s: %d refused requests were counted, want 3", test.what, used.Refused)
		}
		ticket.Settle(gate.Answer{Status: 200})
		ticket.Release()
		if used := c.usage(); used.Requests != 1 || used.Units[plan.Requests] != 1 {
			t.Errorf("%s: %d requests, %v units were counted, want 1", test.what, used.Requests, used.Units)
		}
	}
}

func TestExactlyTheQuotaPassesOfManyCallsAtOnce(t *testing.T) {
	p := quotas(quota(1000, plan.PerKey))
	p.Rates = []plan.Rate{rate(1_000_000, time.Second, 1_000_000, plan.PerKey)}
	c := newHouse(t, p).caller()
	if n := storm(c); n != 1000 {
		t.Errorf("%d calls passed, want 1000", n)
	}
	if used := c.usage(); used.Requests != 1000 || used.Quota.Remaining != 0 || used.Refused != 4000 {
		t.Errorf("used %d, %d remain, %d refused", used.Requests, used.Quota.Remaining, used.Refused)
	}
}

func TestExactlyAPooledQuotaPassesOverTwoKeys(t *testing.T) {
	h := newHouse(t, quotas(quota(500, plan.PerCustomer)))
	c := h.customer()
	test := h.of(c, func(k *apikey.Key) { k.Mode = apikey.Test })
	if n := storm(h.of(c), h.of(c)); n != 500 {
		t.Errorf("%d calls passed, want 500", n)
	}
	if n, _ := test.admitted(600); n != 500 {
		t.Errorf("%d calls of a test key passed beside the live ones, want 500", n)
	}
}

// storm makes 5000 calls by 64 goroutines and returns how many passed.
func storm(callers ...*caller) int64 {
	var passed atomic.Int64
	var group sync.WaitGroup
	left := atomic.Int64{}
	left.Store(5000)
	for i := range 64 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if callers[i%len(callers)].do(route, 200) == nil {
					passed.Add(1)
				}
			}
		})
	}
	group.Wait()
	return passed.Load()
}

func TestARateAdmitsItsBurstAndThenItsRate(t *testing.T) {
	h := newHouse(t, plan.Plan{ID: "free", Rates: []plan.Rate{rate(100, time.Second, 10, plan.PerKey)}})
	c, passed := h.caller(), 0
	for range 5000 {
		n, refusal := c.admitted(100)
		passed += n
		if refusal.RetryAfter <= 0 || refusal.Violated.Name != "second" || refusal.Violated.Limit != 10 {
			t.Fatalf("refused with %+v", refusal)
		}
		h.pass(time.Millisecond)
	}
	if passed < 485 || passed > 510 {
		t.Errorf("%d calls passed in 5 s, want 10 + 500", passed)
	}
}

func TestTwoRatesOfOneLengthHaveABucketEach(t *testing.T) {
	p := plan.Plan{ID: "free", Rates: []plan.Rate{
		rate(60, time.Minute, 5, plan.PerKey), rate(6, time.Minute, 8, plan.PerKey),
	}}
	h := newHouse(t, p)
	c := h.caller()
	if n, refusal := c.admitted(99); n != 5 || refusal.Violated.Name != "minute" {
		t.Errorf("%d passed, then %+v", n, refusal.Violated)
	}
	h.pass(5 * time.Second)
	if n, refusal := c.admitted(99); n != 3 || refusal.Violated.Name != "minute-2" {
		t.Errorf("5 s later %d passed, then %+v", n, refusal.Violated)
	}
}

func TestWaitingForRetryAfterHelps(t *testing.T) {
	p := quotas(quota(5, plan.PerKey))
	p.Rates = []plan.Rate{rate(3, time.Minute, 3, plan.PerKey)}
	h := newHouse(t, p)
	c := h.caller()
	if n, refusal := c.admitted(9); n != 3 || refusal.Reason != gate.RateLimited {
		t.Fatalf("%d passed, then %+v", n, refusal)
	} else {
		h.pass(refusal.RetryAfter)
	}
	if n, refusal := c.admitted(9); n != 1 {
		t.Fatalf("%d passed after the wait, then %+v", n, refusal)
	}
	h.pass(time.Minute)
	n, refusal := c.admitted(9)
	if n != 1 || refusal.Reason != gate.QuotaExceeded {
		t.Fatalf("%d passed, then %+v", n, refusal)
	}
	december := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if refusal.RetryAfter != december.Sub(h.clock()) || !refusal.Violated.Ends.Equal(december) {
		t.Errorf("the quota is to be tried again in %v, at %v", refusal.RetryAfter, refusal.Violated.Ends)
	}
	h.pass(refusal.RetryAfter)
	c.wantPassed(route)
	if got := c.usage(); got.Requests != 1 || got.Quota.Used != 1 {
		t.Errorf("in December %d requests are used, want 1", got.Requests)
	}
}

func TestWhoIsOutOfQuotaIsNotToldToComeBackForTheRate(t *testing.T) {
	p := quotas(quota(2, plan.PerKey))
	p.Rates = []plan.Rate{rate(2, time.Second, 2, plan.PerKey)}
	c := newHouse(t, p).caller()
	if n, refusal := c.admitted(5); n != 2 || refusal.Reason != gate.QuotaExceeded {
		t.Errorf("%d passed, then %+v", n, refusal)
	}
}

func TestConcurrencyIsGivenBackAtTheEndOfAnAnswer(t *testing.T) {
	p := plan.Plan{ID: "free", Concurrency: plan.Concurrency{Limit: 2, Scope: plan.PerCustomer}}
	h := newHouse(t, p)
	who := h.customer()
	one, two := h.of(who), h.of(who)
	first, _ := one.try(route)
	second, _ := two.try(route)
	if refusal := one.wantRefused(route, gate.ConcurrencyLimited); refusal.RetryAfter != time.Second || refusal.Limit != 2 {
		t.Errorf("refused with %+v", refusal)
	}
	first.Settle(gate.Answer{Status: 200})
	one.wantRefused(route, gate.ConcurrencyLimited)
	first.Release()
	first.Release()
	third, refusal := one.try(route)
	if refusal != nil {
		t.Fatalf("refused after a release: %s", refusal.Reason)
	}
	two.wantRefused(route, gate.ConcurrencyLimited)
	for _, ticket := range []*gate.Ticket{second, third} {
		ticket.Settle(gate.Answer{Status: 200})
		ticket.Release()
	}
}

func TestOverageIsAdmittedUpToItsMaximumWhileItCanBeBilled(t *testing.T) {
	most := int64(3)
	billed := plan.Quota{Unit: plan.Requests, Limit: 10, Span: plan.Month, Scope: plan.PerCustomer, Overage: plan.Bill, Max: &most}
	h := newHouse(t, quotas(billed))
	never := h.caller()
	if n, refusal := never.admitted(99); n != 13 || refusal.Reason != gate.OverageLimitExceeded {
		t.Errorf("who never subscribed passed %d times, then %+v", n, refusal)
	}
	if q := never.usage().Quota; q.Used != 13 || q.Over != 3 || q.Remaining != 0 {
		t.Errorf("the quota is reported as %+v", q)
	}
	for status, want := range map[customer.SubscriptionStatus]int{
		customer.SubscribedActive: 13, customer.Trialing: 10, customer.PastDue: 10,
	} {
		who := h.customer(func(c *customer.Customer) {
			c.Subscription = &customer.Subscription{ID: string(status), Status: status, GraceUntil: noon.Add(time.Hour)}
		})
		if n, refusal := h.of(who).admitted(99); n != want {
			t.Errorf("while %s %d passed, want %d; then %+v", status, n, want, refusal)
		}
	}
	test := h.caller(func(k *apikey.Key) { k.Mode = apikey.Test })
	if n, refusal := test.admitted(99); n != 10 || refusal.Reason != gate.QuotaExceeded {
		t.Errorf("a test key, never billed, passed %d times, then %+v", n, refusal)
	}
}

func TestAQuotaFollowsTheMonthsOfASubscription(t *testing.T) {
	h := newHouse(t, quotas(quota(2, plan.PerKey)))
	c := h.caller()
	c.admitted(9)
	anchored := func(k *customer.Customer) {
		k.Subscription = &customer.Subscription{ID: "sub", Status: customer.SubscribedActive, Anchor: noon.AddDate(0, 0, -3)}
	}
	c.editCustomer(anchored)
	n, refusal := c.admitted(9)
	if want := noon.AddDate(0, 1, -3); n != 2 || !refusal.Violated.Ends.Equal(want) {
		t.Errorf("%d passed in the subscription's first month, which ends %v, want %v", n, refusal.Violated.Ends, want)
	}
	c.editCustomer(func(k *customer.Customer) { k.Subscription = nil })
	c.wantRefused(route, gate.QuotaExceeded)
	c.editCustomer(anchored)
	c.wantRefused(route, gate.QuotaExceeded)
}

func TestATokenRouteSpendsTokensAndOneRequest(t *testing.T) {
	chat := &plan.Route{Name: "chat", Unit: "tokens", Cost: plan.Cost{Units: 40, JSON: "usage.total_tokens"}}
	p := quotas(quota(3, plan.PerKey), plan.Quota{Unit: "tokens", Limit: 100, Span: plan.Month, Scope: plan.PerKey})
	c := newHouse(t, p).caller()
	ticket, refusal := c.try(chat)
	if refusal != nil {
		t.Fatalf("refused: %s", refusal.Reason)
	}
	ticket.Settle(gate.Answer{Status: 200, Pending: true})
	if got := c.usage().Units["tokens"]; got != 40 {
		t.Errorf("while the answer runs %d tokens are held, want the reserve of 40", got)
	}
	ticket.Settle(gate.Answer{Status: 200, Known: true, Units: 70})
	ticket.Settle(gate.Answer{Status: 200, Known: true, Units: 9})
	if got := c.usage(); got.Units["tokens"] != 70 || got.Units[plan.Requests] != 1 || got.Requests != 1 {
		t.Errorf("counted %v in %d requests, want 70 tokens in one", got.Units, got.Requests)
	}
	if ticket.Usage() != 70 {
		t.Errorf("the ticket tells %d, want 70", ticket.Usage())
	}
	refusal = c.wantRefused(chat, gate.QuotaExceeded)
	if refusal.Violated.Unit != "tokens" || refusal.Violated.Remaining != 30 {
		t.Errorf("refused by %+v", refusal.Violated)
	}
	if n, _ := c.admitted(9); n != 2 {
		t.Errorf("%d more requests passed, want 2 of 3", n)
	}
	free, _ := c.try(&plan.Route{Name: "free", Unit: "tokens", Cost: plan.Cost{Units: 0}})
	if free == nil {
		t.Error("no ticket")
	}
}

func TestARouteMayCostMoreAndHaveRatesOfItsOwn(t *testing.T) {
	images := &plan.Route{
		Name: "images", Cost: plan.Cost{Units: 20},
		Rates: []plan.Rate{rate(40, time.Minute, 40, plan.PerKey)},
	}
	c := newHouse(t, quotas(quota(100, plan.PerKey))).caller()
	c.wantPassed(images)
	c.wantPassed(images)
	c.wantRefused(images, gate.RateLimited)
	c.wantPassed(route)
	if got := c.usage(); got.Requests != 3 || got.Units[plan.Requests] != 41 || got.Quota.Used != 41 {
		t.Errorf("counted %d requests, %v units, %d of the quota, want 3, 41, 41", got.Requests, got.Units, got.Quota.Used)
	}
}
