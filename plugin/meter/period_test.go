// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/usage"
)

// watch is a clock of which the hands can be set without time going by.
type watch struct {
	wall    time.Time
	elapsed time.Duration
}

func (w *watch) pass(d time.Duration) {
	w.wall = w.wall.Add(d)
	w.elapsed += d
}

func TestAWallClockThatLeapsIsBelievedAfterFiveMinutes(t *testing.T) {
	w := &watch{wall: start}
	m, err := Open(t.Context(), Options{
		Journal: newEngine(), Ledger: newEngine(), Node: "one",
		Now: func() time.Time { return start }, Elapsed: func() time.Duration { return w.elapsed },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(context.Background()) }()
	c := m.Counter(keyID("a"))
	spendOne := func(claim string, want bool) {
		t.Helper()
		h, ok := take(t, c, w.wall, 1, 2)
		if ok != want {
			t.Errorf("%s: admitted %v, want %v", claim, ok, want)
		}
		if ok {
			h.Bill(1)
		}
	}
	spendOne("the first", true)
	spendOne("the second", true)
	spendOne("past the quota", false)
	w.wall = w.wall.AddDate(0, 0, 40)
	spendOne("when the clock leapt into the next month", false)
	w.pass(4 * time.Minute)
	spendOne("four minutes later", false)
	w.wall = w.wall.AddDate(0, 0, -40)
	spendOne("when it was set right", false)
	m.clock.trust(w.wall) // as the meter does four times a second
	w.wall = w.wall.AddDate(0, 0, 40)
	spendOne("when it leapt again", false)
	w.pass(2 * time.Minute)
	spendOne("six minutes after the first leap", false)
	w.pass(4 * time.Minute)
	spendOne("when the second leap had held", true)
	w.wall = w.wall.AddDate(0, 0, -40)
	spendOne("when the clock went back a month", true)
	spendOne("which begins nothing anew", false)
}

func TestAWallClockHalfAnHourAheadIsBelieved(t *testing.T) {
	w := &watch{}
	c := newClock(start, func() time.Duration { return w.elapsed })
	if got, want := c.trust(start.Add(30*time.Minute)), start.Add(30*time.Minute); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := c.trust(start.Add(61*time.Minute)), start; !got.Equal(want) {
		t.Errorf("an hour ahead: got %v, want %v", got, want)
	}
}

func TestTimesWithoutAMonotonicReadingAreBelieved(t *testing.T) {
	c := newClock(time.Now(), nil)
	for _, at := range []time.Time{start, start.AddDate(1, 0, 0), start.AddDate(-1, 0, 0), start.AddDate(0, 1, 0)} {
		if got := c.trust(at); !got.Equal(at) {
			t.Errorf("got %v, want %v", got, at)
		}
	}
}

func TestAPeriodDoesNotGoBackOverARestart(t *testing.T) {
	dir, e, clock := t.TempDir(), newEngine(), newHand(start)
	id := keyID("a")
	id.Calendar = usage.Days
	m := open(t, dir, e, clock.now)
	if n, err := spend(t, m.Counter(id), 5); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.advance(-26 * time.Hour)
	m = open(t, dir, e, clock.now)
	if _, ok := take(t, m.Counter(id), clock.now(), 1, 5); ok {
		t.Error("a clock set back a day began the day anew")
	}
	if got, want := m.Counter(id).Read(clock.now()).Period, usage.Days.At(start); got != want {
		t.Errorf("got period %v, want %v", got, want)
	}
}

func TestAnchoredMonthsTurnAtTheirAnchor(t *testing.T) {
	anchor := time.Date(2027, 1, 31, 10, 37, 20, 0, time.UTC)
	clock := newHand(anchor)
	m := open(t, t.TempDir(), newEngine(), clock.now)
	id := keyID("a")
	id.Calendar = usage.MonthsFrom(anchor)
	c := m.Counter(id)
	for _, turn := range []time.Time{
		anchor,
		time.Date(2027, 2, 28, 10, 37, 20, 0, time.UTC),
		time.Date(2027, 3, 31, 10, 37, 20, 0, time.UTC),
		time.Date(2027, 4, 30, 10, 37, 20, 0, time.UTC),
	} {
		if turn.After(anchor) {
			if _, ok := take(t, c, turn.Add(-time.Second), 1, 3); ok {
				t.Errorf("admitted a second before %v", turn)
			}
		}
		for range 3 {
			h, ok := take(t, c, turn, 1, 3)
			if !ok {
				t.Fatalf("refused at %v", turn)
			}
			h.Bill(1)
		}
	}
}

func TestCalendarsOfOneOwnerCountApart(t *testing.T) {
	m := open(t, t.TempDir(), newEngine(), newHand(start).now)
	month, anchored := keyID("a"), keyID("a")
	anchored.Calendar = usage.MonthsFrom(start.AddDate(0, 0, -3))
	for _, id := range []ID{month, anchored} {
		if n, err := spend(t, m.Counter(id), 7); n != 7 || err != nil {
			t.Errorf("%v: got %d, %v, want 7", id.Calendar, n, err)
		}
	}
	wantUsed(t, m.Counter(month), start, 7)
	if ids, err := m.Counters(t.Context(), month.Owner); err != nil || len(ids) != 2 {
		t.Errorf("Counters: got %v, %v, want both", ids, err)
	}
}

func TestTheNextPeriodIsOpenedAheadForWhoIsActive(t *testing.T) {
	clock := newHand(time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC))
	e := newEngine()
	m := open(t, t.TempDir(), e, clock.now)
	id := keyID("a")
	id.Calendar = usage.Days
	c := m.Counter(id)
	h, _ := take(t, c, clock.now(), 1, 1000)
	h.Bill(1)
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	queued := c.queued || c.stands(usage.Days.Ordinal(clock.now())+1)
	c.mu.Unlock()
	if !queued {
		t.Fatal("the next day's slot is not on its way")
	}
	if err := c.until(t.Context(), func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.queued && c.stands(usage.Days.Ordinal(clock.now())+1), nil
	}); err != nil {
		t.Fatal(err)
	}
	wantUsed(t, c, clock.now(), 1)
	clock.advance(time.Hour)
	e.set(errDisk, nil) // nothing is needed from the store at the turn
	h, full, err := c.Reserve(t.Context(), clock.now(), 1, 1000, 1000)
	if full || err != nil {
		t.Fatalf("at the turn: full %v, error %v", full, err)
	}
	h.Bill(1)
	wantUsed(t, c, clock.now(), 1)
}
