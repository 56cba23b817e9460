// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

func TestARefusalNamesTheLimitAsItIs(t *testing.T) {
	ends := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for want, r := range map[string]gate.Refusal{
		"The limit is 10 requests a minute, at most 5 requests at once. Try again in 6 s.": {
			Reason: gate.RateLimited, RetryAfter: 6 * time.Second,
			Violated: &gate.Window{Unit: plan.Requests, Count: 10, Limit: 5, Used: 5, Length: time.Minute},
		},
		"The limit is 4,000 tokens in 1m30s. Try again in 1 s.": {
			Reason: gate.RateLimited, RetryAfter: time.Millisecond,
			Violated: &gate.Window{Unit: "tokens", Count: 4000, Limit: 4000, Length: 90 * time.Second},
		},
		"You have used all 1,000 requests of this period. They reset on 1 Dec 2026, 00:00 UTC.": {
			Reason:   gate.QuotaExceeded,
			Violated: &gate.Window{Quota: true, Unit: plan.Requests, Limit: 1000, Used: 1000, Ends: ends},
		},
		"This request costs more than what is left of the 1,000 requests of this period. They reset on 1 Dec 2026, 00:00 UTC.": {
			Reason:   gate.QuotaExceeded,
			Violated: &gate.Window{Quota: true, Unit: plan.Requests, Limit: 1000, Used: 990, Ends: ends},
		},
	} {
		if got := detailOf(&r, nil); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
