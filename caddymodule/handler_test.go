// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
)

func bearerOf(secret apikey.Secret) []string {
	return []string{"Authorization", "Bearer " + secret.Reveal()}
}

func TestAGoodKeyPassesAndTheUpstreamLearnsWhose(t *testing.T) {
	h := open(t, blueprint{})
	secret, key := h.mint()
	got := h.call("GET", "/x?y=1", bearerOf(secret)...)
	if got.status != http.StatusOK || got.body != "hello" {
		t.Fatalf("got %d %q, want 200 hello", got.status, got.body)
	}
	r := h.upstream.last(t)
	if r.Header.Get("Keytoll-Key-Id") != key || r.Header.Get("Keytoll-Plan") != "free" || r.Header.Get("Keytoll-Mode") != "live" {
		t.Errorf("got %v, want the key's identity", r.Header)
	}
	if r.Header.Get("Authorization") != "" {
		t.Error("the upstream sees the secret")
	}
	if got := h.used(key).Requests; got != 1 {
		t.Errorf("got %d requests counted, want 1", got)
	}
	if got, want := got.header.Get("RateLimit-Policy"), `"second";q=10;w=1, "quota";q=1000;w=2592000`; got != want {
		t.Errorf("got RateLimit-Policy %s, want %s", got, want)
	}
	if got := got.header.Get("RateLimit"); !strings.HasPrefix(got, `"second";r=9;t=1, "quota";r=999;t=`) {
		t.Errorf("got RateLimit %s, want 9 and 999 left", got)
	}
}

// plans that refusals are tried with.
const refusalPlans = `
	default_plan open
	upgrade_url https://example.com/buy?c={customer}
	plan open {
		scope chat
	}
	plan slow {
		rate 2/hour
	}
	plan small {
		quota 2/month
	}
	plan billed {
		quota 1/month overage bill max 1
	}
	plan narrow {
		routes chat
	}
`

const refusalRoutes = `
	route chat /chat
	route images /images {
		scope images
	}
`

func onPlan(id string) func(*customer.Customer, *apikey.Key) {
	return func(c *customer.Customer, _ *apikey.Key) { c.Plan = id }
}

