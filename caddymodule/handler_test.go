// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/http"
	"testing"
)

func TestAGoodKeyPassesAndTheUpstreamLearnsWhose(t *testing.T) {
	h := open(t, blueprint{})
	secret, key := h.mint()
	got := h.call("GET", "/x?y=1", "Authorization", "Bearer "+secret.Reveal())
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
}
