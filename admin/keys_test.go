// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
)

func TestAKeyForAnUnknownAddressMakesTheCustomer(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/keys", `{"customer":"Dev@Example.com","name":"Production","plan":"pro","scopes":["chat"]}`).want(201)
	w.says("object", "key", "name", "Production", "mode", "live", "status", "active", "plan", "pro", "secret_available", "true", "last_used_at", "")
	secret := w.text("api_key")
	if apikey.Inspect(secret) != apikey.Genuine || !strings.HasPrefix(secret, "sk_live_") {
		t.Errorf("got secret %q", secret)
	}
	if start := w.text("start"); len(start) != len("sk_live_")+4 || !strings.HasPrefix(secret, start) {
		t.Errorf("got start %q", start)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", got)
	}
	owner := a.call("GET", "/v1/customers/"+w.text("customer"), "").want(200)
	owner.says("email", "dev@example.com", "plan", "pro", "plan_source", "customer", "status", "none",
		"period.start", "2026-11-01T00:00:00Z", "period.end", "2026-12-01T00:00:00Z")
	if got := a.request(secret, 200); got != "allowed" {
		t.Errorf("the key is %s", got)
	}
	shown := a.call("GET", "/v1/keys/"+w.text("id"), "").want(200)
	shown.says("last_used_at", "2026-11-23T12:00:00Z")
	if _, there := shown.json["api_key"]; there || strings.Contains(shown.Body.String(), secret) {
		t.Error("the secret is shown again")
	}
}

func TestTheCustomerOfAKeyIsNamedInThreeWays(t *testing.T) {
	a := newAPI(t)
	owner := a.call("POST", "/v1/customers", `{"email":"a@example.com","external_id":"user-1"}`).want(201)
	for _, ref := range []string{owner.text("id"), "user-1", "A@example.com"} {
		a.call("POST", "/v1/keys", `{"customer":"`+ref+`"}`).want(201).says("customer", owner.text("id"), "plan", "")
	}
	a.call("POST", "/v1/keys", `{"customer":"user-2"}`).refused(404, "not_found", "customer")
	a.call("POST", "/v1/keys", `{"customer":"cust_0123456789abcdefghjkmnpq"}`).refused(404, "not_found", "customer")
	a.call("POST", "/v1/keys", `{}`).refused(400, "invalid_field", "customer")
	if n := len(a.call("GET", "/v1/keys?customer=user-1", "").want(200).data()); n != 3 {
		t.Errorf("got %d keys of the customer, want 3", n)
	}
	if n := len(a.call("GET", "/v1/keys?customer=nobody", "").want(200).data()); n != 0 {
		t.Errorf("got %d keys of nobody", n)
	}
}

func TestAKeyNeedsAPlan(t *testing.T) {
	a := newAPI(t, func(_ *Options, s *gate.Settings) { s.DefaultPlan = "" })
	a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`).refused(400, "plan_required", "plan")
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","plan":"nope"}`).refused(400, "invalid_field", "plan")
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","plan":"free"}`).want(201)
}

