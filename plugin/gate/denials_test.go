// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

func TestGuessingSecretsIsSlowedDownAndGoodOnesAreNot(t *testing.T) {
	c := newHouse(t, quotas()).caller()
	guess := *c
	guess.secret = "a guess"
	for range 30 {
		guess.wantRefused(route, gate.InvalidKey)
	}
	refusal := guess.wantRefused(route, gate.TooManyAttempts)
	if refusal.RetryAfter != time.Minute {
		t.Errorf("to be tried again in %v, want a minute", refusal.RetryAfter)
	}
	c.wantPassed(route)
	guess.secret = ""
	guess.wantRefused(route, gate.MissingKey)
	guess.secret, guess.ip = "a guess", "192.0.2.8"
	guess.wantRefused(route, gate.InvalidKey)
}

func TestADenialTellsWhoWhatAndWhy(t *testing.T) {
	c := newHouse(t, quotas(quota(1, plan.PerKey))).caller()
	c.wantPassed(route)
	call := c.call(route)
	call.Path = "/" + strings.Repeat("x", 300)
	refusal, err := c.gate.Admit(context.Background(), call, &gate.Ticket{})
	c.must(err)
	found, more := c.gate.Denials(gate.DenialQuery{Limit: 9})
	if len(found) != 1 || more {
		t.Fatalf("found %d denials", len(found))
	}
	want := gate.Denial{
		Sequence: 1, Time: noon, Reason: refusal.Reason, Key: c.key.ID, Customer: c.customer.ID, Route: "default",
		Method: "GET", Path: call.Path[:200], IP: netip.MustParseAddr(c.ip), RequestID: "request",
	}
	if found[0] != want {
		t.Errorf("got  %+v\nwant %+v", found[0], want)
	}
}

func TestDenialsAreFoundByWhatTheyAreAbout(t *testing.T) {
	h := newHouse(t, quotas(quota(0, plan.PerKey)))
	one, two := h.caller(), h.caller()
	one.wantRefused(route, gate.QuotaExceeded)
	h.pass(time.Minute)
	two.wantRefused(&plan.Route{Name: "chat", Cost: plan.Cost{Units: 1}}, gate.QuotaExceeded)
	two.wantRefused(nil, gate.UnknownRoute)
	if r := h.gate.Deny(two.call(route), gate.UpgradeRefused); r.Reason != gate.UpgradeRefused {
		t.Errorf("Deny returned %+v", r)
	}
	for _, test := range []struct {
		what string
		q    gate.DenialQuery
		want []uint64
		more bool
	}{
		{"all, newest first", gate.DenialQuery{Limit: 9}, []uint64{4, 3, 2, 1}, false},
		{"a page", gate.DenialQuery{Limit: 2}, []uint64{4, 3}, true},
		{"the next page", gate.DenialQuery{Limit: 2, Before: 3}, []uint64{2, 1}, false},
		{"by reason", gate.DenialQuery{Limit: 9, Reason: gate.UpgradeRefused}, []uint64{4}, false},
		{"by key", gate.DenialQuery{Limit: 9, Key: one.key.ID}, []uint64{1}, false},
		{"by customer", gate.DenialQuery{Limit: 9, Customer: two.customer.ID}, []uint64{2}, false},
		{"by route", gate.DenialQuery{Limit: 9, Route: "chat"}, []uint64{2}, false},
		{"since", gate.DenialQuery{Limit: 9, Since: noon.Add(time.Second)}, []uint64{4, 3, 2}, false},
		{"before the first", gate.DenialQuery{Limit: 9, Before: 1}, nil, false},
	} {
		found, more := h.gate.Denials(test.q)
		var got []uint64
		for _, d := range found {
			got = append(got, d.Sequence)
		}
		if len(got) != len(test.want) || more != test.more {
			t.Errorf("%s: got %v, more %v, want %v, %v", test.what, got, more, test.want, test.more)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%s: got %v, want %v", test.what, got, test.want)
			}
		}
	}
}

func TestOnlyTheLastDenialsAreKept(t *testing.T) {
	c := newHouse(t, quotas()).caller()
	for range gate.MaxDenials + 5 {
		c.gate.Deny(c.call(nil), gate.MethodNotAllowed)
	}
	found, more := c.gate.Denials(gate.DenialQuery{Limit: 2 * gate.MaxDenials})
	if len(found) != gate.MaxDenials || more || found[0].Sequence != gate.MaxDenials+5 || found[len(found)-1].Sequence != 6 {
		t.Errorf("kept %d, from %d to %d", len(found), found[0].Sequence, found[len(found)-1].Sequence)
	}
}

func TestFollowersSeeDenialsAsTheyHappen(t *testing.T) {
	c := newHouse(t, quotas()).caller()
	following, stop := c.gate.FollowDenials(1)
	c.gate.Deny(c.call(route), gate.MethodNotAllowed)
	c.gate.Deny(c.call(route), gate.MethodNotAllowed) // nobody waits for who reads too slowly
	if d := <-following; d.Sequence != 1 {
		t.Errorf("followed denial %d, want 1", d.Sequence)
	}
	stop()
	c.gate.Deny(c.call(route), gate.MethodNotAllowed)
	select {
	case d := <-following:
		t.Errorf("after the stop, denial %d was sent", d.Sequence)
	default:
	}
}

func TestErasureForgetsWhereDenialsCameFrom(t *testing.T) {
	c := newHouse(t, quotas(quota(0, plan.PerKey))).caller()
	c.wantRefused(route, gate.QuotaExceeded)
	c.gate.EraseDenials(c.customer.ID, "cust_erased")
	found, _ := c.gate.Denials(gate.DenialQuery{Limit: 1})
	if d := found[0]; d.Customer != "cust_erased" || d.IP.IsValid() || d.Path != "" {
		t.Errorf("still known: %+v", d)
	}
}
