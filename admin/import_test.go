// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// imported sends lines and returns the results by line, then the summary.
func (a *api) imported(query string, lines ...string) (results []map[string]any, summary map[string]any) {
	a.t.Helper()
	w := a.call("POST", "/v1/keys/import"+query, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson").want(200)
	all := w.lines()
	return all[:len(all)-1], all[len(all)-1]
}

func TestAnImportTakesOverKeysAndWhatTheyHaveUsed(t *testing.T) {
	a := newAPI(t)
	existing := a.call("POST", "/v1/customers", `{"external_id":"u0","plan":"pro"}`).want(201).text("id")
	sum := sha256.Sum256([]byte("old-1"))
	lines := []string{
		`{"hash":"` + hashOf("old-0") + `","customer":"u0","name":"Zero"}`,
		`{"hash":"` + base64.StdEncoding.EncodeToString(sum[:]) + `","email":"One@example.com","customer_name":"One","plan":"tiny","used":4,"metadata":{"old":1},"created_at":"2024-01-01T00:00:00Z"}`,
		``,
		`{"hash":"` + hashOf("old-2") + `","customer":{"email":"one@example.com"},"used":{"requests":2,"tokens":70},"quota":{"limit":100,"period":"month"},"mode":"test"}`,
		`{"hash":"` + hashOf("old-3") + `","customer":{"external_id":"u3","name":"Three","plan":"pro","metadata":{"x":1}},"scopes":["chat"],"allowed_ips":["192.0.2.0/24"],"status":"disabled","expires_at":"2027-01-01T00:00:00Z"}`,
	}
	_, summary := a.imported("?dry_run=true", lines...)
	if got := fmt.Sprint(summary); got != "map[created:4 customers_created:2 dry_run:true errors:0 lines:5 object:import_summary unchanged:0]" {
		t.Errorf("a dry run: %s", got)
	}
	if n := len(a.call("GET", "/v1/keys", "").data()); n != 0 {
		t.Fatalf("a dry run made %d keys", n)
	}
	results, summary := a.imported("", lines...)
	if got := fmt.Sprint(summary); got != "map[created:4 customers_created:2 dry_run:false errors:0 lines:5 object:import_summary unchanged:0]" {
		t.Errorf("got %s: %v", got, results)
	}
	if got := results[0]["customer"]; got != existing {
		t.Errorf("got customer %v, want %s", got, existing)
	}
	check := func() {
		t.Helper()
		one := results[1]["key"].(string)
		a.call("GET", "/v1/keys/"+one, "").want(200).says("plan", "tiny", "created_at", "2024-01-01T00:00:00Z", "metadata", `{"old":1}`, "start", "", "mode", "live")
		a.call("GET", "/v1/keys/"+one+"/usage", "").want(200).says("quota.used", "4", "quota.remaining", "1")
		a.call("GET", "/v1/keys/"+results[2]["key"].(string)+"/usage", "").want(200).says("quota.used", "2", "quota.limit", "100")
		owner := results[1]["customer"].(string)
		a.call("GET", "/v1/customers/"+owner+"/usage", "").want(200).says("units.requests", "4")
		a.call("GET", "/v1/customers/"+owner+"/usage?mode=test", "").want(200).says("units.requests", "2")
		a.call("GET", "/v1/keys/"+results[3]["key"].(string), "").want(200).says("status", "disabled", "scopes", `["chat"]`, "expires_at", "2027-01-01T00:00:00Z")
	}
	check()
	again, summary := a.imported("", lines...)
	if got := fmt.Sprint(summary); got != "map[created:0 customers_created:0 dry_run:false errors:0 lines:5 object:import_summary unchanged:4]" {
		t.Errorf("again: got %s: %v", got, again)
	}
	for i := range again {
		if again[i]["key"] != results[i]["key"] || again[i]["customer"] != results[i]["customer"] {
			t.Errorf("line %d: got %v, want %v", i, again[i], results[i])
		}
	}
	check()
	if got := a.request("old-1", 200); got != "allowed" {
		t.Errorf("the imported secret is %s", got)
	}
	if got := a.request("old-1", 200); got != "quota_exceeded" {
		t.Errorf("past what it had left: %s", got)
	}
	a.call("PATCH", "/v1/keys/"+results[0]["key"].(string), `{"name":"New"}`).want(200)
	again, _ = a.imported("", lines[0])
	if again[0]["result"] != "unchanged" || !strings.Contains(again[0]["detail"].(string), "another name") {
		t.Errorf("got %v", again[0])
	}
}

func TestAnImportTellsWhatIsWrongLineByLine(t *testing.T) {
	a := newAPI(t)
	a.call("POST", "/v1/keys", `{"customer":"other@example.com","hash":"`+hashOf("taken")+`"}`).want(201)
	good := `{"hash":"` + hashOf("good") + `","email":"a@example.com"}`
	results, summary := a.imported("",
		good,
		`{"email":"a@example.com"}`,
		`{"hash":"abc","email":"a@example.com"}`,
		`{"hash":"`+hashOf("x")+`"}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","titel":"x"}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","email":"b@example.com"}`,
		`not json`,
		`{"hash":"`+hashOf("x")+`","customer":"nobody"}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","plan":"gone"}`,
		`{"hash":"`+hashOf("taken")+`","email":"a@example.com"}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","used":-1}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","used":{"Tok":1}}`,
		`{"hash":"`+hashOf("x")+`","customer":"a@example.com","email":"b@example.com"}`,
		`{"hash":"`+hashOf("x")+`","customer":"u1","external_id":"u2"}`,
		`{"hash":"`+hashOf("beside")+`","customer":"C@example.com","email":"c@example.com","external_id":"u3"}`,
		`{"hash":"`+hashOf("x")+`","name":"`+strings.Repeat("x", maxBody)+`"}`,
		`{"hash":"`+hashOf("x")+`","email":"a@example.com","plan":"pro","scopes":["admin"]}`,
		good,
	)
	var got []string
	for _, r := range results {
		told := r["result"].(string)
		if wrong, is := r["error"].(map[string]any); is {
			told = fmt.Sprint(wrong["code"], " ", wrong["field"])
		}
		got = append(got, told)
	}
	want := []string{
		"created", "invalid_field hash", "invalid_field hash", "invalid_field customer", "invalid_field titel", "invalid_field email", "invalid_body <nil>",
		"not_found customer", "invalid_field plan", "duplicate hash", "invalid_field used", "invalid_field used.Tok", "invalid_field email", "invalid_field customer", "created", "body_too_large <nil>",
		"invalid_field scopes[0]", "unchanged",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if summary["errors"] != 15.0 || summary["customers_created"] != 2.0 {
		t.Errorf("got %v", summary)
	}
	if found := a.call("GET", "/v1/customers?external_id=u3", "").want(200).data(); len(found) != 1 || found[0]["email"] != "c@example.com" {
		t.Errorf("got %v, want the customer with both names", found)
	}
	a.call("POST", "/v1/keys/import?dry_run=maybe", "{}").refused(400, "invalid_parameter", "dry_run")
}

func TestALargeImportIsAnsweredWhileItRuns(t *testing.T) {
	a := newAPI(t)
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.HTTPServer()
	server.Start()
	defer server.Close()
	body, feed := io.Pipe()
	r := must(http.NewRequest("POST", server.URL+"/v1/keys/import", body))(t)
	r.Header.Set("Authorization", "Bearer "+ownerToken)
	r.Header.Set("Content-Type", "application/x-ndjson")
	const chunks = 4
	answers := make(chan *http.Response)
	go func() { answers <- must(server.Client().Do(r))(t) }()
	var results *bufio.Scanner
	for i := range chunks * importChunk {
		fmt.Fprintf(feed, `{"hash":"%s","customer":{"external_id":"u%d"},"used":1}`+"\n", hashOf(fmt.Sprint(i)), i%50)
		if (i+1)%importChunk > 0 {
			continue
		}
		if results == nil { // the first chunk is answered before the second is sent
			w := <-answers
			defer w.Body.Close()
			results = bufio.NewScanner(w.Body)
		}
		for range importChunk {
			if !results.Scan() || !strings.Contains(results.Text(), `"created"`) {
				t.Fatalf("got %s", results.Text())
			}
		}
	}
	feed.Close()
	if !results.Scan() || !strings.Contains(results.Text(), `"created":2000,"unchanged":0,"errors":0,"customers_created":50`) {
		t.Errorf("got %s", results.Text())
	}
	a.call("GET", "/v1/customers?external_id=u7", "").want(200)
	owner := a.call("GET", "/v1/customers?external_id=u7", "").data()[0]["id"].(string)
	a.call("GET", "/v1/customers/"+owner+"/usage", "").want(200).says("units.requests", "40")
	if n := len(a.call("GET", "/v1/audit?action=key.import", "").data()); n != chunks {
		t.Errorf("got %d audit entries, want %d", n, chunks)
	}
}

// crashing stops between the two transactions of an import.
type crashing struct {
	store.Engine
	crash bool
}

func (c *crashing) Write(ctx context.Context, m store.Mutations) (uint64, error) {
	revision, err := c.Engine.Write(ctx, m)
	if c.crash && err == nil {
		err = context.DeadlineExceeded
	}
	return revision, err
}

func TestWhatAnImportLeftUnbookedIsBookedByTheNext(t *testing.T) {
	var engine *crashing
	a := newAPI(t, func(o *Options, _ *gateSettings) {
		engine = &crashing{Engine: o.Store}
		o.Store = engine
	})
	line := `{"hash":"` + hashOf("old") + `","email":"a@example.com","used":7}`
	engine.crash = true
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
				t.Error("the import did not break off")
			}
		}()
		a.imported("", line)
	}()
	engine.crash = false
	key := a.call("GET", "/v1/keys", "").data()[0]["id"].(string)
	a.call("GET", "/v1/keys/"+key+"/usage", "").says("units.requests", "0")
	for range 2 {
		results, _ := a.imported("", line)
		if results[0]["result"] != "unchanged" {
			t.Errorf("got %v", results[0])
		}
		a.call("GET", "/v1/keys/"+key+"/usage", "").says("units.requests", "7")
	}
	if strings.Contains(a.everything(), "unbooked/") {
		t.Error("the mark stays")
	}
}

