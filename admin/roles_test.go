// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// mayCall is who may make each call beside the owner, as DESIGN tells the roles:
// p provision, s support, m meter, r read; * needs no token.
var mayCall = map[string]string{
	"POST /v1/customers":                  "p",
	"GET /v1/customers":                   "psr",
	"GET /v1/customers/{id}":              "psr",
	"PATCH /v1/customers/{id}":            "p",
	"DELETE /v1/customers/{id}":           "p",
	"GET /v1/customers/{id}/export":       "p",
	"GET /v1/customers/{id}/usage":        "psmr",
	"POST /v1/customers/{id}/adjustments": "",
	"GET /v1/customers/{id}/adjustments":  "sr",
	"GET /v1/customers/{id}/statement":    "sr",

	"POST /v1/keys":              "p",
	"GET /v1/keys":               "psr",
	"GET /v1/keys/{id}":          "psr",
	"PATCH /v1/keys/{id}":        "p",
	"POST /v1/keys/{id}/rotate":  "p",
	"POST /v1/keys/{id}/disable": "ps",
	"POST /v1/keys/{id}/enable":  "ps",
	"POST /v1/keys/{id}/revoke":  "ps",
	"POST /v1/keys/revoke":       "ps",
	"POST /v1/keys/import":       "p",
	"GET /v1/keys/{id}/usage":    "psmr",

	"GET /v1/usage":         "smr",
	"GET /v1/plans":         "sr",
	"GET /v1/plans/{id}":    "sr",
	"PUT /v1/plans/{id}":    "",
	"DELETE /v1/plans/{id}": "",

	"GET /v1/explain":              "sr",
	"POST /v1/explain":             "s",
	"GET /v1/denials":              "sr",
	"GET /v1/stream":               "sr",
	"GET /v1/audit":                "sr",
	"GET /v1/backup":               "",
	"POST /v1/admin-tokens":        "",
	"GET /v1/admin-tokens":         "sr",
	"DELETE /v1/admin-tokens/{id}": "",

	"GET /openapi.json": "psmr",
	"GET /metrics":      "sr",
	"GET /healthz":      "*",
	"GET /readyz":       "*",
	"GET /{$}":          "*",
}

func TestEachRoleMayCallWhatItIsFor(t *testing.T) {
	a := newAPI(t, func(o *Options, _ *gateSettings) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/plain") })
		o.Backup = func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "tar"); return err }
	})
	tokens := map[Role]string{RoleOwner: ownerToken}
	for _, role := range []Role{RoleProvision, RoleSupport, RoleMeter, RoleRead} {
		tokens[role] = a.call("POST", "/v1/admin-tokens", `{"name":"t","role":"`+string(role)+`"}`).want(201).text("token")
	}
	letters := map[Role]string{RoleProvision: "p", RoleSupport: "s", RoleMeter: "m", RoleRead: "r"}
	for _, r := range a.routes() {
		who, told := mayCall[r.pattern]
		if !told {
			t.Errorf("%s is not in the table", r.pattern)
			continue
		}
		method, path, _ := strings.Cut(strings.TrimSuffix(r.pattern, "{$}"), " ")
		path = strings.ReplaceAll(path, "{id}", "x_1")
		for role, token := range tokens {
			ctx, cancel := context.WithCancel(context.Background())
			may := role == RoleOwner || who == "*" || strings.Contains(who, letters[role])
			if may && path == "/v1/stream" {
				cancel() // it would not end
			}
			request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			request.Header.Set("Content-Type", "application/json")
			w := a.do(request)
			cancel()
			denied := w.Code == 403 && w.json["code"] == "insufficient_role"
			if may == denied {
				t.Errorf("%s as %s: got %d", r.pattern, role, w.Code)
			}
		}
	}
	for pattern := range mayCall {
		if operations[pattern].summary == "" {
			t.Errorf("%s is in the table and not there", pattern)
		}
	}
}

func TestAdminTokensEnd(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/admin-tokens", `{"name":"night","role":"read","expires_at":"2026-11-24T00:00:00Z"}`).want(201)
	w.says("status", "active", "source", "store", "expires_at", "2026-11-24T00:00:00Z")
	auth := "Bearer " + w.text("token")
	a.call("GET", "/v1/keys", "", "Authorization", auth).want(200)
	a.clock.advance(12 * time.Hour)
	a.call("GET", "/v1/keys", "", "Authorization", auth).refused(401, "unauthorized", "")
	list := a.call("GET", "/v1/admin-tokens", "").want(200).data()
	if len(list) != 2 || list[0]["status"] != "expired" || list[1]["id"] != ownerID {
		t.Errorf("got %v", list)
	}
	for body, field := range map[string]string{
		`{"role":"read"}`: "name", `{"name":"x"}`: "role", `{"name":"x","role":"root"}`: "role",
		`{"name":"x","role":"read","expires_at":"2026-11-23T00:00:00Z"}`: "expires_at", `{"name":"x","role":"read","token":"y"}`: "token",
	} {
		a.call("POST", "/v1/admin-tokens", body).refused(400, "invalid_field", field)
	}
}

func TestNobodyLocksThemselvesOut(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/admin-tokens", `{"name":"second","role":"owner"}`).want(201)
	auth, path := "Bearer "+w.text("token"), "/v1/admin-tokens/"+w.text("id")
	a.call("DELETE", path, "", "Authorization", auth).refused(409, "own_token", "")
	a.call("DELETE", "/v1/admin-tokens/"+ownerID, "", "Authorization", auth).refused(409, "owner_token", "")
	a.call("DELETE", "/v1/admin-tokens/"+ownerID, "").refused(409, "owner_token", "")
	a.call("DELETE", path, "").want(200).says("id", w.text("id"), "deleted", "true")
	a.call("GET", "/v1/keys", "", "Authorization", auth).want(401)
	a.call("DELETE", path, "").refused(404, "not_found", "")
}

func TestAServerIsNotMadeWithoutAToken(t *testing.T) {
	a := newAPI(t)
	o := a.o
	if _, err := New(o); err == nil || err != ErrNoToken { //nolint:errorlint // it is returned bare
		t.Errorf("got %v, want %v", err, ErrNoToken)
	}
	o.OwnerToken, o.KeyPrefix = "x", "no prefix"
	if _, err := New(o); err == nil || strings.Contains(err.Error(), "\"x\"") {
		t.Errorf("got %v", err)
	}
	o.KeyPrefix = ""
	must(New(o))(t)
	if !strings.Contains(a.logged.String(), "token is short") {
		t.Error("a short token is not warned about")
	}
}
