// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

func TestUsageIsExactAtTheTimeOfAsking(t *testing.T) {
	a := newAPI(t)
	key, owner, secret := a.mint(`{"customer":"a@example.com"}`)
	for range 5 {
		a.request(secret, 200)
	}
	a.request(secret, 500) // refunded
	a.request("sk_live_"+strings.Repeat("0", 49), 200)
	for _, c := range []struct{ query, want string }{
		{"", `[{"group":{},"refunded":1,"refused":1,"requests":5,"start":"2026-11-23T00:00:00Z","units":{"requests":5}}]`},
		{"?bucket=hour&key=" + key, `[{"group":{},"refunded":1,"refused":0,"requests":5,"start":"2026-11-23T12:00:00Z","units":{"requests":5}}]`},
		{"?bucket=month&group_by=customer&customer=a@example.com", `[{"group":{"customer":"` + owner + `"},"refunded":1,"refused":0,"requests":5,"start":"2026-11-01T00:00:00Z","units":{"requests":5}}]`},
		{"?group_by=outcome&customer=" + owner, `[{"group":{"outcome":"allowed"},"refunded":0,"refused":0,"requests":5,"start":"2026-11-23T00:00:00Z","units":{"requests":5}},` +
			`{"group":{"outcome":"upstream_error"},"refunded":1,"refused":0,"requests":0,"start":"2026-11-23T00:00:00Z","units":{}}]`},
		{"?group_by=plan&route=default&key=" + key, `[{"group":{"plan":"free"},"refunded":1,"refused":0,"requests":5,"start":"2026-11-23T00:00:00Z","units":{"requests":5}}]`},
		{"?customer=nobody", `[]`},
		{"?to=2026-11-23T00:00:00Z", `[]`},
	} {
		if got := a.call("GET", "/v1/usage"+c.query, "").want(200).text("data"); got != c.want {
			t.Errorf("%s: got %s, want %s", c.query, got, c.want)
		}
	}
	a.call("GET", "/v1/customers/"+owner+"/usage", "").want(200).says("customer", owner, "requests", "5", "units.requests", "5")
	a.call("GET", "/v1/customers/"+owner+"/usage?mode=test", "").want(200).says("requests", "0")
	a.call("GET", "/v1/keys/key_404/usage", "").refused(404, "not_found", "")
	a.call("GET", "/v1/customers/cust_404/usage", "").refused(404, "not_found", "")
	w := a.call("GET", "/v1/usage?format=csv&group_by=key&customer="+owner, "").want(200)
	if want := "start,key,requests,refused,refunded,units.requests\n2026-11-23T00:00:00Z," + key + ",5,0,1,5\n"; w.Body.String() != want {
		t.Errorf("got %q, want %q", w.Body, want)
	}
}

func TestUsageIsWidenedToWholeBuckets(t *testing.T) {
	at := func(s string) time.Time { return must(time.Parse(time.RFC3339, s))(t) }
	for _, c := range []struct {
		bucket                     store.Bucket
		from, to, wantFrom, wantTo string
	}{
		{store.HourBucket, "2026-11-23T12:34:56Z", "2026-11-23T13:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"},
		{store.HourBucket, "2026-11-23T12:00:00Z", "2026-11-23T12:00:01Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"},
		{store.DayBucket, "2026-11-23T23:30:00-01:00", "2026-11-25T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"},
		{store.MonthBucket, "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2026-12-01T00:00:00Z", "2027-02-01T00:00:00Z"},
	} {
		from, to := widened(c.bucket, at(c.from), at(c.to))
		if !from.Equal(at(c.wantFrom)) || !to.Equal(at(c.wantTo)) {
			t.Errorf("%s %s to %s: got %s to %s", c.bucket, c.from, c.to, from, to)
		}
	}
	a := newAPI(t)
	a.call("GET", "/v1/usage?bucket=hour", "").want(200).says("from", "2026-11-21T12:00:00Z", "to", "2026-11-23T13:00:00Z")
	a.call("GET", "/v1/usage?bucket=month", "").want(200).says("from", "2025-12-01T00:00:00Z", "to", "2026-12-01T00:00:00Z")
	for query, name := range map[string]string{
		"from=2026-11-23T00:00:00Z&to=2026-11-23T00:00:00Z": "from", "from=yesterday": "from", "to=0": "to", "bucket=week": "bucket", "group_by=ip": "group_by",
		"format=xml": "format", "bucket=hour&from=1970-01-01T00:00:00Z": "from", "form=x": "form",
	} {
		a.call("GET", "/v1/usage?"+query, "").refused(400, "invalid_parameter", name)
	}
}