func TestWhatIsWrongWithAKeyIsNamed(t *testing.T) {
	a := newAPI(t)
	for body, field := range map[string]string{
		`"name":7`:                               "name",
		`"name":"a\u0000b"`:                      "name",
		`"titel":"x"`:                            "titel",
		`"NAME":"x"`:                             "NAME",
		`"mode":"prod"`:                          "mode",
		`"expires_at":"tomorrow"`:                "expires_at",
		`"expires_at":"2026-01-01T00:00:00Z"`:    "expires_at",
		`"expires_at":1764000000`:                "expires_at",
		`"scopes":"chat"`:                        "scopes",
		`"scopes":["chat","chat"]`:               "scopes[1]",
		`"plan":"pro","scopes":["chat","admin"]`: "scopes[1]",
		`"allowed_ips":["10.0.0.0/33"]`:          "allowed_ips[0]",
		`"allowed_ips":["fe80::1%eth0"]`:         "allowed_ips[0]",
		`"rates":[{"count":1,"per":"1s"},{"count":0,"per":"1s"}]`: "rates[1].count",
		`"rates":[{"count":1,"per":"1s","scope":"customer"}]`:     "rates[0].scope",
		`"rates":[{"count":1,"per":"soon"}]`:                      "rates[0].per",
		`"rates":[{"count":1,"per":"1s","brust":2}]`:              "rates[0].brust",
		`"rates":{"count":1}`:                                     "rates",
		`"rates":[7]`:                                             "rates[0]",
		`"quota":0`:                                               "quota",
		`"quota":-1`:                                              "quota",
		`"quota":1.5`:                                             "quota",
		`"quota":1e400`:                                           "quota",
		`"quota":99999999999999999999`:                            "quota",
		`"quota":9007199254740993`:                                "quota",
		`"quota":{"limit":5,"period":"week"}`:                     "quota.period",
		`"quota":{"limit":5,"period":"month","scope":"customer"}`: "quota.scope",
		`"quota":{"limit":5,"period":"month","max":7}`:            "quota.max",
		`"quota":"much"`:                                          "quota",
		`"concurrency":0`:                                         "concurrency",
		`"concurrency":{"limit":0}`:                               "concurrency.limit",
		`"concurrency":{}`:                                        "concurrency.limit",
		`"metadata":[]`:                                           "metadata",
		`"hash":"abc"`:                                            "hash",
		`"name":"a","name":"b"`:                                   "name",
		`"metadata":{"a":{"b":1,"b":2}}`:                          "metadata.a.b",
	} {
		a.call("POST", "/v1/keys", `{"customer":"a@example.com",`+body+`}`).refused(400, "invalid_field", field)
	}
	if n := len(a.call("GET", "/v1/customers", "").data()); n != 0 {
		t.Errorf("%d customers were made", n)
	}
}

func TestLimitsOfAKeyAreShownAsTheyWereSet(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/keys", `{"customer":"a@example.com","quota":50,"concurrency":3,"overrides_until":"2026-12-01T01:00:00+01:00","overrides_reason":"trial",
		"rates":[{"unit":"requests","count":10,"per":"1s","burst":20,"scope":"key"},{"count":"unlimited","unit":"tokens","per":"1m"}],
		"allowed_ips":["10.0.0.1","10.1.2.3/8","::ffff:192.0.2.0/120"],"metadata":{"a":{"b":[1,null]}}}`).want(201)
	w.says(
		"rates", `[{"burst":20,"count":10,"per":"1s","scope":"key","unit":"requests"},{"burst":null,"count":"unlimited","per":"1m","scope":"key","unit":"tokens"}]`,
		"quota", `{"limit":50,"max":null,"overage":"block","period":"month","scope":"key","unit":"requests"}`,
		"concurrency", `{"limit":3,"scope":"key"}`,
		"allowed_ips", `["10.0.0.1/32","10.0.0.0/8","192.0.2.0/24"]`,
		"overrides_until", "2026-12-01T00:00:00Z", "overrides_reason", "trial", "metadata", `{"a":{"b":[1,null]}}`)
	path := "/v1/keys/" + w.text("id")
	a.call("PATCH", path, `{"name":"x"}`).want(200).says("name", "x", "rates", w.text("rates"), "quota", w.text("quota"), "metadata", w.text("metadata"))
	a.call("PATCH", path, `{"quota":{"limit":60},"rates":null,"metadata":{"a":null,"c":1},"concurrency":null,"overrides_until":null}`).want(200).
		says("rates", "", "quota", `{"limit":60,"max":null,"overage":"block","period":"month","scope":"key","unit":"requests"}`, "metadata", `{"c":1}`, "concurrency", "", "overrides_until", "")
	a.call("PATCH", path, `{"quota":"unlimited","concurrency":"unlimited"}`).want(200).says("concurrency", `{"limit":"unlimited","scope":"key"}`,
		"quota", `{"limit":"unlimited","max":null,"overage":"block","period":"month","scope":"key","unit":"requests"}`)
	a.call("PATCH", path, `{"quota":null,"name":null}`).want(200).says("quota", "", "name", "")
	a.call("PATCH", path, `{"mode":"test"}`).refused(400, "invalid_field", "mode")
	a.call("PATCH", path, `{"nope":null}`).refused(400, "invalid_field", "nope")
}

func TestAHashThatIsTakenIsNamed(t *testing.T) {
	a := newAPI(t)
	hash := strings.Repeat("ab", 32)
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","hash":"`+hash+`"}`).want(201)
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","hash":"`+hash+`"}`).refused(409, "duplicate", "hash")
	a.call("POST", "/v1/keys", `{"customer":"new@example.com","hash":"`+hash+`"}`).refused(409, "duplicate", "hash")
}

