// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestExplainTellsWhereEachLimitComesFrom(t *testing.T) {
	a := newAPI(t)
	key, owner, secret := a.mint(`{"customer":"a@example.com","quota":1}`)
	a.call("PATCH", "/v1/customers/"+owner, `{"overrides":{"rates":[{"count":3,"per":"1m"}]}}`).want(200)
	w := a.call("GET", "/v1/explain?key="+key, "").want(200).says("key", key, "admitted", "true", "plan", "free", "plan_from", "default")
	if got := w.text("limits"); !strings.Contains(got, `"key override"`) || !strings.Contains(got, `"customer override"`) {
		t.Errorf("got limits %s", got)
	}
	a.request(secret, 200)
	a.call("POST", "/v1/explain", `{"secret":"`+secret+`"}`).want(200).says("key", key, "admitted", "false", "code", "quota_exceeded")
	a.call("POST", "/v1/explain", `{"hash":"`+hashOf(secret)+`"}`).want(200).says("key", key)
	a.call("POST", "/v1/explain", `{"secret":"nope"}`).refused(404, "not_found", "")
	a.call("POST", "/v1/explain", `{}`).refused(400, "invalid_field", "secret")
	a.call("GET", "/v1/explain?key=key_404", "").refused(404, "not_found", "")
	a.call("GET", "/v1/explain", "").refused(400, "invalid_parameter", "key")
}

func TestDenialsAreFilteredAndPaged(t *testing.T) {
	a := newAPI(t)
	key, owner, secret := a.mint(`{"customer":"a@example.com","quota":1}`)
	a.request(secret, 200)
	for range 3 {
		a.request(secret, 200)
		a.clock.advance(time.Minute)
	}
	a.request("nope", 200)
	for query, want := range map[string]int{
		"": 4, "?reason=quota_exceeded": 3, "?reason=invalid_key": 1, "?key=" + key: 3, "?customer=" + owner: 3, "?customer=a@example.com": 3,
		"?customer=nobody": 0, "?route=default": 4, "?since=2026-11-23T12:02:00Z": 2, "?limit=2": 2,
	} {
		if n := len(a.call("GET", "/v1/denials"+query, "").want(200).data()); n != want {
			t.Errorf("%s: got %d, want %d", query, n, want)
		}
	}
	seen := map[string]bool{}
	for target := "/v1/denials?limit=3"; target != ""; {
		w := a.call("GET", target, "").want(200)
		for _, denial := range w.data() {
			seen[denial["id"].(string)] = true
		}
		if target = ""; w.at("has_more") == true {
			target = "/v1/denials?limit=3&after=" + w.text("next_cursor")
		}
	}
	if len(seen) != 4 {
		t.Errorf("saw %d over the pages, want 4", len(seen))
	}
	a.call("GET", "/v1/denials?after=x", "").refused(400, "invalid_parameter", "after")
	a.call("GET", "/v1/denials?since=x", "").refused(400, "invalid_parameter", "since")
	a.call("GET", "/v1/denials?q=x", "").refused(400, "invalid_parameter", "q")
}

