// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// TestRandomHistoriesEndAsASimpleModelSays makes random calls, edits, restarts,
// kills and leaps of time, one after the other, on a house and on a model of it
// that is nothing but sums. The seed of a history that differs is printed:
// -seed repeats it.
func TestRandomHistoriesEndAsASimpleModelSays(t *testing.T) {
	r := dice(t.Name())
	for i := range *models {
		m := &model{t: t, dice: rand.New(rand.NewPCG(r.Uint64(), r.Uint64())), clock: clockAt(2026, time.November, 28, 12, 0), root: memoryDir(t)}
		m.run(300)
		if t.Failed() {
			t.Fatalf("history %d of seed %d: %v", i, *seed, m.history)
		}
	}
	figures.set("model: random histories of 300 steps", int64(*models))
	figures.set("model: kills and restarts in them", modelEnds)
}

var modelEnds int64

// sums are what a key has counted in one month.
type sums struct{ used, billed, calls, refused int64 }

// modelKey is a key as the model sees it.
type modelKey struct {
	*account
	months map[int64]*sums // by ordinal
}

// flight is a call that is not settled.
type flight struct {
	ticket *gate.Ticket
	of     *sums
	cost   int64
}

type model struct {
	t       *testing.T
	dice    *rand.Rand
	clock   *hands
	root    string
	house   *house
	keys    []*modelKey
	flights []flight
	history []string
}

func (m *model) run(steps int) {
	m.t.Helper()
	m.start(m.fresh())
	for _, name := range []string{"solo", "over"} {
		for range 2 {
			k := &modelKey{account: m.house.enrolled(name), months: make(map[int64]*sums)}
			m.keys = append(m.keys, k)
		}
	}
	for i := range steps {
		m.step()
		if i%25 == 0 {
			m.compare()
		}
		if m.t.Failed() {
			return
		}
	}
	for len(m.flights) > 0 {
		m.settle()
	}
	m.compare()
	m.compareLedger()
	if err := m.house.close(); err != nil {
		m.t.Error(err)
	}
}

func (m *model) fresh() string {
	m.t.Helper()
	dir, err := os.MkdirTemp(m.root, "model-")
	if err != nil {
		m.t.Fatal(err)
	}
	return dir
}

func (m *model) start(dir string) {
	m.t.Helper()
	p := newPlatter(dir, "boot")
	p.numbers = 16
	var err error
	if m.house, err = openHouse(m.t, p, m.clock.now, m.clock.since); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...))
}

func (m *model) step() {
	switch n := m.dice.IntN(100); {
	case n < 60:
		for range 1 + m.dice.IntN(20) {
			m.call()
		}
	case n < 75:
		m.settle()
	case n < 83:
		d := time.Duration(1+m.dice.IntN(7200)) * time.Second
		if m.dice.IntN(4) == 0 {
			d *= 100
		}
		m.note("pass %v", d)
		m.clock.pass(d)
	case n < 88:
		m.note("flush")
		m.must(m.house.meter.Flush(context.Background()))
	case n < 92:
		m.adjust()
	case n < 96:
		m.quota()
	case n < 98:
		m.restart()
	default:
		m.kill()
	}
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Errorf("%v: %v", err, m.history)
	}
}

// month is a key's sums of now.
func (m *model) month(k *modelKey) *sums {
	ordinal := usage.Months.Ordinal(m.clock.now())
	if k.months[ordinal] == nil {
		k.months[ordinal] = &sums{}
	}
	return k.months[ordinal]
}

func (m *model) call() {
	k := m.keys[m.dice.IntN(len(m.keys))]
	route, cost := plainRoute, int64(1)
	if m.dice.IntN(3) == 0 {
		route, cost = heavyRoute, heavyCost
	}
	s := m.month(k)
	ticket, refusal, err := m.house.decided(k.secrets[0], route)
	m.must(err)
	fits := s.used+cost <= k.bound
	m.note("call %s %d", k.keys[0], cost)
	if fits != (refusal == nil) {
		m.t.Errorf("a call that costs %d where %d of %d are used: %+v", cost, s.used, k.bound, refusal)
		return
	}
	if !fits {
		s.refused++
		return
	}
	s.used += cost
	s.calls++
	m.flights = append(m.flights, flight{ticket, s, cost})
	if len(m.flights) > 8 {
		m.settle()
	}
}

