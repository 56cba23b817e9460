// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
)

// blackout is a house under load whose power is cut again and again: each time
// it goes on from what the cut has left. Accounts and their counts outlive it.
type blackout struct {
	t     *testing.T
	dice  *rand.Rand
	root  string
	next  string // what the last cut has left
	house *house
	one   bool // all counters stand in one file: what a cut takes can be told exactly

	accounts []*dimmed
	watched  atomic.Pointer[[]*dimmed] // accounts, for whoever syncs
	charges  []charge
	wave     int

	cuts, openCuts int
	requests       atomic.Int64
	worstUnbilled  int64
	worstQuota     int64
	judged         int

	pause  sync.RWMutex // read: between two moments of a request
	minted []string     // keys whose making was acknowledged; guarded by pause
}

// dimmed is an account whose power is cut.
type dimmed struct {
	account
	settled atomic.Int64 // units billed
	flying  atomic.Int64 // units admitted, and not settled
	durable atomic.Int64 // of settled: when the last sync that succeeded began
	slack   slack
}

// leaseOf bounds what one lease takes of an account's quota.
func leaseOf(bound int64) int64 { return max(2*heavyCost, bound/16) }

func (b *blackout) run(cuts int) {
	b.t.Helper()
	b.openOn(b.fresh())
	for b.cuts < cuts {
		if b.spent() {
			b.close()
			b.open()
		}
		b.traffic()
		b.openOn(b.next)
		b.judge(fmt.Sprintf("after cut %d", b.cuts))
	}
	b.close()
	if err := b.house.close(); err != nil {
		b.t.Error(err)
	}
}

// memoryDir is a directory in memory, where there is one: the platter plays the
// disk, so that a real one only takes time.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "keytoll-crash-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (b *blackout) fresh() string {
	b.t.Helper()
	dir, err := os.MkdirTemp(b.root, "disk-")
	if err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// openOn opens a house on a directory. The power may fail meanwhile, again.
func (b *blackout) openOn(dir string) {
	b.t.Helper()
	for {
		p := newPlatter(dir, filepath.Base(dir))
		p.write = b.dice.IntN(4) == 0
		if !b.one {
			p.numbers = 16
		}
		p.mark = b.mark
		next, moments := "", -1
		if b.cuts > 0 && b.dice.IntN(4) == 0 {
			moments = b.dice.IntN(6)
		}
		var mu sync.Mutex
		p.trap = func() {
			mu.Lock()
			defer mu.Unlock()
			if moments--; moments == -1 {
				next = b.fresh()
				if err := p.cut(next, b.dice); err != nil {
					b.t.Error(err)
				}
			}
		}
		h, err := openHouse(b.t, p, time.Now, nil)
		if err != nil {
			b.t.Fatalf("opening what cut %d has left in %s: %v", b.cuts, dir, err)
		}
		p.mu.Lock()
		p.trap = nil
		p.mu.Unlock()
		mu.Lock()
		again := next
		mu.Unlock()
		if again == "" {
			b.house = h
			return
		}
		b.cuts++
		b.openCuts++
		b.leave(h)
		dir = again
	}
}

// leave ends a house whose power was cut: what it does now is not seen by anybody.
func (b *blackout) leave(h *house) {
	b.t.Helper()
	h.platter.mu.Lock()
	h.platter.mark = nil
	h.platter.mu.Unlock()
	if err := h.close(); err != nil {
		b.t.Error(err)
	}
	if err := os.RemoveAll(h.platter.dir); err != nil {
		b.t.Error(err)
	}
}

// mark notes what is settled when a sync begins, and at its end, that it is durable.
func (b *blackout) mark() func() {
	list := b.watched.Load()
	if list == nil {
		return func() {}
	}
	accounts := *list
	settled := make([]int64, len(accounts))
	for i, a := range accounts {
		settled[i] = a.settled.Load()
	}
	return func() {
		for i, a := range accounts {
			raise(&a.durable, settled[i])
		}
	}
}

// open enrols a new wave of accounts.
func (b *blackout) open() {
	b.t.Helper()
	b.wave++
	b.accounts = nil
	var fresh []*dimmed
	for i := range 3 {
		for _, p := range plans {
			a := &dimmed{account: account{name: fmt.Sprintf("%s-%d-%d", p.id, b.wave, i), plan: p.id, bound: p.bound}}
			if err := b.house.enrol(&a.account); err != nil {
				b.t.Fatal(err)
			}
			fresh = append(fresh, a)
		}
	}
	b.accounts = fresh
	b.watched.Store(&fresh)
	b.judged += len(fresh)
}

func (b *blackout) spent() bool {
	n := 0
	for _, a := range b.accounts {
		if a.refusals.Load() > 0 {
			n++
		}
	}
	return 4*n >= 3*len(b.accounts)
}

// close spends what is left and judges for the last time.
func (b *blackout) close() {
	b.t.Helper()
	for _, a := range b.accounts {
		for refused := 0; refused < 3; {
			ticket, refusal, err := b.house.admit(a.secrets[0], plainRoute)
			if refusal != nil {
				refused++
			} else if err == nil {
				a.forwarded.Add(1)
				a.answered.Add(1)
				ticket.Settle(gate.Answer{Status: 200})
				ticket.Release()
			}
		}
	}
	b.judge("with all quotas spent")
	b.accounts = nil
}

func (b *blackout) judge(when string) {
	b.t.Helper()
	for _, a := range b.accounts {
		c, err := b.house.count(&a.account)
		if err != nil {
			b.t.Fatalf("%s: %v", when, err)
		}
		s := a.slack
		if !b.one {
			s.unbilled = a.answered.Load()
		}
		charges := judge(&a.account, c, s)
		for i := range charges {
			charges[i].of = when + ": " + a.String()
		}
		b.charges = append(b.charges, charges...)
		b.worstUnbilled = max(b.worstUnbilled, a.answered.Load()-c.billed)
		b.worstQuota = max(b.worstQuota, c.used-a.forwarded.Load()+a.refunded.Load())
	}
	late := b.minted[max(len(b.minted)-100, 0):]
	if len(b.accounts) == 0 || b.cuts%100 == 0 {
		late = b.minted
	}
	for _, id := range late {
		if _, err := b.house.store.Key(context.Background(), id); err != nil {
			b.t.Errorf("%s: key %s was acknowledged: %v", when, id, err)
		}
	}
}

func TestNoPowerCutCostsAQuotaOrABill(t *testing.T) {
	withinOneMonth(t)
	for _, one := range []bool{true, false} {
		name := "counters in many files"
		if one {
			name = "counters in one file"
		}
		t.Run(name, func(t *testing.T) {
			b := &blackout{t: t, dice: dice(t.Name()), root: memoryDir(t), one: one}
			b.run((*images + 1) / 2)
			convicted(t, name, b.charges)
			figures.add("power cuts: images", int64(b.cuts))
			figures.add("power cuts: of them while recovering", int64(b.openCuts))
			figures.add("power cuts: requests", b.requests.Load())
			figures.add("power cuts: quotas spent to their end", int64(b.judged))
			figures.add("power cuts: units forwarded over quota", total(b.charges, overrun))
			figures.add("power cuts: units over-billed", total(b.charges, overBilled))
			figures.add("power cuts: admin writes acknowledged and kept", int64(len(b.minted)))
			if one {
				figures.set("power cuts: units past the last sync not billed, worst account", b.worstUnbilled)
				figures.set("power cuts: units of quota lost to leases, worst account", b.worstQuota)
			}
		})
	}
}