// The plan pro bills what is past its pooled quota; free blocks.
func TestANumberAsQuotaKeepsTheOverageOfThePlan(t *testing.T) {
	a := newAPI(t)
	quota := func(limit, scope, overage string) string {
		return `{"limit":` + limit + `,"max":null,"overage":"` + overage + `","period":"month","scope":"` + scope + `","unit":"requests"}`
	}
	w := a.call("POST", "/v1/customers", `{"email":"a@example.com","plan":"pro","overrides":{"quota":7}}`).want(201)
	overrides := func(want string) string {
		return `{"concurrency":null,"quota":` + want + `,"rates":null,"reason":null,"until":null}`
	}
	w.says("overrides", overrides(quota("7", "customer", "bill")))
	path := "/v1/customers/" + w.text("id")
	a.call("PATCH", path, `{"plan":"free"}`).want(200).says("overrides", overrides(quota("7", "key", "block")))
	a.call("PATCH", path, `{"plan":"pro","overrides":{"quota":{"overage":"block"}}}`).want(200).says("overrides", overrides(quota("7", "customer", "block")))
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","quota":9}`).want(201).says("quota", quota("9", "key", "block"))
}

func TestAQuotaOfAKeyHoldsAtTheNextRequest(t *testing.T) {
	a := newAPI(t)
	key, _, secret := a.mint(`{"customer":"a@example.com","quota":2}`)
	for i, want := range []string{"allowed", "allowed", "quota_exceeded"} {
		if got := a.request(secret, 200); got != want {
			t.Errorf("request %d: got %s, want %s", i, got, want)
		}
	}
	a.call("PATCH", "/v1/keys/"+key, `{"quota":3}`).want(200)
	if got := a.request(secret, 200); got != "allowed" {
		t.Errorf("after the quota was raised: %s", got)
	}
	a.call("GET", "/v1/keys/"+key+"/usage", "").want(200).
		says("key", key, "requests", "3", "units.requests", "3", "refused", "1", "quota.limit", "3", "quota.used", "3", "quota.remaining", "0", "quota.resets_at", "2026-12-01T00:00:00Z")
}

func TestRotationKeepsTheOldSecretForTheGrace(t *testing.T) {
	a := newAPI(t)
	key, _, first := a.mint(`{"customer":"a@example.com"}`)
	w := a.call("POST", "/v1/keys/"+key+"/rotate", ``).want(200).says("id", key)
	second := w.text("api_key")
	if first == second || a.request(first, 200) != "allowed" || a.request(second, 200) != "allowed" {
		t.Fatal("both secrets should work")
	}
	if held := w.at("secrets").([]any); len(held) != 2 || held[1].(map[string]any)["ends_at"] != "2026-11-24T12:00:00Z" {
		t.Errorf("got secrets %v", held)
	}
	a.clock.advance(24 * time.Hour)
	if got := a.request(first, 200); got != "invalid_key" {
		t.Errorf("after the grace the old secret is %s", got)
	}
	third := a.call("POST", "/v1/keys/"+key+"/rotate", `{"grace":"0"}`).want(200).text("api_key")
	if got := a.request(second, 200); got != "invalid_key" {
		t.Errorf("without grace the old secret is %s", got)
	}
	fourth := a.call("POST", "/v1/keys/"+key+"/rotate", `{"grace":"30d"}`).want(200).text("api_key")
	a.call("POST", "/v1/keys/"+key+"/rotate", `{"grace":3600}`).want(200)
	if a.request(third, 200) != "invalid_key" || a.request(fourth, 200) != "allowed" {
		t.Error("a third secret should end the oldest, and that alone")
	}
	for _, grace := range []string{`"31d"`, `"-1h"`, `"soon"`, `2592001`, `true`} {
		a.call("POST", "/v1/keys/"+key+"/rotate", `{"grace":`+grace+`}`).refused(400, "invalid_field", "grace")
	}
	a.call("POST", "/v1/keys/"+key+"/revoke", "").want(200)
	a.call("POST", "/v1/keys/"+key+"/rotate", "").refused(409, "revoked", "")
}

