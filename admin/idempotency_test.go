// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

func TestARepeatedCallGetsTheSameAnswerWithoutTheSecret(t *testing.T) {
	a := newAPI(t)
	first := a.call("POST", "/v1/keys", `{"customer":"a@example.com","name":"x"}`, "Idempotency-Key", "one").want(201)
	secret := first.text("api_key")
	a.clock.advance(23 * time.Hour)
	again := a.call("POST", "/v1/keys", ` {"name":"x", "customer":"a@example.com"} `, "Idempotency-Key", "one").want(201)
	again.says("id", first.text("id"), "created_at", first.text("created_at"), "api_key", "", "secret_available", "false", "start", first.text("start"))
	if got := again.Header().Get("Idempotent-Replayed"); got != "true" {
		t.Errorf("got Idempotent-Replayed %q", got)
	}
	a.call("POST", "/v1/keys", `{"customer":"a@example.com","name":"y"}`, "Idempotency-Key", "one").refused(422, "idempotency_mismatch", "Idempotency-Key")
	a.call("POST", "/v1/customers", `{"name":"x"}`, "Idempotency-Key", "one").refused(422, "idempotency_mismatch", "Idempotency-Key")
	if strings.Contains(a.everything(), secret) {
		t.Error("the secret was kept")
	}
	rotate := "/v1/keys/" + first.text("id") + "/rotate"
	second := a.call("POST", rotate, "", "Idempotency-Key", "two").want(200).text("api_key")
	a.call("POST", rotate, "{}", "Idempotency-Key", "two").want(200).says("api_key", "", "secret_available", "false")
	if a.request(second, 200) != "allowed" {
		t.Error("the call was made twice")
	}
	a.clock.advance(time.Hour)
	if later := a.call("POST", "/v1/keys", `{"customer":"a@example.com","name":"y"}`, "Idempotency-Key", "one").want(201); later.text("id") == first.text("id") {
		t.Error("the answer was repeated after 24 h")
	}
	for _, key := range []string{strings.Repeat("a", 256), "a\x01"} {
		a.call("POST", "/v1/customers", `{}`, "Idempotency-Key", key).refused(400, "invalid_parameter", "Idempotency-Key")
	}
}

func TestAFailedCallIsNotRepeated(t *testing.T) {
	a := newAPI(t)
	a.call("POST", "/v1/keys", `{"customer":"u1"}`, "Idempotency-Key", "one").refused(404, "not_found", "customer")
	a.call("POST", "/v1/customers", `{"external_id":"u1"}`).want(201)
	a.call("POST", "/v1/keys", `{"customer":"u1"}`, "Idempotency-Key", "one").want(201)
}

func TestIdempotencyKeysOfTwoTokensAreTwo(t *testing.T) {
	a := newAPI(t)
	token := a.call("POST", "/v1/admin-tokens", `{"name":"app","role":"provision"}`).want(201).text("token")
	first := a.call("POST", "/v1/customers", `{}`, "Idempotency-Key", "one").want(201).text("id")
	if second := a.call("POST", "/v1/customers", `{}`, "Idempotency-Key", "one", "Authorization", "Bearer "+token).want(201).text("id"); first == second {
		t.Error("one token was given the other's answer")
	}
}

