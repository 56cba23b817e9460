// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

func TestACustomerIsChangedByAMergePatch(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/customers", `{"email":"Ada@Example.com","name":"Ada","external_id":"u1","plan":"pro","stripe_customer_id":"cus_1",
		"overrides":{"rates":[{"count":5,"per":"second","scope":"customer"}],"quota":7,"until":"2026-12-24T00:00:00Z","reason":"pilot"},
		"plan_override":{"plan":"tiny","until":"2026-12-01T00:00:00Z","reason":"outage"},"metadata":{"a":1,"b":{"c":2,"d":3}}}`).want(201)
	w.says("email", "ada@example.com", "plan", "tiny", "plan_source", "override", "own_plan", "pro", "stripe_customer_id", "cus_1",
		"overrides.rates", `[{"burst":5,"count":5,"per":"1s","scope":"customer","unit":"requests"}]`, "overrides.reason", "pilot",
		"overrides.quota.limit", "7", "plan_override.until", "2026-12-01T00:00:00Z")
	path := "/v1/customers/" + w.text("id")
	a.call("PATCH", path, `{"metadata":{"a":null,"b":{"c":null,"e":4}},"overrides":{"until":null,"rates":null},"plan_override":null,"name":null}`).want(200).
		says("metadata", `{"b":{"d":3,"e":4}}`, "overrides.until", "", "overrides.rates", "", "overrides.quota.limit", "7", "overrides.reason", "pilot",
			"plan_override", "", "plan", "pro", "plan_source", "customer", "name", "", "external_id", "u1")
	a.call("PATCH", path, `{"plan":null}`).want(200).says("plan", "free", "plan_source", "default", "own_plan", "")
	a.call("PATCH", path, `{"plan":"gone"}`).refused(400, "invalid_field", "plan")
	a.call("PATCH", path, `{"overrides":{"quota":{"limit":0}}}`).refused(400, "invalid_field", "overrides.quota.limit")
	a.call("PATCH", path, `{"overrides":{"rates":[{"count":1,"per":"1ns"}]}}`).refused(400, "invalid_field", "overrides.rates[0].per")
	a.call("PATCH", path, `{"overrides":{"nope":null}}`).refused(400, "invalid_field", "overrides.nope")
	a.call("PATCH", path, `{"plan_override":{"until":"2027-01-01T00:00:00Z"}}`).refused(400, "invalid_field", "plan_override.plan")
	a.call("PATCH", path, `{"email":"no address"}`).refused(400, "invalid_field", "email")
	a.call("PATCH", path, `{"status":"active"}`).refused(400, "invalid_field", "status")
	a.call("PATCH", "/v1/customers/cust_404", `{}`).refused(404, "not_found", "")
}

func TestNamesOfACustomerAreUnique(t *testing.T) {
	a := newAPI(t)
	first := a.call("POST", "/v1/customers", `{"email":"a@example.com","external_id":"u1","stripe_customer_id":"cus_1"}`).want(201)
	for field, body := range map[string]string{"email": `{"email":"A@EXAMPLE.com"}`, "external_id": `{"external_id":"u1"}`, "stripe_customer_id": `{"stripe_customer_id":"cus_1"}`} {
		a.call("POST", "/v1/customers", body).refused(409, "duplicate", field)
		data := a.call("GET", "/v1/customers?"+field+"="+first.text(field), "").want(200).data()
		if len(data) != 1 || data[0]["id"] != first.text("id") {
			t.Errorf("by %s: got %v", field, data)
		}
	}
	if n := len(a.call("GET", "/v1/customers?email=nobody@example.com", "").want(200).data()); n != 0 {
		t.Errorf("found %d", n)
	}
	a.call("GET", "/v1/customers?email=a@example.com&external_id=u1", "").refused(400, "invalid_parameter", "email")
}

func TestErasingACustomerForgetsWhoItWas(t *testing.T) {
	a := newAPI(t)
	const email, name, external = "grace@example.com", "Grace Hopper", "user-4711"
	owner := a.call("POST", "/v1/customers", `{"email":"`+email+`","name":"`+name+`","external_id":"`+external+`","metadata":{"phone":"0800"},"stripe_customer_id":"cus_9"}`, "Idempotency-Key", "c1").want(201).text("id")
	w := a.call("POST", "/v1/keys", `{"customer":"`+email+`","name":"`+name+`","allowed_ips":["192.0.2.7"],"overrides_reason":"`+name+`","quota":9}`, "Idempotency-Key", "k1").want(201)
	key, secret := w.text("id"), w.text("api_key")
	a.call("PATCH", "/v1/keys/"+key, `{"metadata":{"owner":"`+name+`"}}`).want(200)
	a.call("POST", "/v1/customers/"+owner+"/adjustments", `{"amount":2,"reason":"`+name+`"}`).want(201)
	for range 3 {
		a.request(secret, 200)
	}
	a.call("POST", "/v1/keys/"+key+"/disable", `{"reason":"`+name+`"}`).want(200)
	a.request(secret, 200) // a denial from the customer's address

	erased := a.call("DELETE", "/v1/customers/"+owner, "").want(200)
	erased.says("id", owner, "status", "erased", "email", "", "name", "", "external_id", "", "metadata", "{}", "stripe_customer_id", "cus_9", "erased_at", "2026-11-23T12:00:00Z")
	a.call("GET", "/v1/keys/"+key, "").want(200).says("status", "revoked", "name", "", "allowed_ips", "[]", "metadata", "{}", "overrides_reason", "", "quota.limit", "9")
	seen := a.everything() + a.call("GET", "/v1/denials", "").Body.String() + a.call("GET", "/v1/audit", "").Body.String() +
		a.call("GET", "/v1/customers/"+owner+"/export", "").Body.String() + a.logged.String()
	for _, trace := range []string{email, name, external, "0800", "192.0.2.7"} {
		if strings.Contains(seen, trace) {
			t.Errorf("%s is still to be found", trace)
		}
	}
	a.call("GET", "/v1/customers/"+owner+"/usage", "").want(200).says("requests", "3")
	if rows := a.call("GET", "/v1/usage?customer="+owner, "").want(200).data(); len(rows) != 1 || rows[0]["requests"] != 3.0 {
		t.Errorf("got usage %v", rows)
	}
	a.call("POST", "/v1/customers", `{"email":"`+email+`","name":"`+name+`","external_id":"`+external+`","metadata":{"phone":"0800"},"stripe_customer_id":"cus_9"}`, "Idempotency-Key", "c1").refused(410, "erased", "")
	a.call("POST", "/v1/keys", `{"customer":"`+owner+`"}`).refused(409, "erased", "")
	a.call("PATCH", "/v1/customers/"+owner, `{"name":"x"}`).refused(409, "erased", "")
	if again := a.call("DELETE", "/v1/customers/"+owner, "").want(200); again.Body.String() != erased.Body.String() {
		t.Errorf("erasing again: got %s, want %s", again.Body, erased.Body)
	}
	if got := a.call("GET", "/v1/audit?action=customer.erase", "").data(); len(got) != 1 {
		t.Errorf("got %d entries of the erasure, want 1", len(got))
	}
	a.call("POST", "/v1/keys", `{"customer":"`+email+`"}`).want(201) // somebody new
}

// subscribe gives a customer a subscription, as Stripe's news would.
func (a *api) subscribe(id string, status customer.SubscriptionStatus) {
	a.t.Helper()
	ctx := context.Background()
	c := must(a.o.Store.Customer(ctx, store.CustomerRef{ID: id}))(a.t)
	c.Subscription = &customer.Subscription{ID: "sub_1", Status: status, Plan: "pro", Anchor: time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)}
	must(a.o.Store.Write(ctx, store.Mutations{Customers: []customer.Customer{c}}))(a.t)
}

func TestACustomerWithALiveSubscriptionIsNotErased(t *testing.T) {
	a := newAPI(t)
	id := a.call("POST", "/v1/customers", `{"email":"a@example.com"}`).want(201).text("id")
	a.subscribe(id, customer.SubscribedActive)
	a.call("GET", "/v1/customers/"+id, "").want(200).says("status", "active", "plan", "pro", "plan_source", "stripe",
		"period.start", "2026-10-31T09:00:00Z", "period.end", "2026-11-30T09:00:00Z")
	a.call("DELETE", "/v1/customers/"+id, "").refused(409, "subscription_live", "")
	a.subscribe(id, customer.Unpaid)
	a.call("DELETE", "/v1/customers/"+id, "").refused(409, "subscription_live", "")
	a.subscribe(id, customer.Canceled)
	a.call("DELETE", "/v1/customers/"+id, "").want(200).says("status", "erased")
}

func TestNoKeyIsMadeForACustomerThatIsErasedMeanwhile(t *testing.T) {
	a := newAPI(t)
	owner := a.call("POST", "/v1/customers", `{"email":"a@example.com"}`).want(201).text("id")
	ctx := context.Background()
	before := must(a.o.Store.Customer(ctx, store.CustomerRef{ID: owner}))(t)
	a.call("DELETE", "/v1/customers/"+owner, "").want(200)
	ch := a.creation(&keyRecord{ID: "key_1", Customer: owner, State: "active", Mode: "live", CreatedAt: before.CreatedAt}, &before, false, nil, a.clock.now())
	if err := a.commit(ctx, ch.Mutations); err == nil {
		t.Error("the key was made")
	}
}

func TestAnExportTellsAllThatIsHeld(t *testing.T) {
	a := newAPI(t)
	key, owner, secret := a.mint(`{"customer":"a@example.com"}`)
	a.mint(`{"customer":"other@example.com"}`)
	a.call("POST", "/v1/customers/"+owner+"/adjustments", `{"amount":-1,"reason":"refund"}`).want(201)
	a.request(secret, 200)
	a.call("POST", "/v1/keys/"+key+"/disable", "").want(200)
	a.request(secret, 200)
	w := a.call("GET", "/v1/customers/"+owner+"/export", "").want(200)
	counts := map[string]int{}
	for _, line := range w.lines() {
		counts[line["object"].(string)]++
	}
	for object, want := range map[string]int{"customer": 1, "key": 1, "adjustment": 1, "audit_entry": 4, "denial": 1, "usage": 1} {
		if counts[object] != want {
			t.Errorf("got %d of %s, want %d", counts[object], object, want)
		}
	}
	if strings.Contains(w.Body.String(), "other@example.com") || strings.Contains(w.Body.String(), secret) {
		t.Error("the export holds what is not of the customer")
	}
	a.call("GET", "/v1/customers/cust_404/export", "").refused(404, "not_found", "")
}
