// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// limitsOf is what holds for a caller, one line per limit, and where from.
func limitsOf(t *testing.T, c *caller) string {
	t.Helper()
	x, err := c.gate.Explain(context.Background(), gate.Subject{Key: c.key.ID})
	c.must(err)
	var lines []string
	for _, l := range x.Limits {
		line := l.Kind + " " + strconv.FormatInt(l.Limit, 10)
		switch l.Kind {
		case "rate":
			line = "rate " + strconv.FormatInt(l.Count, 10) + "/" + l.Per
		case "quota":
			line += "/" + string(l.Period)
			if l.Unit != plan.Requests {
				line += " " + l.Unit
			}
			if l.Max != nil {
				line += " +" + strconv.FormatInt(*l.Max, 10)
			}
		}
		lines = append(lines, line+" per "+string(l.Scope)+": "+l.From)
	}
	return strings.Join(lines, "\n")
}

func TestWhichLimitHoldsAndWhereItComesFrom(t *testing.T) {
	most := int64(7)
	pro := plan.Plan{
		ID: "pro",
		Rates: []plan.Rate{
			rate(100, time.Second, 200, plan.PerKey), rate(3000, time.Minute, 3000, plan.PerCustomer),
		},
		Concurrency: plan.Concurrency{Limit: 50, Scope: plan.PerKey},
		Quotas: []plan.Quota{
			quota(900, plan.PerKey),
			{Unit: plan.Requests, Limit: 5000, Span: plan.Month, Scope: plan.PerCustomer, Overage: plan.Bill, Max: &most},
			{Unit: "tokens", Limit: 70, Span: plan.Day, Scope: plan.PerKey, Overage: plan.Block},
		},
	}
	small := plan.Plan{
		ID: "small", Rates: []plan.Rate{rate(1, time.Second, 1, plan.PerKey)},
		Quotas: []plan.Quota{quota(10, plan.PerKey), quota(20, plan.PerCustomer)},
	}
	const whole = `rate 100/second per key: plan pro
rate 3000/minute per customer: plan pro
concurrency 50 per key: plan pro
quota 900/month per key: plan pro
quota 5000/month +7 per customer: plan pro
quota 70/day tokens per key: plan pro`

	for _, test := range []struct {
		what string
		key  plan.Overrides
		cust plan.Overrides
		own  string // the key's own plan
		want string
	}{
		{what: "the plan's", want: whole},
		{
			what: "a key's own plan but for pooled quotas", own: "small",
			want: "rate 1/second per key: plan small\nquota 10/month per key: plan small\nquota 5000/month +7 per customer: plan pro",
		},
		{
			what: "a key's rates and concurrency beside the pooled rates",
			key:  plan.Overrides{Rates: &[]plan.Rate{rate(7, time.Hour, 7, plan.PerCustomer)}, Concurrency: &plan.Concurrency{Limit: 2}},
			want: strings.NewReplacer("rate 100/second per key: plan pro", "rate 7/hour per key: key override",
				"concurrency 50 per key: plan pro", "concurrency 2 per key: key override").Replace(whole),
		},
		{
			what: "a customer's rates in the place of all",
			cust: plan.Overrides{Rates: &[]plan.Rate{rate(7, time.Hour, 7, plan.PerCustomer)}},
			want: strings.Replace(whole, "rate 100/second per key: plan pro\nrate 3000/minute per customer: plan pro",
				"rate 7/hour per customer: customer override", 1),
		},
		{
			what: "a key's rates over a customer's, whose pooled ones stay",
			key:  plan.Overrides{Rates: &[]plan.Rate{rate(1, time.Second, 1, plan.PerKey)}},
			cust: plan.Overrides{Rates: &[]plan.Rate{rate(7, time.Hour, 7, plan.PerCustomer), rate(9, time.Hour, 9, plan.PerKey)}},
			want: strings.Replace(whole, "rate 100/second per key: plan pro\nrate 3000/minute per customer: plan pro",
				"rate 1/second per key: key override\nrate 7/hour per customer: customer override", 1),
		},
		{
			what: "no rates and no concurrency at all",
			cust: plan.Overrides{Rates: &[]plan.Rate{}, Concurrency: &plan.Concurrency{}},
			want: strings.SplitAfterN(whole, "\n", 4)[3],
		},
		{
			what: "a key's quota in the place of its own",
			key:  plan.Overrides{Quota: &plan.Quota{Limit: 33, Scope: plan.PerCustomer}},
			want: strings.Replace(whole, "quota 900/month per key: plan pro", "quota 33/month per key: key override", 1),
		},
		{
			what: "a customer's quota in the place of all of the unit",
			cust: plan.Overrides{Quota: &plan.Quota{Unit: plan.Requests, Limit: 33}},
			want: strings.Replace(whole, "quota 900/month per key: plan pro\nquota 5000/month +7 per customer: plan pro",
				"quota 33/month per key: customer override", 1),
		},
		{
			what: "a customer's quota in the place of those of its scope",
			cust: plan.Overrides{Quota: &plan.Quota{Unit: plan.Requests, Limit: 6000, Scope: plan.PerCustomer, Overage: plan.Block}},
			want: strings.Replace(whole, "quota 5000/month +7 per customer: plan pro",
				"quota 6000/month per customer: customer override", 1),
		},
		{
			what: "a quota of another unit beside the plan's",
			cust: plan.Overrides{Quota: &plan.Quota{Unit: "credits", Limit: 5, Span: plan.Hour, Overage: plan.Block}},
			want: whole + "\nquota 5/hour credits per key: customer override",
		},
		{
			what: "no quota of the unit",
			cust: plan.Overrides{Quota: &plan.Quota{Unit: "tokens", Limit: plan.Unlimited}},
			want: strings.TrimSuffix(whole, "\nquota 70/day tokens per key: plan pro"),
		},
	} {
		t.Run(test.what, func(t *testing.T) {
			h := newHouse(t, pro, small)
			c := h.of(h.customer(func(c *customer.Customer) { c.Overrides = test.cust }), func(k *apikey.Key) {
				k.Plan, k.Overrides = test.own, test.key
			})
			if got := limitsOf(t, c); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestAnOverrideEndsByItself(t *testing.T) {
	h := newHouse(t, quotas(quota(2, plan.PerKey)))
	c := h.caller(func(k *apikey.Key) {
		k.Overrides = plan.Overrides{Quota: &plan.Quota{Limit: 5}, Until: noon.Add(time.Hour)}
	})
	if n, _ := c.admitted(9); n != 5 {
		t.Errorf("with the override %d passed, want 5", n)
	}
	h.pass(time.Hour)
	if refusal := c.wantRefused(route, gate.QuotaExceeded); refusal.Violated.Limit != 2 || refusal.Violated.Remaining != 0 {
		t.Errorf("after it: refused by %+v", refusal.Violated)
	}
	if got := c.usage().Quota; got.Used != 5 || got.Remaining != 0 || got.Limit != 2 {
		t.Errorf("after it the quota is %+v", got)
	}
}

func TestAPlanOverrideEndsByItself(t *testing.T) {
	large := plan.Plan{ID: "large", Quotas: []plan.Quota{quota(4, plan.PerKey)}}
	h := newHouse(t, quotas(quota(2, plan.PerKey)), large)
	c := h.of(h.customer(func(c *customer.Customer) {
		c.PlanOverride = customer.PlanOverride{Plan: "large", Until: noon.Add(time.Hour)}
	}))
	c.admitted(3)
	h.pass(time.Hour)
	c.wantRefused(route, gate.QuotaExceeded)
}

func TestARateKeepsWhatIsSpentWhenItIsEdited(t *testing.T) {
	h := newHouse(t, plan.Plan{ID: "free", Rates: []plan.Rate{rate(10, time.Minute, 10, plan.PerKey)}})
	c := h.caller()
	c.admitted(10)
	h.apply(plan.Plan{ID: "free", Rates: []plan.Rate{rate(20, time.Minute, 20, plan.PerKey)}})
	c.wantRefused(route, gate.RateLimited)
	h.pass(3 * time.Second)
	if n, _ := c.admitted(9); n != 1 {
		t.Errorf("%d passed 3 s later, want 1 at the new rate", n)
	}
}