func TestConcurrentCallsWithOneIdempotencyKeyAreMadeOnce(t *testing.T) {
	a := newAPI(t)
	var done sync.WaitGroup
	replies := make([]*reply, 16)
	for i := range replies {
		done.Go(func() {
			replies[i] = a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`, "Idempotency-Key", "one")
		})
	}
	done.Wait()
	secrets, ids := 0, map[string]bool{}
	for _, w := range replies {
		switch w.Code {
		case 201:
			ids[w.text("id")] = true
			if w.text("api_key") != "" {
				secrets++
			}
		case 409:
			w.refused(409, "idempotency_in_progress", "")
		default:
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
	}
	if secrets != 1 || len(ids) != 1 {
		t.Errorf("got %d secrets of %d keys, want one of one", secrets, len(ids))
	}
}

func TestTheAnswerOfAnotherNodeIsRepeated(t *testing.T) {
	a := newAPI(t)
	other := must(New(func() Options { o := a.o; o.OwnerToken = ownerToken; return o }()))(t)
	first := a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`, "Idempotency-Key", "one").want(201)
	b := &api{Server: other, t: t, clock: a.clock, schema: a.schema, logged: a.logged}
	b.call("POST", "/v1/keys", `{"customer":"a@example.com"}`, "Idempotency-Key", "one").want(201).says("id", first.text("id"), "api_key", "")
}

// losing loses the replies of writes that were made, or refuses to commit.
type losing struct {
	store.Engine
	lose   int
	refuse bool
}

var errLost = errors.New("the reply was lost")

func (l *losing) Write(ctx context.Context, m store.Mutations) (uint64, error) {
	revision, err := l.Engine.Write(ctx, m)
	if l.lose > 0 && err == nil {
		l.lose--
		return 0, errLost
	}
	return revision, err
}

func (l *losing) Commit(ctx context.Context, b store.Batch) error {
	if l.refuse {
		return errLost
	}
	return l.Engine.Commit(ctx, b)
}

func TestACallWhoseReplyWasLostIsNotMadeTwice(t *testing.T) {
	var engine *losing
	a := newAPI(t, func(o *Options, _ *gateSettings) {
		engine = &losing{Engine: o.Store}
		o.Store = engine
	})
	engine.lose = 1
	a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`, "Idempotency-Key", "one").refused(503, "unavailable", "")
	if !strings.Contains(a.logged.String(), errLost.Error()) {
		t.Error("the fault was not logged")
	}
	a.call("POST", "/v1/keys", `{"customer":"a@example.com"}`, "Idempotency-Key", "one").want(201).says("api_key", "")
	if n := len(a.call("GET", "/v1/keys", "").data()); n != 1 {
		t.Errorf("got %d keys, want 1", n)
	}
}

func TestOldAnswersAreForgotten(t *testing.T) {
	a := newAPI(t)
	ctx := context.Background()
	a.call("POST", "/v1/customers", `{}`, "Idempotency-Key", "one").want(201)
	retain := func() int {
		p := must(store.Retain(ctx, a.o.Store, store.Cutoffs{Books: map[store.Book]func(key, value []byte) bool{
			store.Idempotency: OldAnswers(a.clock.now()), store.Audit: OldEntries(a.clock.now().Add(-time.Hour)),
		}}))(t)
		return p.Books[store.Idempotency] + p.Books[store.Audit]
	}
	if n := retain(); n != 0 {
		t.Errorf("%d records were forgotten too early", n)
	}
	a.clock.advance(24 * time.Hour)
	if n := retain(); n != 2 {
		t.Errorf("%d records were forgotten, want 2", n)
	}
}

func TestNoSecretIsFoundAnywhereAfterAll(t *testing.T) {
	a := newAPI(t)
	key, _, first := a.mint(`{"customer":"a@example.com"}`)
	second := a.call("POST", "/v1/keys/"+key+"/rotate", "", "Idempotency-Key", "r").text("api_key")
	w := a.call("POST", "/v1/admin-tokens", `{"name":"app","role":"read"}`, "Idempotency-Key", "t").want(201)
	token := w.text("token")
	a.call("POST", "/v1/admin-tokens", `{"name":"app","role":"read"}`, "Idempotency-Key", "t").want(201).says("token", "", "secret_available", "false", "id", w.text("id"))
	a.call("POST", "/v1/explain", `{"secret":"`+second+`"}`).want(200)
	a.call("POST", "/v1/explain", `{"secret":"`+second+`","x":1}`).refused(400, "invalid_field", "x")
	a.call("POST", "/v1/keys", `{"customer":"`+second+`"}`).want(404)
	var kept strings.Builder
	kept.WriteString(a.everything() + a.logged.String())
	for _, target := range []string{"/v1/audit", "/v1/keys", "/v1/keys/" + key, "/v1/denials", "/v1/admin-tokens"} {
		kept.WriteString(a.call("GET", target, "").want(200).Body.String())
	}
	for _, secret := range []string{first, second, token, ownerToken, apikey.Secret(second).Hash().String()} {
		if strings.Contains(kept.String(), secret) {
			t.Errorf("found %s", secret)
		}
	}
}
