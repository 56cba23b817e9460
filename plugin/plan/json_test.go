// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLimitsHaveTheDocumentedJSON(t *testing.T) {
	most, all := int64(5000), int64(MaxCount)
	for _, c := range []struct {
		value any
		want  string
	}{
		{Rate{Requests, 10, time.Second, 20, PerKey}, `{"unit":"requests","count":10,"per":"1s","burst":20,"scope":"key"}`},
		{Rate{"tokens", 10, time.Minute, 10, PerCustomer}, `{"unit":"tokens","count":10,"per":"1m","burst":10,"scope":"customer"}`},
		{Rate{Requests, 10, 250 * time.Millisecond, 10, PerKey}, `{"unit":"requests","count":10,"per":"250ms","burst":10,"scope":"key"}`},
		{Rate{Requests, Unlimited, time.Second, 0, PerKey}, `{"unit":"requests","count":"unlimited","per":"1s","burst":null,"scope":"key"}`},
		{Quota{Requests, 1000, Month, PerKey, Block, nil}, `{"unit":"requests","limit":1000,"period":"month","scope":"key","overage":"block","max":null}`},
		{Quota{Requests, 1000, Day, PerCustomer, Bill, &most}, `{"unit":"requests","limit":1000,"period":"day","scope":"customer","overage":"bill","max":5000}`},
		{Quota{Requests, 1000, Day, "", Bill, &all}, `{"unit":"requests","limit":1000,"period":"day","overage":"bill","max":"unlimited"}`},
		{Quota{"tokens", Unlimited, Month, PerKey, Block, nil}, `{"unit":"tokens","limit":"unlimited","period":"month","scope":"key","overage":"block","max":null}`},
		{Concurrency{50, PerKey}, `{"limit":50,"scope":"key"}`},
		{Concurrency{0, PerKey}, `{"limit":"unlimited","scope":"key"}`},
	} {
		got, err := json.Marshal(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("%v: got %s, %v; want %s", c.value, got, err, c.want)
			continue
		}
		again := reflect.New(reflect.TypeOf(c.value))
		if err := json.Unmarshal(got, again.Interface()); err != nil || !reflect.DeepEqual(again.Elem().Interface(), c.value) {
			t.Errorf("%s reads back as %+v, %v; want %+v", got, again.Elem(), err, c.value)
		}
	}
}

func TestWhatJSONLeavesOutIsFilledIn(t *testing.T) {
	var r Rate
	if err := json.Unmarshal([]byte(`{"count":10,"per":"minute"}`), &r); err != nil || r != (Rate{Requests, 10, time.Minute, 10, PerKey}) {
		t.Errorf("a rate: got %+v, %v", r, err)
	}
	var q Quota
	if err := json.Unmarshal([]byte(`{"limit":10,"period":"day","max":null}`), &q); err != nil || q != (Quota{Requests, 10, Day, "", "", nil}) {
		t.Errorf("a quota: got %+v, %v", q, err)
	}
	if err := json.Unmarshal([]byte(`250000`), &q); err != nil || q != (Quota{Requests, 250_000, Month, "", "", nil}) {
		t.Errorf("a bare quota: got %+v, %v", q, err)
	}
	var c Concurrency
	if err := json.Unmarshal([]byte(`7`), &c); err != nil || c != (Concurrency{7, PerKey}) {
		t.Errorf("a bare concurrency: got %+v, %v", c, err)
	}
}

func TestOverridesReadBackAsWritten(t *testing.T) {
	o := Overrides{
		Rates:       &[]Rate{{Requests, 10, time.Second, 20, PerKey}},
		Quota:       &Quota{Requests, 5, Month, "", Block, nil},
		Concurrency: &Concurrency{0, PerKey},
		Until:       time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		Reason:      "trial",
	}
	for _, o := range []Overrides{o, {}, {Rates: &[]Rate{}}} {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var again Overrides
		if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%s reads back as %+v, %v", text, again, err)
		}
	}
}

