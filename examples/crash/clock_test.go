// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// hands are a wall clock, which can be set, and a monotonic one, which cannot.
type hands struct {
	mu      sync.Mutex // guards the rest
	wall    time.Time
	elapsed time.Duration
}

func (c *hands) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *hands) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// pass lets time go by.
func (c *hands) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

// step sets the wall clock, forth or back.
func (c *hands) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

func clockAt(year int, month time.Month, day, hour, minute int) *hands {
	return &hands{wall: time.Date(year, month, day, hour, minute, 0, 0, time.UTC)}
}

// houseAt opens a house that lives by a clock.
func houseAt(t testing.TB, c *hands) *house {
	t.Helper()
	return newHouse(t, newPlatter(t.TempDir(), "boot"), c.now, c.since)
}

// passes is how many requests of an account pass until one is refused.
func (h *house) passes(a *account) int64 {
	h.t.Helper()
	var n int64
	for {
		more, refusal, err := h.spend(a, 100_000)
		n += more
		switch {
		case errors.Is(err, meter.ErrUnavailable): // a loaded machine: ask again
		case err != nil || refusal == nil:
			h.t.Fatalf("after %d requests: %v and %v, want a refusal", n, refusal, err)
		default:
			return n
		}
	}
}

func (h *house) wantPass(when string, a *account, want int64) {
	h.t.Helper()
	if got := h.passes(a); got != want {
		h.t.Errorf("%s: %d requests pass, want %d", when, got, want)
	}
}

func TestAClockSetBackGivesNoQuotaTwice(t *testing.T) {
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 40 * 24 * time.Hour} {
		c := clockAt(2026, time.November, 30, 23, 50)
		h := houseAt(t, c)
		a := h.enrolled("solo")
		h.spendAll(a, 250)
		c.pass(15 * time.Minute)
		h.spendAll(a, 100)
		c.step(-back)
		h.wantPass("back in November by "+back.String(), a, 200)
		c.pass(10 * time.Minute)
		h.wantPass("ten minutes later", a, 0)
		c.step(back)
		h.wantPass("in December again", a, 0)
		c.pass(31 * 24 * time.Hour)
		h.wantPass("in January", a, 300)
	}
}

func TestAClockThatLeapsAheadRollsNothingOverUntilItHasHeldFiveMinutes(t *testing.T) {
	for _, leap := range []time.Duration{40 * 24 * time.Hour, 400 * 24 * time.Hour} {
		c := clockAt(2026, time.November, 10, 12, 0)
		h := houseAt(t, c)
		a := h.enrolled("solo")
		h.wantPass("in November", a, 300)
		c.step(leap)
		h.wantPass("at once", a, 0)
		c.pass(4*time.Minute + 59*time.Second)
		h.wantPass("before five minutes", a, 0)
		c.step(-leap)
		h.wantPass("back in November", a, 0)
		c.pass(time.Hour)
		c.step(leap)
		h.wantPass("ahead once more", a, 0)
		c.pass(5*time.Minute + time.Second)
		h.wantPass("after five minutes", a, 300)
	}
}

func TestAClockAnHourFastIsBelieved(t *testing.T) {
	c := clockAt(2026, time.November, 30, 23, 30)
	h := houseAt(t, c)
	a := h.enrolled("solo")
	h.wantPass("in November", a, 300)
	c.step(time.Hour)
	h.wantPass("in December", a, 300)
	c.step(-time.Hour)
	h.wantPass("set right", a, 0)
	c.pass(time.Hour)
	h.wantPass("when it really is December", a, 0)
}

