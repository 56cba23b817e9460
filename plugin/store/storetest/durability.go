// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

func runDurability(t *testing.T, open Open) {
	t.Run("everything is there after a reopen", func(t *testing.T) {
		e, reopen := open(t)
		if reopen == nil {
			t.Skip("the engine keeps nothing")
		}
		everythingReopens(t, e, reopen)
	})
	each(t, open, "a closed engine says so", closed)
	each(t, open, "a cancelled context stops every call", cancelled)
}

func everythingReopens(t *testing.T, e store.Engine, reopen func() store.Engine) {
	cs, ks := population()
	revision := write(t, e, store.Mutations{Customers: cs, Keys: ks, Plans: []plan.Plan{Plan("p")}})
	commit(t, e, record(store.Queue, "k", "v"))
	appendRows(t, e, "n", 3, usageRow(0, "c", "k", 9))
	lent(t, e, store.Loan{Taken: 10, Left: 90}, ask("b", "n", 100, 4, 10))
	e = reopen()
	if got, err := e.Revision(context.Background()); err != nil || got != revision {
		t.Errorf("got revision %d, %v, want %d", got, err, revision)
	}
	if m := find(t, e, 7); !m.Found || m.Key.ID != ID("key", 7) {
		t.Errorf("got %+v, want key 7", m)
	}
	if got := len(allKeys(t, e, store.KeyQuery{Plan: "pro"}, 9)); got == 0 {
		t.Error("no key is listed by plan")
	}
	if n, _ := e.Count(context.Background()); n.Customers != int64(len(cs)) {
		t.Errorf("got %d customers, want %d", n.Customers, len(cs))
	}
	if got := read(t, e, store.Queue, "k"); got != "v" {
		t.Errorf("got %s from the journal", got)
	}
	appendRows(t, e, "n", 3, usageRow(0, "c", "k", 9))
	if got := requests(t, e, store.UsageQuery{}); got != 9 {
		t.Errorf("got %d requests, want 9", got)
	}
	lent(t, e, store.Loan{Taken: 10, Left: 90}, ask("b", "n", 100, 4, 10))
	if next := write(t, e, store.Mutations{Customers: []customer.Customer{Customer(77)}}); next != revision+1 {
		t.Errorf("got revision %d after a reopen, want %d", next, revision+1)
	}
}

// calls makes one call of each method.
func calls(ctx context.Context, e store.Engine) map[string]error {
	to := map[string]error{}
	_, to["Lookup"] = e.Lookup(ctx, []apikey.Hash{Hash(1)})
	_, to["Key"] = e.Key(ctx, "key_x")
	_, to["Customer"] = e.Customer(ctx, store.CustomerRef{ID: "cust_x"})
	_, to["Plans"] = e.Plans(ctx)
	_, to["ListKeys"] = e.ListKeys(ctx, store.KeyQuery{PageQuery: store.PageQuery{Limit: 1}})
	_, to["ListCustomers"] = e.ListCustomers(ctx, store.CustomerQuery{PageQuery: store.PageQuery{Limit: 1}})
	_, to["Count"] = e.Count(ctx)
	_, to["Write"] = e.Write(ctx, store.Mutations{Customers: []customer.Customer{Customer(1)}})
	_, to["Revision"] = e.Revision(ctx)
	_, to["Read"] = e.Read(ctx, store.Queue, []byte("k"))
	to["Scan"] = e.Scan(ctx, store.Queue, store.Range{}, func(_, _ []byte) bool { return true })
	to["Commit"] = e.Commit(ctx, store.Batch{Put: []store.Record{record(store.Queue, "k", "v")}})
	to["Append"] = e.Append(ctx, "n", 1, []store.UsageRow{usageRow(0, "c", "k", 1)})
	_, to["Sequence"] = e.Sequence(ctx, "n")
	_, to["Usage"] = e.Usage(ctx, store.UsageQuery{Bucket: store.HourBucket, To: Start})
	_, to["PruneUsage"] = e.PruneUsage(ctx, Start, Start)
	to["RenameUsage"] = e.RenameUsage(ctx, "a", "b")
	_, to["Take"] = e.Take(ctx, []store.Ask{ask("b", "n", 1, 0, 1)})
	return to
}

func closed(t *testing.T, e store.Engine) {
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	for name, err := range calls(context.Background(), e) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}

func cancelled(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range calls(ctx, e) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	if n, err := e.Count(context.Background()); err != nil || n.Customers != 0 {
		t.Errorf("got %+v, %v after cancelled calls, want nothing written", n, err)
	}
}
