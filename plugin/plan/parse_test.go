// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRatesAreReadAsWritten(t *testing.T) {
	for text, want := range map[string]Rate{
		"10/second":                             {Requests, 10, time.Second, 10, PerKey},
		"10/second burst 20":                    {Requests, 10, time.Second, 20, PerKey},
		"100/second burst 200 per customer":     {Requests, 100, time.Second, 200, PerCustomer},
		"100/second per customer burst 200":     {Requests, 100, time.Second, 200, PerCustomer},
		"10k tokens/minute":                     {"tokens", 10_000, time.Minute, 10_000, PerKey},
		"2M credits/day burst 3M":               {"credits", 2_000_000, 24 * time.Hour, 3_000_000, PerKey},
		"5/250ms":                               {Requests, 5, 250 * time.Millisecond, 5, PerKey},
		"1_000/hour per key":                    {Requests, 1_000, time.Hour, 1_000, PerKey},
		"9007199254740992/8760h":                {Requests, MaxCount, 8760 * time.Hour, MaxCount, PerKey},
		"unlimited":                             {Requests, Unlimited, time.Second, 0, PerKey},
		"unlimited tokens/minute per customer":  {"tokens", Unlimited, time.Minute, 0, PerCustomer},
		"1 requests/1ms":                        {Requests, 1, time.Millisecond, 1, PerKey},
		"100 requests/second burst 50 per key ": {Requests, 100, time.Second, 50, PerKey},
	} {
		got, err := ParseRate(strings.Fields(text))
		if err != nil || got != want {
			t.Errorf("ParseRate(%q): got %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestAWrongRateNamesItsWord(t *testing.T) {
	for text, word := range map[string]string{
		"":                                       "",
		"10":                                     "10",
		"ten/second":                             "ten",
		"0/second":                               "0",
		"-1/second":                              "-1",
		"1.5/second":                             "1.5",
		"1__0/second":                            "1__0",
		"_1/second":                              "_1",
		"1_/second":                              "1_",
		"1k0/second":                             "1k0",
		"10/":                                    "",
		"10/fortnight":                           "fortnight",
		"10/0s":                                  "0s",
		"10/-1s":                                 "-1s",
		"10/999us":                               "999us",
		"10/8761h":                               "8761h",
		"9007199254740993/second":                "9007199254740993",
		"99999999999999999999999/second":         "99999999999999999999999",
		"9007199254741k/second":                  "9007199254741k",
		"10/second burst":                        "burst",
		"10/second burst 0":                      "0",
		"10/second burst 9007199254740993":       "9007199254740993",
		"10/second burst unlimited":              "unlimited",
		"10/second burst 2 burst 3":              "burst",
		"10/second per":                          "per",
		"10/second per planet":                   "planet",
		"10/second per key per customer":         "per",
		"10/second bursts 3":                     "bursts",
		"10/second overage bill":                 "overage",
		"10 Tokens/second":                       "Tokens",
		"10 calls/second":                        "calls",
		"10 tokens":                              "tokens",
		"unlimited burst 3":                      "burst",
		"unlimited/second burst 3":               "burst",
		"10/second max 3":                        "max",
		"10 a/b/c":                               "b/c",
		"10 " + strings.Repeat("x", 65) + "/day": strings.Repeat("x", 65),
	} {
		got, err := ParseRate(strings.Fields(text))
		var wrong *WordError
		if !errors.As(err, &wrong) {
			t.Errorf("ParseRate(%q): got %+v, %v; want a WordError", text, got, err)
		} else if wrong.Word != word {
			t.Errorf("ParseRate(%q) blames %q (%v), want %q", text, wrong.Word, err, word)
		}
	}
}

func TestQuotasAreReadAsWritten(t *testing.T) {
	most := func(n int64) *int64 { return &n }
	for text, want := range map[string]Quota{
		"1000/month":                {Requests, 1000, Month, PerKey, Block, nil},
		"100k tokens/day":           {"tokens", 100_000, Day, PerKey, Block, nil},
		"5/hour per customer":       {Requests, 5, Hour, PerCustomer, Block, nil},
		"5/hour overage block":      {Requests, 5, Hour, PerKey, Block, nil},
		"5/hour overage bill":       {Requests, 5, Hour, PerKey, Bill, nil},
		"unlimited":                 {Requests, Unlimited, Month, PerKey, Block, nil},
		"unlimited tokens/day":      {"tokens", Unlimited, Day, PerKey, Block, nil},
		"5/hour overage bill max 3": {Requests, 5, Hour, PerKey, Bill, most(3)},
		"5/day overage bill max unlimited per customer":     {Requests, 5, Day, PerCustomer, Bill, most(MaxCount)},
		"100000/month per customer overage bill max 500000": {Requests, 100_000, Month, PerCustomer, Bill, most(500_000)},
		"100000/month overage bill max 500000 per customer": {Requests, 100_000, Month, PerCustomer, Bill, most(500_000)},
	} {
		got, err := ParseQuota(strings.Fields(text))
		if err != nil || !sameQuota(got, want) {
			t.Errorf("ParseQuota(%q): got %v, %v; want %v", text, got, err, want)
		}
	}
}

func sameQuota(a, b Quota) bool {
	if (a.Max == nil) != (b.Max == nil) || a.Max != nil && *a.Max != *b.Max {
		return false
	}
	a.Max, b.Max = nil, nil
	return a == b
}

func TestAWrongQuotaNamesItsWord(t *testing.T) {
	for text, word := range map[string]string{
		"":                                  "",
		"1000":                              "1000",
		"1000/":                             "",
		"1000/year":                         "year",
		"1000/second":                       "second",
		"1000/24h":                          "24h",
		"0/month":                           "0",
		"1000/month burst 3":                "burst",
		"1000/month overage":                "overage",
		"1000/month overage max 3":          "max",
		"1000/month overage block max 3":    "max",
		"1000/month max 3 overage bill":     "max",
		"1000/month overage bill max":       "max",
		"1000/month overage bill max 0":     "0",
		"1000/month overage bill overage":   "overage",
		"1000/month overage bill max 1 max": "max",
		"1000/month per customer per key":   "per",
		"unlimited overage bill":            "overage",
		"unlimited/month overage bill":      "overage",
		"1000/month overage bill max -5":    "-5",
		"1000 requests per month":           "requests",
		"9007199254740993/month":            "9007199254740993",
		"1000/month overage bill max 10e3":  "10e3",
		"1000/MONTH":                        "MONTH",
	} {
		got, err := ParseQuota(strings.Fields(text))
		var wrong *WordError
		if !errors.As(err, &wrong) {
			t.Errorf("ParseQuota(%q): got %v, %v; want a WordError", text, got, err)
		} else if wrong.Word != word {
			t.Errorf("ParseQuota(%q) blames %q (%v), want %q", text, wrong.Word, err, word)
		}
	}
}

func TestConcurrencyIsReadAsWritten(t *testing.T) {
	for text, want := range map[string]Concurrency{
		"50":              {50, PerKey},
		"50 per customer": {50, PerCustomer},
		"1k per key":      {1000, PerKey},
		"unlimited":       {0, PerKey},
	} {
		got, err := ParseConcurrency(strings.Fields(text))
		if err != nil || got != want {
			t.Errorf("ParseConcurrency(%q): got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "50 customer", "50 per", "50 per all", "many"} {
		if got, err := ParseConcurrency(strings.Fields(text)); err == nil {
			t.Errorf("ParseConcurrency(%q): got %+v, want an error", text, got)
		}
	}
}

func TestStripeMetersAreReadAsWritten(t *testing.T) {
	for text, want := range map[string]StripeMeter{
		"api_requests":          {"api_requests", Requests, false},
		"api_requests all":      {"api_requests", Requests, true},
		"api_tokens tokens":     {"api_tokens", "tokens", false},
		"api_tokens tokens all": {"api_tokens", "tokens", true},
	} {
		got, err := ParseStripeMeter(strings.Fields(text))
		if err != nil || got != want {
			t.Errorf("ParseStripeMeter(%q): got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a b c", "a all all", "a all tokens", "ä", "a Tokens"} {
		if got, err := ParseStripeMeter(strings.Fields(text)); err == nil {
			t.Errorf("ParseStripeMeter(%q): got %+v, want an error", text, got)
		}
	}
}

func TestRetentionIsReadInDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"35d": 35 * 24 * time.Hour, "12h": 12 * time.Hour, "1d": 24 * time.Hour, "36500d": 36500 * 24 * time.Hour,
	} {
		if got, err := ParseRetention(text); err != nil || got != want {
			t.Errorf("ParseRetention(%q): got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "0d", "0s", "-1h", "36501d", "999999999999999999d", "1.5d", "forever", "35"} {
		if got, err := ParseRetention(text); err == nil {
			t.Errorf("ParseRetention(%q): got %v, want an error", text, got)
		}
	}
}

func TestStatusRanges(t *testing.T) {
	for text, want := range map[string]StatusRange{
		"404": {404, 404}, "2xx": {200, 299}, "400-499": {400, 499}, "5xx": {500, 599}, "400-404": {400, 404},
	} {
		got, err := ParseStatusRange(text)
		if err != nil || got != want {
			t.Errorf("ParseStatusRange(%q): got %v, %v; want %v", text, got, err, want)
		}
		if again, err := ParseStatusRange(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %v, %v", got.String(), again, err)
		}
	}
	for _, text := range []string{"", "xx", "0xx", "6xx", "2XX", "99", "600", "499-400", "400-", "-400", "4x4", "+40", "400-499-599"} {
		if got, err := ParseStatusRange(text); err == nil {
			t.Errorf("ParseStatusRange(%q): got %v, want an error", text, got)
		}
	}
}

func FuzzRatesAndQuotasReadBackAsWritten(f *testing.F) {
	for _, seed := range []string{
		"10/second", "100/second burst 200 per customer", "10k tokens/minute", "unlimited", "unlimited tokens/day per customer",
		"1000/month per customer overage bill max 500000", "5/hour overage bill max unlimited", "1/1h1ms", "3 x-y/90s",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Fields(text)
		if r, err := ParseRate(words); err == nil {
			if err := r.Validate(); err != nil {
				t.Fatalf("%q reads as the invalid %+v: %v", text, r, err)
			}
			if again, err := ParseRate(strings.Fields(r.String())); err != nil || again != r {
				t.Fatalf("%q reads as %+v, whose text %q reads as %+v, %v", text, r, r.String(), again, err)
			}
		}
		if q, err := ParseQuota(words); err == nil {
			if err := q.Validate(); err != nil {
				t.Fatalf("%q reads as the invalid %v: %v", text, q, err)
			}
			if again, err := ParseQuota(strings.Fields(q.String())); err != nil || !sameQuota(again, q) {
				t.Fatalf("%q reads as %v, whose text %q reads as %v, %v", text, q, q.String(), again, err)
			}
		}
	})
}
