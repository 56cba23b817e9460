// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// model is the simplest thing that counts: a reading for each counter and
// period, changed by the book.
type model map[SlotRef]*Reading

func (m model) at(id ID, ordinal int64) *Reading {
	ref := SlotRef{id, ordinal}
	if m[ref] == nil {
		m[ref] = &Reading{Period: id.Calendar.Period(ordinal)}
	}
	return m[ref]
}

// modelHold is a hold with what the model knows of it.
type modelHold struct {
	hold  Hold
	of    *Reading
	units int64
	quota int64
	over  int64
}

// TestTheMeterAgreesWithAModel does at random what may be done to a meter, and
// compares every counter with the model again and again.
func TestTheMeterAgreesWithAModel(t *testing.T) {
	for _, place := range []struct {
		name  string
		files bool
		write bool
	}{{"in memory", false, false}, {"mapped", true, false}, {"written", true, true}} {
		t.Run(place.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			s := &simulation{
				t: t, r: rand.New(rand.NewPCG(seed, 0)), model: make(model), engine: newEngine(),
				clock: newHand(start), sealed: make(map[SlotRef]int64),
			}
			s.hooks = s.disk.hooks(place.write)
			if place.files {
				s.dir = t.TempDir()
			}
			for i := range 6 {
				for _, c := range []usage.Calendar{usage.Hours, usage.Days, usage.Months, usage.MonthsFrom(start.AddDate(0, -2, -7))} {
					id := keyID(fmt.Sprint(i))
					id.Unit, id.Calendar = []string{plan.Requests, "tokens"}[i%2], c
					s.ids = append(s.ids, id)
				}
			}
			s.start()
			for step := range 6000 {
				s.step()
				if step%500 == 499 {
					s.compare()
				}
				if t.Failed() {
					t.Fatalf("after step %d", step)
				}
			}
			s.stop(true)
		})
	}
}

type simulation struct {
	t      *testing.T
	r      *rand.Rand
	model  model
	engine *engine
	clock  *hand
	disk   disk
	hooks  *hooks
	dir    string
	meter  *Meter
	ids    []ID
	holds  []modelHold
	sealed map[SlotRef]int64
}

func (s *simulation) start() {
	m, err := Open(s.t.Context(), Options{
		Dir: s.dir, Journal: s.engine, Ledger: s.engine, Node: "one",
		Now: s.clock.now, hooks: s.hooks, numbers: worldNumbers,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.meter = m
}

// stop ends the meter gracefully, or by a crash of the process. Requests in
// flight stay used.
func (s *simulation) stop(gracefully bool) {
	s.holds = nil
	if gracefully {
		if err := s.meter.Close(context.Background()); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	s.meter.closing.Do(func() { close(s.meter.stop); s.meter.done.Wait() })
	copied := s.t.TempDir()
	names, err := filepath.Glob(filepath.Join(s.dir, "slots*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range names {
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, filepath.Base(path)), b, 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.dir, s.engine = copied, s.engine.clone()
}

func (s *simulation) step() {
	id := s.ids[s.r.IntN(len(s.ids))]
	now := s.clock.now()
	ordinal := id.Calendar.Ordinal(now)
	switch n := s.r.IntN(1000); {
	case n < 450:
		s.reserve(id, now, s.model.at(id, ordinal))
	case n < 850:
		s.settle()
	case n < 880:
		units := s.r.Int64N(60) - 30
		of := s.model.at(id, ordinal)
		if err := s.meter.Counter(id).Adjust(s.t.Context(), now, units); err != nil {
			s.t.Error(err)
		}
		if units >= 0 {
			of.Admitted += units
		} else {
			of.Refunded += min(-units, of.Used())
		}
	case n < 900:
		c := s.meter.Counter(id)
		if c.current.Load() != nil && c.current.Load().ordinal == ordinal {
			c.Refuse(now)
			s.model.at(id, ordinal).Refused++
		}
	case n < 930:
		s.seal(id, ordinal-s.r.Int64N(3))
	case n < 960:
		if err := s.meter.Flush(s.t.Context()); err != nil {
			s.t.Error(err)
		}
	case n < 985:
		s.clock.advance(time.Duration(s.r.Int64N(int64(3 * time.Hour))))
	case n < 990:
		s.clock.advance(time.Duration(s.r.Int64N(int64(40 * 24 * time.Hour))))
	case n < 994 && s.dir != "":
		s.disk.sick.Store(true)
		_ = s.meter.files.sync()
		s.disk.sick.Store(false)
		for range 10 {
			s.meter.files.tick(s.t.Context())
		}
	case n < 996 && s.dir != "":
		s.stop(false)
		s.start()
	case n < 998:
		s.stop(true)
		s.start()
	}
}

func (s *simulation) reserve(id ID, now time.Time, of *Reading) {
	n := s.r.Int64N(8)
	quota := []int64{20, 50, 100}[s.r.IntN(3)]
	bound := []int64{quota, quota + 20, Unlimited}[s.r.IntN(3)]
	h, full, err := s.meter.Counter(id).Reserve(s.t.Context(), now, n, quota, bound)
	if err != nil {
		s.t.Error(err)
		return
	}
	used := of.Admitted - of.Refunded
	if want := bound != Unlimited && used+n > bound; full != want {
		s.t.Errorf("%v: %d units at %d of %d: got full %v, want %v", id, n, used, bound, full, want)
	}
	if full {
		return
	}
	of.Admitted += n
	s.holds = append(s.holds, modelHold{hold: h, of: of, units: n, quota: quota, over: min(max(used+n-quota, 0), n)})
}

func (s *simulation) settle() {
	if len(s.holds) == 0 {
		return
	}
	i := s.r.IntN(len(s.holds))
	h := s.holds[i]
	s.holds = append(s.holds[:i], s.holds[i+1:]...)
	switch s.r.IntN(6) {
	case 5:
		n := s.r.Int64N(12)
		h.hold.Use(n)
		h.of.Admitted += max(n-h.units, 0)
		h.of.Refunded += max(h.units-n, 0)
	case 0:
		h.hold.Cancel()
		h.of.Refunded += h.units
	case 1:
		h.hold.Refund()
		h.of.Refunded += h.units
	case 2:
		h.hold.Keep()
	default:
		n := s.r.Int64N(12)
		h.hold.Bill(n)
		if n < h.units {
			h.of.Refunded += h.units - n
			h.over = max(h.over-(h.units-n), 0)
		} else {
			h.of.Admitted += n - h.units
			h.over += min(max(h.of.Admitted-h.of.Refunded-h.quota, 0), n-h.units)
		}
		h.of.Billed += n
		h.of.Over += h.over
	}
}

func (s *simulation) seal(id ID, ordinal int64) {
	ref := SlotRef{id, ordinal}
	err := s.meter.Seal(s.t.Context(), []SlotRef{ref}, func(found []Sealed) (store.Batch, error) {
		var billed, before int64
		for _, f := range found {
			billed += f.Billed
			before += f.BilledBefore
		}
		if want := s.model.at(id, ordinal).Billed; billed != want || before != s.sealed[ref] {
			s.t.Errorf("%v in %d: got %d billed, %d before, want %d and %d", id, ordinal, billed, before, want, s.sealed[ref])
		}
		s.sealed[ref] = billed
		return store.Batch{}, nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

func (s *simulation) compare() {
	for ref, want := range s.model {
		got, err := s.meter.Peek(s.t.Context(), ref.ID, ref.Ordinal)
		if err != nil || got != *want {
			s.t.Errorf("%v in %d: got %+v, %v, want %+v", ref.ID, ref.Ordinal, got, err, *want)
		}
	}
}