func TestAnImportThatIsNotAllowedReadsNothing(t *testing.T) {
	a := newAPI(t)
	token := a.call("POST", "/v1/admin-tokens", `{"name":"x","role":"read"}`).text("token")
	a.call("POST", "/v1/keys/import", `{"hash":"`+hashOf("x")+`","email":"a@example.com"}`, "Authorization", "Bearer "+token).refused(403, "insufficient_role", "")
}

func TestTheStreamTellsTotalsAndDenials(t *testing.T) {
	a := newAPI(t)
	key, _, secret := a.mint(`{"customer":"a@example.com","quota":1}`)
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.HTTPServer()
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond // shorter than the stream
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := must(http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/stream", nil))(t)
	r.Header.Set("Authorization", "Bearer "+ownerToken)
	w := must(server.Client().Do(r))(t)
	defer w.Body.Close()
	if got := w.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got %s", got)
	}
	events := bufio.NewReader(w.Body)
	next := func() map[string]any {
		t.Helper()
		line := must(events.ReadString('\n'))(t)
		must(events.ReadString('\n'))(t)
		var event map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &event); err != nil {
			t.Fatal(err)
		}
		if problem := a.schema.differs(event, schemaRef("StreamEvent"), ""); problem != "" {
			t.Error(problem)
		}
		return event
	}
	first := next()
	if first["first_request"] != false || len(first["denials"].([]any)) != 0 {
		t.Errorf("got %v", first)
	}
	a.request(secret, 200)
	a.request(secret, 200)
	second := next()
	totals, denials := second["totals"].(map[string]any), second["denials"].([]any)
	if second["first_request"] != true || totals["requests"] != 1.0 || totals["refused"] != 1.0 || totals["keys"] != 1.0 || len(denials) != 1 {
		t.Fatalf("got %v", second)
	}
	if denial := denials[0].(map[string]any); denial["key"] != key || denial["reason"] != "quota_exceeded" || denial["ip"] != "192.0.2.7" {
		t.Errorf("got %v", denial)
	}
}