func TestWrongJSONNamesItsField(t *testing.T) {
	for text, want := range map[string]string{
		`{"rates":[{"count":10,"per":"1s"},{"count":1.5,"per":"1s"}]}`: "rates[1].count",
		`{"rates":[{"count":-1,"per":"1s"}]}`:                          "rates[0].count",
		`{"rates":[{"count":"10","per":"1s"}]}`:                        "rates[0].count",
		`{"rates":[{"count":99999999999999999999,"per":"1s"}]}`:        "rates[0].count",
		`{"rates":[{"count":10,"per":1}]}`:                             "rates[0].per",
		`{"rates":[{"count":10,"per":"month"}]}`:                       "rates[0].per",
		`{"rates":[{"count":10,"per":"1s","burst":"x"}]}`:              "rates[0].burst",
		`{"rates":[{"count":10,"per":"1s","bursts":1}]}`:               "rates[0].bursts",
		`{"rates":[7]}`:                    "rates[0]",
		`{"rates":7}`:                      "rates",
		`{"quota":{"limit":true}}`:         "quota.limit",
		`{"quota":{"limit":1,"period":7}}`: "quota.period",
		`{"quota":[]}`:                     "quota",
		`{"quota":"many"}`:                 "quota",
		`{"quota":1.5}`:                    "quota",
		`{"concurrency":{"max":1}}`:        "concurrency.max",
		`{"until":"tomorrow"}`:             "until",
		`{"reason":1}`:                     "reason",
		`{"note":1}`:                       "note",
		`[]`:                               "",
	} {
		var o Overrides
		err := json.Unmarshal([]byte(text), &o)
		var wrong *FieldError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want a FieldError", text, err)
		} else if wrong.Field != want {
			t.Errorf("%s blames %q (%v), want %q", text, wrong.Field, err, want)
		}
	}
}

func validPlan() Plan {
	p := Plan{
		ID:          "pro",
		Rates:       []Rate{{Requests, 10, time.Second, 20, PerKey}, {Requests, 20, time.Second, 20, PerKey}},
		Quotas:      []Quota{{Requests, 100, Month, PerKey, Block, nil}, {Requests, 100, Month, PerCustomer, Block, nil}},
		Concurrency: Concurrency{5, PerKey}, MaxKeys: 3, Scopes: []string{"chat:read"}, Routes: []string{"chat"},
		StripePrices: []string{"price_1"}, StripeMeters: []StripeMeter{{"api", Requests, false}},
	}
	return p
}

func TestAWrongPlanNamesItsField(t *testing.T) {
	most, none := int64(3), int64(0)
	for want, change := range map[string]func(*Plan){
		"":                       func(*Plan) {},
		"id":                     func(p *Plan) { p.ID = "Pro" },
		"title":                  func(p *Plan) { p.Title = strings.Repeat("ä", maxText+1) },
		"rates":                  func(p *Plan) { p.Rates = make([]Rate, maxLimits+1) },
		"rates[0].count":         func(p *Plan) { p.Rates[0].Count = 0 },
		"rates[0].unit":          func(p *Plan) { p.Rates[0].Unit = "Tokens" },
		"rates[1].per":           func(p *Plan) { p.Rates[1].Per = 0 },
		"rates[1].burst":         func(p *Plan) { p.Rates[1].Burst = MaxCount + 1 },
		"rates[1].scope":         func(p *Plan) { p.Rates[1].Scope = "" },
		"rates[1]":               func(p *Plan) { p.Rates[1] = p.Rates[0] },
		"rates[0].burst":         func(p *Plan) { p.Rates[0].Count = Unlimited },
		"quotas":                 func(p *Plan) { p.Quotas = make([]Quota, maxLimits+1) },
		"quotas[0].limit":        func(p *Plan) { p.Quotas[0].Limit = MaxCount + 1 },
		"quotas[0].period":       func(p *Plan) { p.Quotas[0].Span = "year" },
		"quotas[0].scope":        func(p *Plan) { p.Quotas[0].Scope = "" },
		"quotas[1].scope":        func(p *Plan) { p.Quotas[1].Scope = "team" },
		"quotas[1]":              func(p *Plan) { p.Quotas[1].Scope = PerKey },
		"quotas[0].overage":      func(p *Plan) { p.Quotas[0].Overage = "" },
		"quotas[0].max":          func(p *Plan) { p.Quotas[0].Max = &most },
		"quotas[1].max":          func(p *Plan) { p.Quotas[1].Overage, p.Quotas[1].Max = Bill, &none },
		"concurrency.limit":      func(p *Plan) { p.Concurrency.Limit = -2 },
		"concurrency.scope":      func(p *Plan) { p.Concurrency.Scope = "" },
		"max_keys":               func(p *Plan) { p.MaxKeys = -1 },
		"scopes[0]":              func(p *Plan) { p.Scopes = []string{"a b"} },
		"scopes[1]":              func(p *Plan) { p.Scopes = []string{"a", "a"} },
		"routes[0]":              func(p *Plan) { p.Routes = []string{""} },
		"stripe_prices[0]":       func(p *Plan) { p.StripePrices = []string{"price 1"} },
		"stripe_meters[0].event": func(p *Plan) { p.StripeMeters[0].Event = "" },
		"stripe_meters[0].unit":  func(p *Plan) { p.StripeMeters[0].Unit = "" },
		"stripe_meters[1].event": func(p *Plan) { p.StripeMeters = append(p.StripeMeters, p.StripeMeters[0]) },
	} {
		p := validPlan()
		change(&p)
		err := p.Validate()
		var wrong *FieldError
		switch {
		case want == "" && err != nil:
			t.Errorf("a valid plan: got %v", err)
		case want != "" && (!errors.As(err, &wrong) || wrong.Field != want):
			t.Errorf("got %v, want %s to be blamed", err, want)
		}
	}
}

