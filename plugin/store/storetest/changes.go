// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

func runChanges(t *testing.T, open Open) {
	each(t, open, "revisions have no gaps and watchers see them in order", watchInOrder)
	each(t, open, "a change is told before its write returns", watchSynchronous)
	each(t, open, "a change names the hashes a key had and has", watchHashes)
	each(t, open, "a failed write is not told", watchFailures)
}

func watchInOrder(t *testing.T, e store.Engine) {
	var mu sync.Mutex
	var told []uint64
	stop := e.Watch(func(c store.Change) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c.Revision)
	})
	defer stop()
	const writers, writes = 8, 20
	var wg sync.WaitGroup
	returned := make([][]uint64, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				revision, err := e.Write(context.Background(), store.Mutations{
					Customers: []customer.Customer{Customer(w*writes + i)},
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				returned[w] = append(returned[w], revision)
			}
		})
	}
	wg.Wait()
	if len(told) != writers*writes {
		t.Fatalf("got %d changes, want %d", len(told), writers*writes)
	}
	for i, revision := range told {
		if revision != uint64(i+1) {
			t.Fatalf("change %d: got revision %d, want %d", i, revision, i+1)
		}
	}
	all := slices.Concat(returned...)
	slices.Sort(all)
	if !slices.Equal(all, told) {
		t.Error("the revisions that writers got are not those that were told")
	}
	if last, _ := e.Revision(context.Background()); last != writers*writes {
		t.Errorf("got revision %d, want %d", last, writers*writes)
	}
}

func watchSynchronous(t *testing.T, e store.Engine) {
	var last store.Change
	stop := e.Watch(func(c store.Change) { last = c })
	for n := range 3 {
		revision := write(t, e, store.Mutations{Customers: []customer.Customer{Customer(n)}, Plans: []plan.Plan{Plan(fmt.Sprint("p", n))}})
		if last.Revision != revision || !slices.Equal(last.Customers, []string{ID("cust", n)}) || !slices.Equal(last.Plans, []string{fmt.Sprint("p", n)}) {
			t.Errorf("write %d returned and %+v was told", revision, last)
		}
	}
	write(t, e, store.Mutations{DeletePlans: []string{"p1"}})
	if !slices.Equal(last.Plans, []string{"p1"}) {
		t.Errorf("a deleted plan: got %+v", last)
	}
	stop()
	last = store.Change{}
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(9)}})
	if last.Revision != 0 {
		t.Error("a change was told after stop")
	}
}

func watchHashes(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: []apikey.Key{Key(1, ID("cust", 1))}})
	var last store.Change
	defer e.Watch(func(c store.Change) { last = c })()
	k := key(t, e, ID("key", 1))
	k.Secrets = []apikey.HeldSecret{{Hash: Hash(50)}}
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	if len(last.Keys) != 1 {
		t.Fatalf("got %+v, want one key", last)
	}
	c := last.Keys[0]
	if c.ID != k.ID || c.Customer != k.Customer || len(c.Hashes) != 2 ||
		!slices.Contains(c.Hashes, Hash(1)) || !slices.Contains(c.Hashes, Hash(50)) {
		t.Errorf("got %+v, want the key's former and new hash", c)
	}
}

func watchFailures(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}})
	told := 0
	defer e.Watch(func(store.Change) { told++ })()
	if _, err := e.Write(context.Background(), store.Mutations{Customers: []customer.Customer{Customer(1)}}); err == nil {
		t.Fatal("a customer was made twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Write(ctx, store.Mutations{Customers: []customer.Customer{Customer(2)}}); err == nil {
		t.Fatal("a write in a cancelled context was made")
	}
	if told != 0 {
		t.Errorf("%d changes were told of writes that failed", told)
	}
}