// settle ends one of the calls in flight.
func (m *model) settle() {
	if len(m.flights) == 0 {
		return
	}
	i := m.dice.IntN(len(m.flights))
	f := m.flights[i]
	m.flights = append(m.flights[:i], m.flights[i+1:]...)
	switch m.dice.IntN(6) {
	case 0:
		m.note("refund")
		f.ticket.Settle(gate.Answer{Status: 500})
		f.of.used -= f.cost
		f.of.calls--
	case 1:
		m.note("gone")
		f.ticket.Settle(gate.Answer{Gone: true})
	default:
		m.note("bill")
		f.ticket.Settle(gate.Answer{Status: 200})
		f.of.billed += f.cost
	}
	f.ticket.Release()
}

// counter is a key's counter of a unit.
func (k *modelKey) counter(unit string) meter.ID {
	return meter.ID{Owner: meter.Owner{Kind: meter.OfKey, ID: k.keys[0], Mode: apikey.Live}, Unit: unit, Calendar: usage.Months}
}

// adjust corrects what a key has used.
func (m *model) adjust() {
	k := m.keys[m.dice.IntN(len(m.keys))]
	s := m.month(k)
	n := m.dice.Int64N(41) - 20
	m.note("adjust %s %d", k.keys[0], n)
	err := m.house.meter.Counter(k.counter(plan.Requests)).Adjust(context.Background(), m.clock.now(), n)
	m.must(err)
	s.used = max(s.used+n, 0)
}

// quota gives a key another quota.
func (m *model) quota() {
	k := m.keys[m.dice.IntN(len(m.keys))]
	q := monthly(1 + m.dice.Int64N(400))
	m.note("quota %s %d", k.keys[0], q.Limit)
	key, err := m.house.store.Key(context.Background(), k.keys[0])
	m.must(err)
	key.Overrides.Quota = &q
	_, err = m.house.store.Write(context.Background(), store.Mutations{Keys: []apikey.Key{key}})
	m.must(err)
	k.bound = q.Limit
}

// restart stops the house in order: what is in flight has ended by then.
func (m *model) restart() {
	for len(m.flights) > 0 {
		m.settle()
	}
	m.note("restart")
	modelEnds++
	dir := m.house.platter.dir
	m.must(m.house.close())
	m.start(dir)
}

// kill ends the process: what is in flight stays used, and is not billed.
func (m *model) kill() {
	m.note("kill")
	modelEnds++
	next := m.fresh()
	m.must(m.house.platter.kill(next))
	m.flights = nil
	m.must(m.house.close())
	m.must(os.RemoveAll(m.house.platter.dir))
	m.start(next)
}

func (m *model) compare() {
	m.t.Helper()
	for _, k := range m.keys {
		for ordinal, want := range k.months {
			units, err := m.house.meter.Peek(context.Background(), k.counter(plan.Requests), ordinal)
			m.must(err)
			calls, err := m.house.meter.Peek(context.Background(), k.counter(meter.Calls), ordinal)
			m.must(err)
			got := sums{units.Used(), units.Billed, calls.Used(), calls.Refused}
			if got != *want {
				m.t.Errorf("%s in month %d: got %+v, want %+v", k.keys[0], ordinal, got, *want)
			}
		}
	}
}

// compareLedger compares what the Ledger was told with what was counted.
func (m *model) compareLedger() {
	m.t.Helper()
	m.must(m.house.meter.FlushUsage(context.Background()))
	for _, k := range m.keys {
		for ordinal, want := range k.months {
			p := usage.Months.Period(ordinal)
			rows, err := m.house.store.Usage(context.Background(), store.UsageQuery{From: p.Start, To: p.End, Bucket: store.MonthBucket, Key: k.keys[0]})
			m.must(err)
			var got store.UsageCount
			for _, row := range rows {
				got.Requests += row.Requests
				got.Refused += row.Refused
			}
			if got.Requests != want.calls || got.Refused != want.refused {
				m.t.Errorf("the ledger has %d requests and %d refused of %s in month %d, want %d and %d",
					got.Requests, got.Refused, k.keys[0], ordinal, want.calls, want.refused)
			}
		}
	}
}