func TestAnAdjustmentMovesTheCounterAndIsStated(t *testing.T) {
	a := newAPI(t)
	_, owner, secret := a.mint(`{"customer":"a@example.com","plan":"pro"}`)
	path := "/v1/customers/" + owner
	for range 5 {
		a.request(secret, 200)
	}
	w := a.call("POST", path+"/adjustments", `{"amount":-3,"reason":"outage"}`, "Idempotency-Key", "a").want(201)
	w.says("unit", "requests", "amount", "-3", "period.start", "2026-11-01T00:00:00Z")
	a.call("POST", path+"/adjustments", `{"amount":-3,"reason":"outage"}`, "Idempotency-Key", "a").want(201).says("id", w.text("id"))
	a.call("GET", path+"/usage", "").want(200).says("units.requests", "2", "requests", "5", "quota.used", "2", "quota.remaining", "99998")
	a.call("GET", path+"/statement", "").want(200).says("units.requests", "2", "adjusted.requests", "-3", "requests", "5", "complete", "false",
		"days", `[{"day":"2026-11-23","refused":0,"requests":5,"route":"default","units":{"requests":5}}]`)
	a.clock.advance(time.Second)
	a.call("POST", path+"/adjustments", `{"amount":10,"reason":"late news","period":"2026-10"}`).want(201).says("period.end", "2026-11-01T00:00:00Z")
	a.call("GET", path+"/statement?period=2026-10", "").want(200).says("units.requests", "10", "complete", "true", "days", "[]")
	a.call("GET", path+"/usage", "").want(200).says("units.requests", "2")
	if n := len(a.call("GET", path+"/adjustments?limit=1", "").want(200).data()); n != 1 {
		t.Errorf("got %d adjustments on the page", n)
	}
	csv := a.call("GET", path+"/statement?format=csv", "").want(200).Body.String()
	if want := "day,route,requests,refused,units.requests\n2026-11-23,default,5,0,5\n2026-11-23,adjustment,0,0,-3\n"; csv != want {
		t.Errorf("got %q, want %q", csv, want)
	}
	a.call("PATCH", path, `{"name":"<script>alert(1)</script>"}`).want(200)
	html := a.call("GET", path+"/statement?format=html", "").want(200).Body.String()
	if strings.Contains(html, "<script") || !strings.Contains(html, "outage") {
		t.Errorf("got %s", html)
	}
	for body, field := range map[string]string{
		`{"reason":"x"}`: "amount", `{"amount":0,"reason":"x"}`: "amount", `{"amount":1}`: "reason", `{"amount":1,"reason":"x","unit":"No"}`: "unit",
		`{"amount":1,"reason":"x","period":"2026-13"}`: "period", `{"amount":1,"reason":"x","period":"2026-12"}`: "period", `{"amount":1.5,"reason":"x"}`: "amount",
		`{"amount":9007199254740993,"reason":"x"}`: "amount", `{"amount":1,"reason":"x","unit":"calls"}`: "unit",
	} {
		a.call("POST", path+"/adjustments", body).refused(400, "invalid_field", field)
	}
	a.call("GET", path+"/statement?period=soon", "").refused(400, "invalid_parameter", "period")
	a.call("POST", "/v1/customers/cust_404/adjustments", `{"amount":1,"reason":"x"}`).refused(404, "not_found", "")
	if got := a.call("GET", "/v1/audit?action=usage.adjust", "").data(); len(got) != 2 || got[1]["reason"] != "outage" {
		t.Errorf("got audit %v", got)
	}
}

func TestStatementsFollowTheSubscriptionsMonths(t *testing.T) {
	a := newAPI(t)
	_, owner, secret := a.mint(`{"customer":"a@example.com","plan":"pro"}`)
	a.subscribe(owner, customer.SubscribedActive)
	a.request(secret, 200)
	path := "/v1/customers/" + owner + "/statement"
	a.call("GET", path, "").want(200).says("period.start", "2026-10-31T09:00:00Z", "period.end", "2026-11-30T09:00:00Z", "units.requests", "1")
	a.call("GET", path+"?period=2026-10", "").want(200).says("period.start", "2026-10-31T09:00:00Z")
	a.call("GET", path+"?period=2026-02", "").want(200).says("period.start", "2026-02-28T09:00:00Z", "period.end", "2026-03-31T09:00:00Z")
	a.call("GET", path+"?period=2026-11", "").refused(400, "invalid_parameter", "period")
}

func TestAFailedAdjustmentMovesNothing(t *testing.T) {
	var engine *losing
	a := newAPI(t, func(o *Options, _ *gateSettings) {
		engine = &losing{Engine: o.Store}
		o.Store = engine
	})
	owner := a.call("POST", "/v1/customers", `{"email":"a@example.com"}`).want(201).text("id")
	engine.refuse = true
	a.call("POST", "/v1/customers/"+owner+"/adjustments", `{"amount":7,"reason":"x"}`).refused(503, "unavailable", "")
	engine.refuse = false
	a.call("GET", "/v1/customers/"+owner+"/statement", "").want(200).says("units.requests", "0")
}

