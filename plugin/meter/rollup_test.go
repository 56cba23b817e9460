// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

func booked(t *testing.T, e *engine, q store.UsageQuery) store.UsageRow {
	t.Helper()
	if q.To.IsZero() {
		q.From, q.To = start.AddDate(-1, 0, 0), start.AddDate(1, 0, 0)
	}
	rows, err := e.Usage(t.Context(), q)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	return rows[0]
}

func TestTheLedgerLearnsEachCallOnce(t *testing.T) {
	e, clock := newEngine(), newHand(start)
	m := open(t, "", e, clock.now)
	const clients, calls = 8, 2000
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for i := range calls {
				key := m.Tally("key_"+string(rune('a'+i%3)), "cust_a")
				key.Add(start.Add(time.Duration(i)*time.Second*3), "pro", "chat", "allowed", Count{Requests: 1, Unit: "tokens", Units: 2})
				if i%100 == 0 {
					e.set(nil, errors.New("the reply was lost"))
					_ = m.FlushUsage(context.Background())
					e.set(nil, nil)
				}
			}
		})
	}
	all.Wait()
	if err := m.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := booked(t, e, store.UsageQuery{})
	if sum.Requests != clients*calls || sum.Units["tokens"] != 2*clients*calls {
		t.Errorf("got %+v, want %d requests and twice the tokens", sum.UsageCount, clients*calls)
	}
}

func TestACallIsBookedInItsHour(t *testing.T) {
	e := newEngine()
	m := open(t, "", e, newHand(start).now)
	tally := m.Tally("key_a", "cust_a")
	next := start.Add(time.Hour)
	one := Count{Requests: 1}
	tally.Add(start, "pro", "chat", "allowed", one)
	tally.Add(next, "pro", "chat", "allowed", one)
	tally.Add(next, "pro", "chat", "allowed", one)
	tally.Add(start, "pro", "chat", "allowed", one) // admitted before the turn, settled after it
	if err := m.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	for hour, want := range map[time.Time]int64{start: 2, next: 2} {
		if got := booked(t, e, store.UsageQuery{From: hour, To: hour.Add(time.Hour)}).Requests; got != want {
			t.Errorf("hour %v: got %d requests, want %d", hour, got, want)
		}
	}
}

func TestACallSeenBeforeIsTalliedWithoutAllocating(t *testing.T) {
	m := open(t, "", newEngine(), newHand(start).now)
	tally := m.Tally("key_a", "cust_a")
	c := Count{Requests: 1, Unit: "requests", Units: 1}
	tally.Add(start, "pro", "chat", "allowed", c)
	if n := testing.AllocsPerRun(100, func() { tally.Add(start, "pro", "chat", "allowed", c) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestWhatNobodyHoldsIsStillBooked(t *testing.T) {
	e := newEngine()
	m := open(t, "", e, newHand(start).now)
	for range 100 {
		m.Tally("key_a", "cust_a").Add(start, "pro", "chat", "allowed", Count{Requests: 1})
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := booked(t, e, store.UsageQuery{Key: "key_a"}).Requests; got != 100 {
		t.Errorf("got %d requests, want 100", got)
	}
}

// serve is one call as the gate counts it.
func serve(t *testing.T, m *Meter, now time.Time, refused bool) {
	t.Helper()
	owner := Owner{Kind: OfKey, ID: "key_a", Mode: apikey.Live}
	calls := m.Counter(ID{Owner: owner, Unit: Calls, Calendar: usage.Months})
	tokens := m.Counter(ID{Owner: owner, Unit: "tokens", Calendar: usage.Months})
	if refused {
		calls.Refuse(now)
		m.Tally("key_a", "cust_a").Add(now, "pro", "chat", "rate_limited", Count{Refused: 1})
		return
	}
	h, _ := take(t, calls, now, 1, Unlimited)
	g, _ := take(t, tokens, now, 50, 100_000)
	h.Bill(1)
	g.Bill(40)
	m.Tally("key_a", "cust_a").Add(now, "pro", "chat", "allowed", Count{Requests: 1, Unit: "tokens", Units: 40})
}

func TestWhatACrashTakesFromTheLedgerIsUnattributed(t *testing.T) {
	e, clock := newEngine(), newHand(start)
	w := &world{t: t, dir: t.TempDir(), clock: clock, engine: e, durable: make(map[string][]byte)}
	var d disk
	w.meter = w.open(w.dir, e, d.hooks(false))
	defer func() { _ = w.meter.Close(context.Background()) }()
	for range 10 {
		serve(t, w.meter, clock.now(), false)
	}
	imported := w.meter.Counter(ID{Owner: Owner{Kind: OfKey, ID: "key_a", Mode: apikey.Live}, Unit: "tokens", Calendar: usage.Months})
	if err := imported.Adjust(t.Context(), clock.now(), 1000); err != nil {
		t.Fatal(err)
	}
	if err := w.meter.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.advance(20 * time.Minute)
	for range 7 {
		serve(t, w.meter, clock.now(), false)
	}
	serve(t, w.meter, clock.now(), true)

	im := w.crash(nil, false)
	for again := range 2 { // a second crash books nothing twice
		m := w.open(im.dir, im.engine, d.hooks(false))
		if err := m.FlushUsage(t.Context()); err != nil {
			t.Fatal(err)
		}
		sum := booked(t, im.engine, store.UsageQuery{Key: "key_a", Customer: "cust_a"})
		want := store.UsageCount{Requests: 17, Refused: 1, Units: map[string]int64{"tokens": 17 * 40}}
		if sum.Requests != want.Requests || sum.Refused != want.Refused || !maps.Equal(sum.Units, want.Units) {
			t.Errorf("start %d: got %+v, want %+v", again+1, sum.UsageCount, want)
		}
		if got := booked(t, im.engine, store.UsageQuery{Route: Unattributed}).Requests; got != 7 {
			t.Errorf("start %d: got %d requests unattributed, want 7", again+1, got)
		}
		im = image{dir: im.dir, engine: im.engine.clone()}
		// nobody closes m: it dies
		m.closing.Do(func() { close(m.stop); m.done.Wait() })
	}
}

func TestNothingIsUnattributedAfterAGracefulStop(t *testing.T) {
	dir, e := t.TempDir(), newEngine()
	m := open(t, dir, e, newHand(start).now)
	for range 10 {
		serve(t, m, start, false)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, e, newHand(start).now)
	if err := m.FlushUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum := booked(t, e, store.UsageQuery{}); sum.Requests != 10 || sum.Units["tokens"] != 400 {
		t.Errorf("got %+v, want 10 requests and 400 tokens", sum.UsageCount)
	}
	if sum := booked(t, e, store.UsageQuery{Route: Unattributed}); sum.Requests != 0 {
		t.Errorf("got %d requests unattributed, want none", sum.Requests)
	}
}