func TestEveryWriteIsInTheAuditLog(t *testing.T) {
	a := newAPI(t)
	step := func(method, target, body string) *reply {
		a.clock.advance(time.Second)
		return a.call(method, target, body)
	}
	key := step("POST", "/v1/keys", `{"customer":"a@example.com","name":"one"}`).want(201)
	path, owner := "/v1/keys/"+key.text("id"), key.text("customer")
	step("PATCH", path, `{"name":"two"}`).want(200)
	step("PATCH", path, `{"name":"two"}`).want(200) // changes nothing
	step("POST", path+"/rotate", "").want(200)
	step("POST", path+"/disable", `{"reason":"abuse"}`).want(200)
	step("POST", path+"/enable", "").want(200)
	step("POST", path+"/revoke", "").want(200)
	step("PATCH", "/v1/customers/"+owner, `{"name":"A"}`).want(200)
	step("PUT", "/v1/plans/gold", `{}`).want(201)
	step("PUT", "/v1/plans/gold", `{"title":"Gold"}`).want(200)
	step("DELETE", "/v1/plans/gold", "").want(200)
	token := step("POST", "/v1/admin-tokens", `{"name":"x","role":"read"}`).want(201).text("id")
	step("DELETE", "/v1/admin-tokens/"+token, "").want(200)
	step("POST", "/v1/customers", `{"email":"a@example.com"}`).want(409) // changes nothing
	step("DELETE", "/v1/customers/"+owner, "").want(200)

	w := a.call("GET", "/v1/audit?limit=500", "").want(200)
	var actions []string
	for _, e := range w.data() {
		actions = append(actions, e["action"].(string))
		if actor := e["actor"].(map[string]any); actor["id"] != ownerID || e["ip"] != "127.0.0.1" || !strings.HasPrefix(e["request_id"].(string), "req_") {
			t.Errorf("got %v", e)
		}
	}
	want := "customer.erase admin_token.delete admin_token.create plan.delete plan.update plan.create customer.update key.revoke key.enable key.disable key.rotate key.update"
	if got := strings.Join(actions, " "); !strings.HasPrefix(got, want) || len(actions) != 14 {
		t.Errorf("got %s", got)
	}
	data := a.call("GET", "/v1/audit?action=key.disable", "").data()
	if len(data) != 1 || data[0]["reason"] != "" && data[0]["reason"] != nil || fmt.Sprint(data[0]["before"], data[0]["after"]) != "map[status:active] map[status:disabled]" {
		t.Errorf("got %v", data)
	}
	for query, want := range map[string]int{
		"?customer=" + owner: 9, "?target=" + key.text("id"): 6, "?actor=owner": 14, "?actor=nobody": 0, "?from=2026-11-23T12:00:10Z": 5, "?to=2026-11-23T12:00:02Z": 2, "?limit=5": 5,
	} {
		if n := len(a.call("GET", "/v1/audit"+query, "").want(200).data()); n != want {
			t.Errorf("%s: got %d, want %d", query, n, want)
		}
	}
}

func TestABackupIsWholeOrBreaksOff(t *testing.T) {
	broken := errors.New("disk full")
	for _, c := range []struct {
		name   string
		backup func(context.Context, io.Writer) error
		status int
	}{
		{"whole", func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("x", 1<<20))
			return err
		}, 200},
		{"fails at once", func(context.Context, io.Writer) error { return broken }, 503},
		{"fails later", func(_ context.Context, w io.Writer) error {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
			return broken
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI(t, func(o *Options, _ *gateSettings) { o.Backup = c.backup })
			server := httptest.NewServer(a)
			defer server.Close()
			r := must(http.NewRequest("GET", server.URL+"/v1/backup", nil))(t)
			r.Header.Set("Authorization", "Bearer "+ownerToken)
			w := must(server.Client().Do(r))(t)
			defer w.Body.Close()
			body, err := io.ReadAll(w.Body)
			switch c.status {
			case 200:
				if err != nil || len(body) != 1<<20 || w.Header.Get("Content-Disposition") != `attachment; filename="keytoll-20261123-120000.tar"` {
					t.Errorf("got %d bytes, %v, %v", len(body), err, w.Header)
				}
			case 503:
				if w.StatusCode != 503 || strings.Contains(string(body), "disk") || !strings.Contains(a.logged.String(), "disk full") {
					t.Errorf("got %d: %s", w.StatusCode, body)
				}
			default:
				if err == nil {
					t.Errorf("a broken backup of %d bytes looks whole", len(body))
				}
			}
		})
	}
	newAPI(t).call("GET", "/v1/backup", "").refused(404, "not_found", "")
}

func TestHealthSaysWhetherRequestsCanBeDecided(t *testing.T) {
	var ready error
	a := newAPI(t, func(o *Options, _ *gateSettings) { o.Ready = func(context.Context) error { return ready } })
	a.call("GET", "/healthz", "", "Authorization", "").want(200).says("status", "ok")
	a.call("GET", "/readyz", "", "Authorization", "").want(200).says("status", "ready")
	ready = errors.New("the store is closed")
	w := a.call("GET", "/readyz", "", "Authorization", "").refused(503, "unavailable", "")
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "store") {
		t.Errorf("got %v %s", w.Header(), w.Body)
	}
	a.call("GET", "/healthz", "", "Authorization", "").want(200)
	home := a.call("GET", "/", "", "Authorization", "").want(200).Body.String()
	if !strings.Contains(home, "keys create") || strings.Contains(home, "<script") || strings.Contains(home, ownerToken) {
		t.Errorf("got %s", home)
	}
	a.call("GET", "/metrics", "").refused(404, "not_found", "")
}
