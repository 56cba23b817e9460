// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", 1<<63 - 1: "9,223,372,036,854,775,807"} {
		if got := number(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for _, c := range []struct{ used, limit, want int64 }{{0, 10, 0}, {5, 10, 50}, {11, 10, 110}, {1 << 60, 1 << 61, 50}} {
		if got := percent(c.used, c.limit); got != c.want {
			t.Errorf("%d of %d: got %d%%, want %d%%", c.used, c.limit, got, c.want)
		}
	}
	for value, want := range map[int64]string{0: "", 1: "▇", 50: "▇▇▇▇▇", 100: "▇▇▇▇▇▇▇▇▇▇", 500: "▇▇▇▇▇▇▇▇▇▇"} {
		if got := bar(value, 100, 10); got != want {
			t.Errorf("%d of 100: got %s, want %s", value, got, want)
		}
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12 * time.Second: "12 s ago", 3 * time.Minute: "3 min ago", 9 * time.Hour: "9 h ago", 47 * time.Hour: "47 h ago", 72 * time.Hour: "3 d ago", -time.Hour: "in 1 h",
	} {
		if got := age(noon.Add(-d), noon); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	if got := age(time.Time{}, noon); got != "never" {
		t.Errorf("no time: got %s", got)
	}
}

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-20T10:00:00Z": "2026-11-20T10:00:00Z", "2026-11-20T10:00:00+02:00": "2026-11-20T08:00:00Z", "2026-11-20": "2026-11-20T00:00:00Z",
		"10m": "2026-11-23T11:50:00Z", "2d": "2026-11-21T12:00:00Z", "2 days ago": "2026-11-21T12:00:00Z", "1 month ago": "2026-10-23T12:00:00Z",
		"1 hour ago": "2026-11-23T11:00:00Z", "3 weeks ago": "2026-11-02T12:00:00Z", "today": "2026-11-23T00:00:00Z", "yesterday": "2026-11-22T00:00:00Z", "now": "2026-11-23T12:00:00Z",
	} {
		got, err := parseTime("from", text, noon)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1 days ago", "2 fortnights ago", "x days ago", "2026-13-01", "99999999999 days ago"} {
		if got, err := parseTime("from", text, noon); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestLimitsAreWrittenAsPeopleSayThem(t *testing.T) {
	q := func(words ...string) plan.Quota {
		quota, err := plan.ParseQuota(words)
		if err != nil {
			t.Fatal(err)
		}
		return quota
	}
	r := func(words ...string) plan.Rate {
		rate, err := plan.ParseRate(words)
		if err != nil {
			t.Fatal(err)
		}
		return rate
	}
	for _, c := range []struct {
		quotas []plan.Quota
		rates  []plan.Rate
		want   string
	}{
		{nil, nil, "unlimited"},
		{[]plan.Quota{q("100k/month")}, []plan.Rate{r("50/second")}, "100,000 a month, 50 a second"},
		{[]plan.Quota{q("5k", "tokens/hour", "per", "customer")}, []plan.Rate{r("5/250ms", "per", "customer"), r("9/hour")}, "5,000 tokens an hour per customer, 5 in 250ms per customer, 9 an hour"},
		{[]plan.Quota{q("unlimited")}, []plan.Rate{r("unlimited", "tokens/day")}, "unlimited, unlimited tokens"},
	} {
		if got := limits(c.quotas, c.rates); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