// TestMonthsBeginOnTheirDayAndGiveOneQuota walks over month ends of calendar
// months and of subscriptions, a leap day among them.
func TestMonthsBeginOnTheirDayAndGiveOneQuota(t *testing.T) {
	for _, day := range []int{0, 15, 29, 30, 31} { // 0: no subscription
		c := clockAt(2027, time.October, 31, 10, 0)
		h := houseAt(t, c)
		a := h.enrolled("solo")
		hour := 0
		if day > 0 {
			hour = 9
			h.subscribe(a, time.Date(2027, time.July, day, hour, 0, 0, 0, time.UTC))
		}
		if h.passes(a) != 300 {
			t.Fatal("the first month is not given in full")
		}
		for month := range 7 { // November 2027 to May 2028
			first := time.Date(2027, time.November+time.Month(month), 1, hour, 0, 0, 0, time.UTC)
			begins := first
			if day > 0 {
				begins = first.AddDate(0, 0, min(day, first.AddDate(0, 1, -1).Day())-1)
			}
			c.pass(begins.Sub(c.now()) - time.Second)
			h.wantPass("a second before "+begins.String(), a, 0)
			c.pass(time.Second)
			h.wantPass("from "+begins.String(), a, 300)
		}
	}
}

// subscribe gives the account's customer a subscription with an anchor.
func (h *house) subscribe(a *account, anchor time.Time) {
	h.t.Helper()
	c, err := h.store.Customer(h.t.Context(), store.CustomerRef{ID: a.customer})
	if err != nil {
		h.t.Fatal(err)
	}
	c.Subscription = &customer.Subscription{ID: "sub_1", Status: customer.SubscribedActive, Plan: a.plan, Anchor: anchor}
	if _, err := h.store.Write(h.t.Context(), store.Mutations{Customers: []customer.Customer{c}}); err != nil {
		h.t.Fatal(err)
	}
}

func TestARequestKeepsThePeriodItWasAdmittedIn(t *testing.T) {
	c := clockAt(2026, time.November, 30, 23, 59)
	h := houseAt(t, c)
	a := h.enrolled("solo")
	h.spendAll(a, 290)
	var flying []*gate.Ticket
	for range 10 {
		ticket, refusal, err := h.decided(a.secrets[0], plainRoute)
		if refusal != nil || err != nil {
			t.Fatal(refusal, err)
		}
		flying = append(flying, ticket)
	}
	c.pass(2 * time.Minute)
	h.spendAll(a, 1)
	for i, ticket := range flying {
		switch {
		case i < 4:
			ticket.Settle(gate.Answer{Status: 200})
		case i < 7:
			ticket.Settle(gate.Answer{Status: 500})
		default:
			ticket.Settle(gate.Answer{Gone: true})
		}
		ticket.Release()
	}
	id := meter.ID{Owner: meter.Owner{Kind: meter.OfKey, ID: a.keys[0], Mode: apikey.Live}, Unit: plan.Requests, Calendar: usage.Months}
	for _, want := range []struct {
		at           time.Time
		used, billed int64
	}{
		{time.Date(2026, time.November, 30, 0, 0, 0, 0, time.UTC), 297, 294},
		{time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC), 1, 1},
	} {
		got, err := h.meter.Peek(context.Background(), id, usage.Months.Ordinal(want.at))
		if err != nil || got.Used() != want.used || got.Billed != want.billed {
			t.Errorf("%s: used %d, billed %d, %v; want %d and %d", want.at.Month(), got.Used(), got.Billed, err, want.used, want.billed)
		}
	}
	h.wantPass("in December", a, 299)
}

func TestARolloverUnderLoadGivesEachMonthOnce(t *testing.T) {
	c := clockAt(2026, time.November, 30, 23, 59)
	h := houseAt(t, c)
	a := h.enrolled("pool")
	for range 3 {
		var done sync.WaitGroup
		for range clients {
			done.Go(func() {
				for refused := 0; refused < 50; {
					ticket, refusal, err := h.decided(a.secrets[0], plainRoute)
					if err != nil {
						t.Error(err)
						return
					}
					if refusal != nil {
						refused++
						continue
					}
					a.forwarded.Add(1)
					c.pass(10 * time.Millisecond)
					ticket.Settle(gate.Answer{Status: 200})
					ticket.Release()
				}
			})
		}
		done.Wait()
		c.pass(58 * time.Second)
	}
	if got := a.forwarded.Load(); got != 2*a.bound {
		t.Errorf("%d requests passed in two months, want %d", got, 2*a.bound)
	}
}
