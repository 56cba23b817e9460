// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
)

func TestPlaceholdersTellWhoCalled(t *testing.T) {
	h := open(t, blueprint{site: "header +X-Who \"{keytoll.key.id} {keytoll.customer.id} {http.auth.user.id} {keytoll.plan} {keytoll.key.mode}\"\n\trespond /who \"{keytoll.key.id} {http.auth.user.id} {keytoll.plan} {keytoll.route} {keytoll.cost}\""})
	var owner string
	secret, key := h.mint(func(c *customer.Customer, _ *apikey.Key) { owner = c.ID })
	got := h.call("GET", "/who", bearerOf(secret)...)
	if want := key + " " + owner + " free default 1"; got.body != want {
		t.Errorf("got %q, want %q", got.body, want)
	}
}

func TestACallerReadsItsOwnUsageUncounted(t *testing.T) {
	h := open(t, blueprint{site: "keytoll_usage /usage"})
	secret, key := h.mint()
	h.call("GET", "/", bearerOf(secret)...)
	got := h.call("GET", "/usage", bearerOf(secret)...)
	if got.status != http.StatusOK || !strings.Contains(got.body, `"key":"`+key+`"`) || !strings.Contains(got.body, `"requests":1`) {
		t.Errorf("got %d %s, want the usage", got.status, got.body)
	}
	if got := h.call("GET", "/usage"); got.problem(t).Code != "missing_key" {
		t.Errorf("got %s, want missing_key", got.body)
	}
	if got := h.call("POST", "/usage", bearerOf(secret)...); got.status != http.StatusMethodNotAllowed {
		t.Errorf("got %d, want 405", got.status)
	}
	if got := h.used(key).Requests; got != 1 {
		t.Errorf("got %d requests counted, want 1", got)
	}
}

func TestStripeHandlersAnswer404UntilConfigured(t *testing.T) {
	h := open(t, blueprint{site: "keytoll_stripe_webhook /hook\n\tkeytoll_portal /portal/*"})
	for _, path := range []string{"/hook", "/portal/x"} {
		if got := h.call("POST", path); got.status != http.StatusNotFound || got.problem(t).Code != "not_configured" {
			t.Errorf("%s: got %d %s, want 404", path, got.status, got.body)
		}
	}
}