func TestARetiredPlanIsTheStoresToChange(t *testing.T) {
	a := newAPI(t)
	a.mint(`{"customer":"a@example.com","plan":"tiny"}`)
	a.call("PUT", "/v1/plans/tiny", `{}`).refused(409, "plan_read_only", "")
	left := slices.DeleteFunc(testPlans(t), func(p plan.Plan) bool { return p.ID == "tiny" })
	if retired, err := a.o.Gate.Apply(t.Context(), gate.Settings{Plans: left, DefaultPlan: "free"}); err != nil || !slices.Equal(retired, []string{"tiny"}) {
		t.Fatalf("got %v, %v, want tiny retired", retired, err)
	}
	a.call("GET", "/v1/plans/tiny", "").want(200).says("source", "retired")
	a.call("DELETE", "/v1/plans/tiny", "").refused(409, "plan_in_use", "")
	a.call("PUT", "/v1/plans/tiny", `{"quotas":[{"limit":9,"period":"month"}]}`).want(200).says("source", "store")
}

func TestPlansOfTheStore(t *testing.T) {
	a := newAPI(t)
	w := a.call("PUT", "/v1/plans/gold", `{"title":"Gold","rates":[{"count":50,"per":"second"}],"quotas":[{"limit":10,"period":"month"},{"unit":"tokens","limit":"unlimited","period":"day","scope":"customer"}],
		"concurrency":4,"max_keys":3,"scopes":["chat"],"routes":["chat","default"],"stripe_prices":["price_1"],"stripe_meters":[{"event":"api","all":true}],"not_for_sale":true}`).want(201)
	w.says("source", "store", "concurrency", `{"limit":4,"scope":"key"}`, "max_keys", "3", "stripe_meters", `[{"all":true,"event":"api","unit":"requests"}]`)
	key, _, secret := a.mint(`{"customer":"a@example.com","plan":"gold"}`)
	for range 10 {
		a.request(secret, 200)
	}
	if got := a.request(secret, 200); got != "quota_exceeded" {
		t.Errorf("past the quota: %s", got)
	}
	a.call("PUT", "/v1/plans/gold", `{"quotas":[{"limit":11,"period":"month"}]}`).want(200).says("title", "", "rates", "[]", "scopes", "[]")
	if got := a.request(secret, 200); got != "allowed" {
		t.Errorf("after the plan was changed: %s", got)
	}
	a.call("DELETE", "/v1/plans/gold", "").refused(409, "plan_in_use", "")
	a.call("POST", "/v1/keys/"+key+"/revoke", "").want(200)
	a.call("PATCH", "/v1/customers/"+a.call("GET", "/v1/keys/"+key, "").text("customer"), `{"plan":null}`).want(200)
	a.call("DELETE", "/v1/plans/gold", "").want(200).says("id", "gold", "deleted", "true")
	a.call("GET", "/v1/plans/gold", "").refused(404, "not_found", "")
	a.call("DELETE", "/v1/plans/gold", "").refused(404, "not_found", "")
	a.call("PUT", "/v1/plans/free", `{}`).refused(409, "plan_read_only", "")
	a.call("DELETE", "/v1/plans/free", "").refused(409, "plan_read_only", "")
	for path, field := range map[string]string{"Gold": "id", "a%20b": "id"} {
		a.call("PUT", "/v1/plans/"+path, `{}`).refused(400, "invalid_field", field)
	}
	for body, field := range map[string]string{
		`{"rates":[{"count":1,"per":"1s"},{"count":1,"per":"1s"}]}`:              "rates[1]",
		`{"quotas":[{"limit":1,"period":"month"},{"limit":2,"period":"month"}]}`: "quotas[1]",
		`{"quotas":[{"limit":1,"period":"month"},{"limit":2,"period":"year"}]}`:  "quotas[1].period",
		`{"max_keys":0}`: "max_keys", `{"scopes":["a b"]}`: "scopes[0]", `{"source":"config"}`: "source", `{"stripe_meters":[{"unit":"x"}]}`: "stripe_meters[0].event",
	} {
		a.call("PUT", "/v1/plans/new", body).refused(400, "invalid_field", field)
	}
	list := a.call("GET", "/v1/plans", "").want(200).data()
	if len(list) != 3 || list[0]["id"] != "free" || list[0]["default"] != true || list[0]["source"] != "config" {
		t.Errorf("got %v", list)
	}
	if list := a.call("GET", "/v1/plans?limit=1&after=free", "").want(200).data(); len(list) != 1 || list[0]["id"] != "pro" {
		t.Errorf("got %v", list)
	}
}
