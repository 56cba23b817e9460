// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// An account is one quota: of a key, or of a customer's keys together. All is
// counted in units, and by those who did it: the upstream and the clients.
type account struct {
	name     string
	plan     string
	bound    int64    // the quota and its overage
	keys     []string // their ids
	secrets  []string
	customer string // its id

	// By the upstream:
	forwarded atomic.Int64 // requests that came
	refunded  atomic.Int64 // of them: answered by a 500, which is free
	answered  atomic.Int64 // of them: answered otherwise

	// By the clients:
	received atomic.Int64 // answers read to their end, 500s left out
	lost     atomic.Int64 // requests in flight when the gateway died
	hungUp   atomic.Int64 // requests that were abandoned
	refusals atomic.Int64 // 429 of requests that cost 1
}

// counted is what the accused says of an account when nothing is in flight.
type counted struct{ used, billed int64 }

// charge is what an account is charged with, in units.
type charge struct {
	of   string
	what crime
	by   int64
}

type crime string

// The crimes.
const (
	overrun    crime = "more was forwarded than the quota allows"
	overBilled crime = "more is billed than was answered"
	uncounted  crime = "answers that reached a client are not counted"
	unbilled   crime = "more answers are not billed than a crash may take"
	swallowed  crime = "more quota is gone than a crash may take"
)

// slack is what crashes may have taken from an account so far.
type slack struct {
	unbilled int64 // answers that need not be billed
	quota    int64 // units that may be used though nothing was forwarded
	exact    bool  // the clients' answers all count: no power was cut
}

// judge compares an account with what is said of it.
func judge(a *account, c counted, s slack) (charges []charge) {
	accuse := func(what crime, by int64) {
		if by > 0 {
			charges = append(charges, charge{a.name, what, by})
		}
	}
	forwarded := a.forwarded.Load() - a.refunded.Load()
	accuse(overrun, forwarded-a.bound)
	accuse(overBilled, c.billed-a.answered.Load())
	accuse(unbilled, a.answered.Load()-c.billed-s.unbilled)
	accuse(swallowed, c.used-forwarded-s.quota)
	if s.exact {
		accuse(uncounted, a.received.Load()-c.billed)
		accuse(uncounted, forwarded-c.used)
	}
	return charges
}

// convicted reports charges as errors of a test.
func convicted(t *testing.T, when string, charges []charge) {
	t.Helper()
	for _, c := range charges {
		t.Errorf("%s: %s: %s: %d units", when, c.of, c.what, c.by)
	}
}

// total adds the charges of one kind.
func total(charges []charge, what crime) (sum int64) {
	for _, c := range charges {
		if c.what == what {
			sum += c.by
		}
	}
	return sum
}

func (a *account) String() string {
	return fmt.Sprintf("%s (%s): forwarded %d, refunded %d, answered %d, received %d, lost %d, hung up %d of %d",
		a.name, a.plan, a.forwarded.Load(), a.refunded.Load(), a.answered.Load(), a.received.Load(), a.lost.Load(), a.hungUp.Load(), a.bound)
}

func names(accounts []*account) string {
	var out strings.Builder
	for _, a := range accounts {
		fmt.Fprintln(&out, a)
	}
	return out.String()
}