func TestStatesOfAKey(t *testing.T) {
	a := newAPI(t)
	key, _, secret := a.mint(`{"customer":"a@example.com","expires_at":"2026-11-24T00:00:00Z"}`)
	path := "/v1/keys/" + key
	a.call("POST", path+"/disable", `{"reason":"unpaid"}`).want(200).says("status", "disabled")
	if got := a.request(secret, 200); got != "invalid_key" {
		t.Errorf("a disabled key is %s", got)
	}
	a.call("POST", path+"/disable", "").want(200).says("status", "disabled")
	a.call("POST", path+"/enable", "").want(200).says("status", "active")
	if got := a.request(secret, 200); got != "allowed" {
		t.Errorf("an enabled key is %s", got)
	}
	a.clock.advance(24 * time.Hour)
	a.call("GET", path, "").want(200).says("status", "expired")
	a.call("PATCH", path, `{"expires_at":null}`).want(200).says("status", "active", "expires_at", "")
	revoked := a.call("POST", path+"/revoke", "").want(200).says("status", "revoked", "revoked_at", "2026-11-24T12:00:00Z")
	a.clock.advance(time.Hour)
	if again := a.call("POST", path+"/revoke", "").want(200); again.Body.String() != revoked.Body.String() {
		t.Errorf("revoking again: got %s, want %s", again.Body, revoked.Body)
	}
	a.call("POST", path+"/enable", "").refused(409, "revoked", "")
	a.call("POST", path+"/disable", "").refused(409, "revoked", "")
	if got := a.request(secret, 200); got != "invalid_key" {
		t.Errorf("a revoked key is %s", got)
	}
	a.call("POST", "/v1/keys/key_404/revoke", "").refused(404, "not_found", "")
}

func TestHashesMadeElsewhereAreTaken(t *testing.T) {
	a := newAPI(t)
	secret := "sk_live_" + strings.Repeat("ab", 32)
	sum := sha256.Sum256([]byte(secret))
	w := a.call("POST", "/v1/keys", `{"customer":"a@example.com","hash":"`+hex.EncodeToString(sum[:])+`"}`).want(201)
	w.says("api_key", "", "secret_available", "false", "start", "")
	if got := a.request(secret, 200); got != "allowed" {
		t.Errorf("the imported secret is %s", got)
	}
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","hash":"`+base64.StdEncoding.EncodeToString(sum[:])+`"}`).refused(409, "duplicate", "hash")
	unknown := strings.Repeat("0", 64)
	a.call("POST", "/v1/keys/revoke", `{"hashes":["`+base64.RawURLEncoding.EncodeToString(sum[:])+`","`+unknown+`"]}`).want(200).
		says("not_found", `["`+unknown+`"]`)
	if got := a.request(secret, 200); got != "invalid_key" {
		t.Errorf("after its hash was revoked the secret is %s", got)
	}
	a.call("POST", "/v1/keys/revoke", `{"hashes":[]}`).refused(400, "invalid_field", "hashes")
	a.call("POST", "/v1/keys/revoke", `{"hashes":["`+secret+`"]}`).refused(400, "invalid_field", "hashes[0]")
}