func TestOverridesAreValidated(t *testing.T) {
	for want, o := range map[string]Overrides{
		"rates[0].count":    {Rates: &[]Rate{{}}},
		"quota.limit":       {Quota: &Quota{Unit: Requests, Span: Month, Overage: Block}},
		"concurrency.limit": {Concurrency: &Concurrency{Limit: -1}},
		"reason":            {Reason: "\xff"},
	} {
		if want == "rates[0].count" {
			(*o.Rates)[0].Unit = Requests
		}
		var wrong *FieldError
		if err := o.Validate(); !errors.As(err, &wrong) || wrong.Field != want {
			t.Errorf("got %v, want %s to be blamed", err, want)
		}
	}
	fine := Overrides{Rates: &[]Rate{}, Quota: &Quota{Unit: Requests, Limit: 1, Span: Month, Overage: Block}, Concurrency: &Concurrency{}}
	if err := fine.Validate(); err != nil {
		t.Errorf("valid overrides: got %v", err)
	}
}

func TestAnOverrideInheritsWhatItLeavesOpen(t *testing.T) {
	pooled := Quota{Requests, 100, Day, PerCustomer, Bill, new(int64)}
	for name, c := range map[string]struct{ given, from, want Quota }{
		"a bare number":       {Quota{Limit: 7}, pooled, Quota{Requests, 7, Day, PerCustomer, Bill, pooled.Max}},
		"one that blocks":     {Quota{Limit: 7, Overage: Block}, pooled, Quota{Requests, 7, Day, PerCustomer, Block, nil}},
		"one that bills":      {Quota{Limit: 7, Overage: Bill}, pooled, Quota{Requests, 7, Day, PerCustomer, Bill, nil}},
		"one of its own kind": {Quota{"tokens", 7, Hour, PerKey, "", nil}, Quota{}, Quota{"tokens", 7, Hour, PerKey, Block, nil}},
		"one without an end":  {Quota{Limit: Unlimited}, pooled, Quota{Requests, Unlimited, Day, PerCustomer, Block, nil}},
	} {
		if got := c.given.Inherit(c.from); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestNormalizeFillsInAndLeavesTheCallersListsAlone(t *testing.T) {
	given := []Rate{{Count: 5, Per: time.Second}}
	p := Plan{ID: "a", Rates: given, Quotas: []Quota{{Limit: 5, Span: Day}}, StripeMeters: []StripeMeter{{Event: "x"}}, Concurrency: Concurrency{Limit: 3}}
	p.Normalize()
	if err := p.Validate(); err != nil {
		t.Errorf("normalized: got %v, want it valid", err)
	}
	if p.Scopes == nil || p.Routes == nil || p.StripePrices == nil {
		t.Errorf("lists are nil: %+v", p)
	}
	if given[0].Unit != "" {
		t.Error("the caller's list was changed")
	}
}

func TestTheDefaultPlansAreValid(t *testing.T) {
	for _, p := range Defaults() {
		p.Normalize()
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.ID, err)
		}
	}
}

func TestBoundsIncludeOverage(t *testing.T) {
	most := int64(7)
	for _, c := range []struct {
		text string
		max  *int64
		want int64
	}{
		{"100/day", nil, 100},
		{"100/day overage bill", nil, 1100},
		{"100/day overage bill max 7", &most, 107},
		{"9007199254740992/day overage bill", nil, MaxCount},
		{"unlimited", nil, 1<<63 - 1},
	} {
		q, err := ParseQuota(strings.Fields(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Bound(); got != c.want {
			t.Errorf("%s: got %d, want %d", c.text, got, c.want)
		}
	}
}

func TestOverridesEnd(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	o := Overrides{Concurrency: &Concurrency{}, Until: now}
	if !o.InForce(now.Add(-1)) || o.InForce(now) {
		t.Error("overrides hold until their end, and not at it")
	}
	if (Overrides{Reason: "nothing"}).InForce(now) {
		t.Error("overrides of nothing are in force")
	}
}
