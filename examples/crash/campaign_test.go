// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// accused is a gateway that is killed and judged.
type accused interface {
	Spawn()
	Await() // until it decides requests
	Kill()
	url() string
	// enrol makes the account's keys.
	enrol(a *account)
	// count says what the gateway counted of an account.
	count(a *account) counted
}

// campaign kills a gateway again and again while clients spend quotas.
type campaign struct {
	t        *testing.T
	accused  accused
	upstream *upstream
	dice     *rand.Rand
	// between is what else is done to the gateway: it is begun once the gateway
	// decides requests, and ends soon after the kill. Nil: nothing.
	between func() (end func())
	longest int // milliseconds until a kill; 0: 300

	wave     int
	accounts []*account
	charges  []charge
	killed   int
	requests int64
	inFlight int64 // when killed
	lost     int64 // answers that are not billed
	overruns int64
	judged   int
}

// clients is how many send requests at once.
const clients = 6

// run kills so many times. Whenever the quotas are spent it judges the accounts
// for the last time and goes on with new ones.
func (c *campaign) run(kills int) {
	c.t.Helper()
	c.accused.Spawn()
	c.accused.Await()
	for c.killed = 0; c.killed < kills; {
		if c.spent() {
			c.close()
			c.open()
		}
		l := &load{t: c.t, url: c.accused.url(), accounts: c.accounts}
		l.run(c.dice, clients)
		end := func() {}
		if c.between != nil {
			end = c.between()
		}
		pause(c.dice, 20, max(c.longest, 300))
		c.kill()
		l.end()
		end()
		l.check()
		c.requests += l.requests.Load()
		c.inFlight += l.died.Load()
		c.accused.Spawn()
		if c.dice.IntN(6) == 0 {
			pause(c.dice, 0, 400)
			c.kill() // while it starts
			c.accused.Spawn()
		}
		c.accused.Await()
		c.judge(fmt.Sprintf("after kill %d", c.killed))
	}
	c.close()
}

// pause waits for a random time, in milliseconds: how far the gateway gets
// until the kill.
func pause(r *rand.Rand, from, to int) {
	<-time.After(time.Duration(from+r.IntN(to-from)) * time.Millisecond)
}

func (c *campaign) kill() {
	c.accused.Kill()
	c.killed++
}

// open enrols a new wave of accounts.
func (c *campaign) open() {
	c.wave++
	c.accounts = nil
	for i := range 4 {
		for _, plan := range plans {
			a := &account{name: fmt.Sprintf("%s-%d-%d", plan.id, c.wave, i), plan: plan.id, bound: plan.bound}
			c.accused.enrol(a)
			c.upstream.open(a)
			c.accounts = append(c.accounts, a)
		}
	}
	c.judged += len(c.accounts)
}

// spent reports whether most accounts have used their quotas up.
func (c *campaign) spent() bool {
	n := 0
	for _, a := range c.accounts {
		if a.refusals.Load() > 0 {
			n++
		}
	}
	return 4*n >= 3*len(c.accounts)
}

// close spends what is left of the accounts and judges them for the last time.
func (c *campaign) close() {
	l := &load{t: c.t, url: c.accused.url(), accounts: c.accounts, statuses: make(map[int]int64)}
	for _, a := range c.accounts {
		l.drain(a)
	}
	c.requests += l.requests.Load()
	c.judge("with all quotas spent")
	for _, a := range c.accounts {
		c.overruns += max(a.forwarded.Load()-a.refunded.Load()-a.bound, 0)
		c.lost += max(a.answered.Load()-c.accused.count(a).billed, 0)
	}
	c.accounts = nil
}

func (c *campaign) judge(when string) {
	for _, a := range c.accounts {
		lost := a.lost.Load() + a.hungUp.Load()
		charges := judge(a, c.accused.count(a), slack{unbilled: lost, quota: lost, exact: true})
		for i := range charges {
			charges[i].of = when + ": " + a.String()
		}
		c.charges = append(c.charges, charges...)
	}
}

// tell prints the campaign's figures.
func (c *campaign) tell(who string) {
	figures.set(who+": kill -9", int64(c.killed))
	figures.set(who+": requests", c.requests)
	figures.set(who+": quotas spent to their end", int64(c.judged))
	figures.set(who+": requests in flight per kill", fmt.Sprintf("%.1f", float64(c.inFlight)/float64(max(c.killed, 1))))
	figures.set(who+": units forwarded over quota", c.overruns)
	figures.set(who+": units over-billed", total(c.charges, overBilled))
	figures.set(who+": units that reached a client uncounted", total(c.charges, uncounted))
	figures.set(who+": units answered and not billed per kill", fmt.Sprintf("%.1f", float64(c.lost)/float64(max(c.killed, 1))))
}

// plans are what accounts are sold.
var plans = []struct {
	id      string
	grammar string
	bound   int64
	keys    int
}{
	{"solo", "quota 300/month", 300, 1},
	{"pool", "quota 500/month per customer", 500, 3},
	{"over", "quota 200/month overage bill max 100", 300, 1},
}