func TestConcurrentMintsStayWithinMaxKeys(t *testing.T) {
	a := newAPI(t)
	var done sync.WaitGroup
	codes := make([]int, 32)
	for i := range codes {
		done.Go(func() { codes[i] = a.call("POST", "/v1/keys", `{"customer":"a@example.com","plan":"tiny"}`).Code })
	}
	done.Wait()
	made := 0
	for _, code := range codes {
		switch code {
		case http.StatusCreated:
			made++
		case http.StatusConflict:
		default:
			t.Errorf("got status %d", code)
		}
	}
	if made != 1 {
		t.Errorf("got %d keys, want 1", made)
	}
	if n := len(a.call("GET", "/v1/customers", "").data()); n != 1 {
		t.Errorf("got %d customers, want 1", n)
	}
	id := a.call("GET", "/v1/keys", "").data()[0]["id"].(string)
	a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`).refused(409, "max_keys", "")
	a.call("POST", "/v1/keys/"+id+"/revoke", "").want(200)
	a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`).want(201)
}

func TestAnExpiredKeyIsNotRevivedPastMaxKeys(t *testing.T) {
	a := newAPI(t)
	old, _, _ := a.mint(`{"customer":"a@example.com","plan":"tiny","expires_at":"2026-11-23T12:30:00Z"}`)
	a.clock.advance(time.Hour)
	a.mint(`{"customer":"a@example.com","plan":"tiny"}`)
	a.call("PATCH", "/v1/keys/"+old, `{"expires_at":null}`).refused(409, "max_keys", "")
	a.call("PATCH", "/v1/keys/"+old, `{"name":"old"}`).want(200)
}

func TestConcurrentPatchesLoseNothing(t *testing.T) {
	a := newAPI(t)
	key, _, _ := a.mint(`{"customer":"a@example.com"}`)
	var done sync.WaitGroup
	for i := range 32 {
		done.Go(func() {
			a.call("PATCH", "/v1/keys/"+key, fmt.Sprintf(`{"metadata":{"m%d":%d}}`, i, i)).want(200)
		})
	}
	done.Wait()
	if n := len(a.call("GET", "/v1/keys/"+key, "").at("metadata").(map[string]any)); n != 32 {
		t.Errorf("got %d members, want 32", n)
	}
}

func TestListsOfKeysArePagedAndFiltered(t *testing.T) {
	a := newAPI(t)
	for i := range 5 {
		a.clock.advance(time.Second)
		a.mint(fmt.Sprintf(`{"customer":"c%d@example.com","name":"Key %d","plan":%q}`, i, i, []string{"free", "pro"}[i%2]))
	}
	var names []string
	for target := "/v1/keys?limit=2"; target != ""; {
		w := a.call("GET", target, "").want(200)
		for _, key := range w.data() {
			names = append(names, key["name"].(string))
		}
		if target = ""; w.at("has_more") == true {
			target = "/v1/keys?limit=2&after=" + w.text("next_cursor")
		}
	}
	if got := strings.Join(names, ","); got != "Key 4,Key 3,Key 2,Key 1,Key 0" {
		t.Errorf("got %s", got)
	}
	a.mint(`{"customer":"c5@example.com"}`) // on the default plan, by no word of its own
	if n := len(a.call("GET", "/v1/customers?plan=free", "").want(200).data()); n != 4 {
		t.Errorf("got %d customers on the default plan, want 4", n)
	}
	for target, want := range map[string]int{"?plan=pro": 2, "?plan=free": 4, "?q=key+3": 1, "?status=revoked": 0, "?customer=c1@example.com&status=active": 1} {
		if n := len(a.call("GET", "/v1/keys"+target, "").want(200).data()); n != want {
			t.Errorf("%s: got %d keys, want %d", target, n, want)
		}
	}
	for target, name := range map[string]string{"?limit=0": "limit", "?limit=501": "limit", "?limit=x": "limit", "?status=dead": "status", "?custmer=x": "custmer", "?q=a&q=b": "q", "?q=%00": "q", "?q=%ff": "q"} {
		a.call("GET", "/v1/keys"+target, "").refused(400, "invalid_parameter", name)
	}
}