func TestEveryRefusalHasItsStatusCodeAndBody(t *testing.T) {
	h := open(t, blueprint{globals: refusalPlans, gate: refusalRoutes, before: "servers {\n\t\ttrusted_proxies_unix\n\t}"})
	good, _ := h.mint()
	change := func(f func(*customer.Customer, *apikey.Key)) apikey.Secret { s, _ := h.mint(f); return s }
	corrupt := good.Reveal()[:len(good)-1] + "!"
	last := good.Reveal()[len(good)-1]
	wrongSum := good.Reveal()[:len(good)-1] + string(map[bool]byte{true: 'a', false: 'b'}[last != 'a'])
	cases := []struct {
		claim        string
		method, path string
		fields       []string
		before       int // calls that pass first
		status       int
		code         string
		detail       string
		header       map[string]string
	}{
		{"no key", "GET", "/", nil, 0, 401, "missing_key", "No API key was sent. Put it in the header: Authorization: Bearer YOUR_KEY.", map[string]string{"Www-Authenticate": `Bearer realm="keytoll"`}},
		{"an empty key is missing", "GET", "/", []string{"X-API-Key", ""}, 0, 401, "missing_key", "", nil},
		{"a key in the URL is missing", "GET", "/?api_key=" + good.Reveal(), nil, 0, 401, "missing_key", "Keys in the URL end up in logs; send the header.", nil},
		{"another scheme is missing", "GET", "/", []string{"Authorization", "Basic dTpw"}, 0, 401, "missing_key", "", nil},
		{"unknown", "GET", "/", []string{"X-API-Key", "nobody"}, 0, 403, "invalid_key", "", nil},
		{"malformed", "GET", "/", []string{"X-API-Key", corrupt}, 0, 403, "invalid_key", "", nil},
		{"wrong checksum", "GET", "/", []string{"X-API-Key", wrongSum}, 0, 403, "invalid_key", "", nil},
		{"5000 bytes", "GET", "/", []string{"X-API-Key", strings.Repeat("x", 5000)}, 0, 403, "invalid_key", "", nil},
		{"revoked", "GET", "/", bearerOf(change(func(_ *customer.Customer, k *apikey.Key) { k.State = apikey.Revoked; k.RevokedAt = time.Now() })), 0, 403, "invalid_key", "This API key is not valid.", nil},
		{"disabled", "GET", "/", bearerOf(change(func(_ *customer.Customer, k *apikey.Key) { k.State = apikey.Disabled })), 0, 403, "invalid_key", "This API key is not valid.", nil},
		{"expired", "GET", "/", bearerOf(change(func(_ *customer.Customer, k *apikey.Key) { k.ExpiresAt = time.Now().Add(-time.Hour) })), 0, 403, "expired_key", "", nil},
		{"repeated", "GET", "/", []string{"X-API-Key", good.Reveal(), "X-API-Key", good.Reveal()}, 0, 400, "ambiguous_key", "", nil},
		{"two different keys", "GET", "/", append(bearerOf(good), "X-API-Key", change(onPlan("")).Reveal()), 0, 400, "ambiguous_key", "", nil},
		{"scope", "GET", "/images", bearerOf(change(func(_ *customer.Customer, k *apikey.Key) { k.Scopes = []string{"chat"} })), 0, 403, "insufficient_scope", "This API key lacks the scope images.", nil},
		{"route", "GET", "/other", bearerOf(change(onPlan("narrow"))), 0, 403, "route_not_in_plan", "", nil},
		{"address", "GET", "/", append(bearerOf(change(func(_ *customer.Customer, k *apikey.Key) {
			k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		})), "X-Forwarded-For", "192.0.2.1"), 0, 403, "ip_not_allowed", "", nil},
		{"unpaid", "GET", "/", bearerOf(change(func(c *customer.Customer, _ *apikey.Key) {
			c.Subscription = &customer.Subscription{ID: "sub_1", Status: customer.Unpaid}
		})), 0, 402, "payment_required", "", nil},
		{"rate", "GET", "/", bearerOf(change(onPlan("slow"))), 2, 429, "rate_limited", "The limit is 2 requests an hour. Try again in 1800 s.", map[string]string{"Retry-After": "1800"}},
		{"quota", "GET", "/", bearerOf(change(onPlan("small"))), 2, 429, "quota_exceeded", "You have used all 2 requests of this period.", map[string]string{"X-Should-Retry": "false"}},
		{"overage", "GET", "/", bearerOf(change(onPlan("billed"))), 2, 429, "overage_limit_exceeded", "", map[string]string{"X-Should-Retry": "false"}},
		{"ambiguous path", "GET", "/%69mages/..%2fchat", bearerOf(good), 0, 400, "ambiguous_path", "", nil},
		{"TRACE", "TRACE", "/", bearerOf(good), 0, 405, "method_not_allowed", "", map[string]string{"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}},
		{"h2c", "GET", "/", append(bearerOf(good), "Connection", "Upgrade", "Upgrade", "foo, h2c"), 0, 400, "upgrade_refused", "", nil},
	}
	for _, c := range cases {
		t.Run(c.claim, func(t *testing.T) {
			for range c.before {
				if got := h.call(c.method, c.path, c.fields...); got.status != http.StatusOK {
					t.Fatalf("got %d %s before, want 200", got.status, got.body)
				}
			}
			asked := h.upstream.count()
			got := h.call(c.method, c.path, c.fields...)
			if got.status != c.status {
				t.Fatalf("got %d %s, want %d", got.status, got.body, c.status)
			}
			if h.upstream.count() != asked {
				t.Error("the upstream was asked")
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("got content type %s", kind)
			}
			p := got.problem(t)
			if string(p.Code) != c.code || p.Status != c.status || p.Title == "" || !strings.HasPrefix(p.RequestID, "req_") {
				t.Errorf("got %+v, want code %s", p, c.code)
			}
			if !strings.HasPrefix(p.Detail, c.detail) || p.Detail == "" {
				t.Errorf("got detail %q, want %q", p.Detail, c.detail)
			}
			if p.Error.Message != p.Detail || p.Error.Code != p.Code || p.Error.Type == "" {
				t.Errorf("got error object %+v", p.Error)
			}
			for name, want := range c.header {
				if got := got.header.Get(name); got != want {
					t.Errorf("got %s: %q, want %q", name, got, want)
				}
			}
			if strings.Contains(got.body, good.Reveal()) {
				t.Error("the body holds the secret")
			}
			limited := c.status == 429
			if has := got.header.Get("RateLimit") != ""; has != limited {
				t.Errorf("got RateLimit %q", got.header.Get("RateLimit"))
			}
			if !limited {
				return
			}
			if p.Type != limitType || p.Limit == nil || p.Used == nil || p.Reset == nil || len(p.Violated) != 1 {
				t.Errorf("got %s, want the members of a limit", got.body)
			}
			if after := got.header.Get("Retry-After"); after == "" || after == "0" {
				t.Errorf("got Retry-After %q, want at least 1", after)
			}
		})
	}
}

func TestARefusedRequestConsumesNothing(t *testing.T) {
	h := open(t, blueprint{globals: refusalPlans})
	secret, key := h.mint(onPlan("small"))
	for range 5 {
		h.call("GET", "/", bearerOf(secret)...)
	}
	if got := h.used(key); got.Requests != 2 || got.Refused != 3 {
		t.Errorf("got %d requests and %d refused, want 2 and 3", got.Requests, got.Refused)
	}
}

func TestHEADIsRefusedWithoutABody(t *testing.T) {
	h := open(t, blueprint{})
	got := h.call("HEAD", "/")
	if got.status != http.StatusUnauthorized || got.body != "" {
		t.Errorf("got %d %q, want 401 and no body", got.status, got.body)
	}
}

func TestAnInvalidKeyCanBe401(t *testing.T) {
	h := open(t, blueprint{gate: "invalid_key_status 401"})
	got := h.call("GET", "/", "X-API-Key", "nobody")
	if got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("Www-Authenticate"), "invalid_token") {
		t.Errorf("got %d %v, want 401 with a challenge", got.status, got.header)
	}
}

func TestUnknownRoutesCanBeRefused(t *testing.T) {
	h := open(t, blueprint{gate: "route chat /chat\n\t\troutes only"})
	secret, _ := h.mint()
	if got := h.call("GET", "/other", bearerOf(secret)...); got.status != http.StatusNotFound || got.problem(t).Code != "unknown_route" {
		t.Errorf("got %d %s, want 404 unknown_route", got.status, got.body)
	}
	if got := h.call("GET", "/chat", bearerOf(secret)...); got.status != http.StatusOK {
		t.Errorf("got %d, want 200", got.status)
	}
}

func TestAForeignAuthorizationPassesBesideAnAPIKey(t *testing.T) {
	h := open(t, blueprint{})
	secret, _ := h.mint()
	for _, foreign := range []string{"Bearer theirs", "Basic dTpw", "AWS4-HMAC-SHA256 Credential=x"} {
		if got := h.call("GET", "/", "X-API-Key", secret.Reveal(), "Authorization", foreign); got.status != http.StatusOK {
			t.Fatalf("got %d %s, want 200", got.status, got.body)
		}
		r := h.upstream.last(t)
		if r.Header.Get("Authorization") != foreign || r.Header.Get("X-API-Key") != "" {
			t.Errorf("got %v, want %q and no key", r.Header, foreign)
		}
	}
}

func TestTheSameKeyInBothHeadersIsRemovedFromBoth(t *testing.T) {
	h := open(t, blueprint{})
	secret, _ := h.mint()
	got := h.call("GET", "/", append(bearerOf(secret), "X-API-Key", secret.Reveal())...)
	r := h.upstream.last(t)
	if got.status != http.StatusOK || r.Header.Get("Authorization") != "" || r.Header.Get("X-API-Key") != "" {
		t.Errorf("got %d and %v at the upstream, want 200 and no key", got.status, r.Header)
	}
}

func TestAKeyInTheQueryIsTakenOnlyWhereItIsConfigured(t *testing.T) {
	h := open(t, blueprint{gate: "key_from query api_key"})
	secret, _ := h.mint()
	if got := h.call("GET", "/p?a=1&api%5Fkey="+secret.Reveal()+"&b=%20x"); got.status != http.StatusOK {
		t.Fatalf("got %d %s, want 200", got.status, got.body)
	}
	if got := h.upstream.last(t).URL.RequestURI(); got != "/p?a=1&b=%20x" {
		t.Errorf("got %s at the upstream, want the rest of the query as it was", got)
	}
	if got := h.call("GET", "/p?api_key=a&api_key=b"); got.problem(t).Code != "ambiguous_key" {
		t.Errorf("got %s, want ambiguous_key", got.body)
	}
	if got := h.call("GET", "/", bearerOf(secret)...); got.problem(t).Code != "missing_key" {
		t.Errorf("got %s, want missing_key: the header is not configured", got.body)
	}
}

func TestPublicRoutesNeedNoKeyAndStillHideWhatIsOurs(t *testing.T) {
	h := open(t, blueprint{gate: "route health /health {\n\t\t\tpublic\n\t\t}"})
	secret, key := h.mint()
	got := h.call("GET", "/health", append(bearerOf(secret), "Keytoll-Plan", "root")...)
	if got.status != http.StatusOK {
		t.Fatalf("got %d, want 200", got.status)
	}
	r := h.upstream.last(t)
	if r.Header.Get("Keytoll-Plan") != "" || r.Header.Get("Authorization") != "" {
		t.Errorf("got %v at the upstream, want neither identity nor secret", r.Header)
	}
	if got := h.used(key).Requests; got != 0 {
		t.Errorf("got %d requests counted, want 0", got)
	}
}

func TestShadowModeLetsEverythingPassAndRecords(t *testing.T) {
	h := open(t, blueprint{globals: refusalPlans, gate: "enforce off"})
	secret, key := h.mint(onPlan("small"))
	for i := range 4 {
		if got := h.call("GET", "/", bearerOf(secret)...); got.status != http.StatusOK {
			t.Fatalf("got %d in call %d, want 200", got.status, i)
		}
	}
	if got := h.used(key).Requests; got != 4 {
		t.Errorf("got %d requests counted, want 4", got)
	}
	if got := h.call("GET", "/", "Authorization", "Bearer theirs"); got.status != http.StatusOK {
		t.Fatalf("got %d without a key, want 200", got.status)
	}
	r := h.upstream.last(t)
	if r.Header.Get("Authorization") != "Bearer theirs" || r.Header.Get("Keytoll-Key-Id") != "" {
		t.Errorf("got %v, want the foreign credential and no identity", r.Header)
	}
}

func TestWhatTheUpstreamFailsIsRefunded(t *testing.T) {
	h := open(t, blueprint{})
	secret, key := h.mint()
	for _, status := range []int{500, 503, 429, 408} {
		h.upstream.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if got := h.call("GET", "/", bearerOf(secret)...); got.status != status {
			t.Fatalf("got %d, want %d", got.status, status)
		}
	}
	h.upstream.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	got := h.call("GET", "/", bearerOf(secret)...)
	if used := h.used(key).Requests; used != 1 {
		t.Errorf("got %d requests counted, want the 404 alone", used)
	}
	if left := got.header.Get("RateLimit"); !strings.Contains(left, `"quota";r=999`) {
		t.Errorf("got RateLimit %s, want 999 left of the quota", left)
	}
}

func TestAnUnreachableUpstreamIsRefundedAndItsErrorGoesOn(t *testing.T) {
	h := open(t, blueprint{site: "handle_errors {\n\t\trespond \"broken: {err.status_code} {keytoll.outcome}\"\n\t}"})
	secret, key := h.mint()
	h.load(blueprint{site: "handle_errors {\n\t\trespond \"broken: {err.status_code} {keytoll.outcome}\"\n\t}\n\treverse_proxy /gone unix/{dir}/nobody.sock"})
	got := h.call("GET", "/gone", bearerOf(secret)...)
	if got.status != http.StatusBadGateway || got.body != "broken: 502 upstream_error" {
		t.Errorf("got %d %q, want the error route's 502", got.status, got.body)
	}
	if used := h.used(key).Requests; used != 0 {
		t.Errorf("got %d requests counted, want 0", used)
	}
	if got.header.Get("RateLimit") == "" {
		t.Error("got no RateLimit on an admitted request")
	}
}

func TestRefusalsCanGoToErrorRoutes(t *testing.T) {
	h := open(t, blueprint{
		gate: "errors handle_errors",
		site: "handle_errors {\n\t\trespond \"{err.status_code} {keytoll.outcome} {keytoll.detail}\" {err.status_code}\n\t}",
	})
	got := h.call("GET", "/")
	if want := "401 missing_key No API key was sent. Put it in the header: Authorization: Bearer YOUR_KEY."; got.status != 401 || got.body != want {
		t.Errorf("got %d %q, want %q", got.status, got.body, want)
	}
	if got.header.Get("Www-Authenticate") == "" {
		t.Error("got no challenge")
	}
}
