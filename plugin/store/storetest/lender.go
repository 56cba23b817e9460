// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

func runLender(t *testing.T, open Open) {
	each(t, open, "units are lent up to the limit", lendsToLimit)
	each(t, open, "a repeated or late call lends nothing more", lendsOnce)
	each(t, open, "a limit that shrinks lends nothing until there is room", lendsWithin)
	each(t, open, "what a node spent past its loan is kept from others", lendsOverspent)
	each(t, open, "nodes that lose replies never have more than the limit", lendsUnderLoss)
}

func ask(bucket, node string, limit, spent, taken int64) store.Ask {
	return store.Ask{Bucket: bucket, Node: node, Limit: limit, Spent: spent, Taken: taken, Ends: Start.Add(time.Hour)}
}

func lent(t *testing.T, e store.Engine, want store.Loan, a store.Ask) {
	t.Helper()
	got, err := e.Take(context.Background(), []store.Ask{a})
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v: got %+v, %v, want %+v", a, got, err, want)
	}
}

func lendsToLimit(t *testing.T, e store.Engine) {
	lent(t, e, store.Loan{Taken: 60, Left: 40}, ask("b", "n1", 100, 0, 60))
	lent(t, e, store.Loan{Taken: 40, Left: 0}, ask("b", "n2", 100, 0, 60))
	lent(t, e, store.Loan{Taken: 60, Left: 0}, ask("b", "n1", 100, 60, 80))
	lent(t, e, store.Loan{Taken: 10, Left: 90}, ask("b2", "n1", 100, 0, 10))
	got, err := e.Take(context.Background(), []store.Ask{ask("b3", "n1", 5, 0, 5), ask("b3", "n2", 5, 0, 5)})
	if err != nil || len(got) != 2 || got[0].Taken != 5 || got[1].Taken != 0 {
		t.Errorf("two asks of one call: got %+v, %v, want 5 and 0", got, err)
	}
}

func lendsOnce(t *testing.T, e store.Engine) {
	lent(t, e, store.Loan{Taken: 20, Left: 80}, ask("b", "n", 100, 0, 20))
	lent(t, e, store.Loan{Taken: 50, Left: 50}, ask("b", "n", 100, 15, 50))
	lent(t, e, store.Loan{Taken: 50, Left: 50}, ask("b", "n", 100, 15, 50))
	lent(t, e, store.Loan{Taken: 50, Left: 50}, ask("b", "n", 100, 0, 20))
}

func lendsWithin(t *testing.T, e store.Engine) {
	lent(t, e, store.Loan{Taken: 80, Left: 20}, ask("b", "n1", 100, 0, 80))
	lent(t, e, store.Loan{Taken: 80, Left: 0}, ask("b", "n1", 50, 0, 90))
	lent(t, e, store.Loan{Taken: 0, Left: 0}, ask("b", "n2", 50, 0, 1))
	lent(t, e, store.Loan{Taken: 10, Left: 10}, ask("b", "n2", 100, 0, 10))
}

func lendsOverspent(t *testing.T, e store.Engine) {
	lent(t, e, store.Loan{Taken: 10, Left: 90}, ask("b", "n1", 100, 0, 10))
	lent(t, e, store.Loan{Taken: 10, Left: 5}, ask("b", "n1", 100, 95, 10))
	lent(t, e, store.Loan{Taken: 5, Left: 0}, ask("b", "n2", 100, 0, 50))
}

// lendsUnderLoss is a simulation: nodes ask for more as they run out, a third of
// the replies is lost, and some calls are repeated late.
func lendsUnderLoss(t *testing.T, e store.Engine) {
	const limit, nodes = 1000, 4
	var wg sync.WaitGroup
	spent := make([]int64, nodes)
	for n := range nodes {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 7)) //nolint:gosec // a test that can be repeated
			node := fmt.Sprint("node", n)
			var may int64
			var late []store.Ask
			for range 120 {
				a := ask("b", node, limit, spent[n], spent[n]+1+random.Int64N(40))
				if len(late) > 0 && random.IntN(4) == 0 {
					a = late[random.IntN(len(late))]
				}
				late = append(late, a)
				got, err := e.Take(context.Background(), []store.Ask{a})
				if err != nil {
					t.Errorf("take: %v", err)
					return
				}
				if random.IntN(3) == 0 {
					continue // the reply is lost
				}
				if may = max(may, got[0].Taken); spent[n] < may {
					spent[n] += 1 + random.Int64N(may-spent[n])
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, s := range spent {
		total += s
	}
	if total > limit {
		t.Errorf("got %d units spent, want at most %d", total, limit)
	}
	if total < limit/2 {
		t.Errorf("got %d units spent: the simulation lends too little to show anything", total)
	}
}
