// SPDX-License-Identifier: Apache-2.0

package ordered_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/memstore"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func TestListsAnswerTheSameByEveryWay(t *testing.T) {
	storetest.Run(t, func(t testing.TB) (store.Engine, func() store.Engine) {
		e := memstore.New()
		e.Tire()
		t.Cleanup(func() { e.Close() })
		return e, nil
	})
}

// TestMovingManyKeysLeavesNothingBehind changes the plan of a customer of many
// keys while others write those keys, and compares every index afterwards.
func TestMovingManyKeysLeavesNothingBehind(t *testing.T) {
	ctx := context.Background()
	e := memstore.New()
	defer e.Close()
	m := store.Mutations{Customers: []customer.Customer{storetest.Customer(1)}}
	for n := range 1400 {
		m.Keys = append(m.Keys, storetest.Key(n, storetest.ID("cust", 1)))
	}
	write := func(m store.Mutations) {
		t.Helper()
		if _, err := e.Write(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	write(m)
	for round, plan := range []string{"pro", "", "free", "vip", "pro"} {
		c, err := e.Customer(ctx, store.CustomerRef{ID: storetest.ID("cust", 1)})
		if err != nil {
			t.Fatal(err)
		}
		c.Plan = plan
		m := store.Mutations{Customers: []customer.Customer{c}}
		for n := round * 7; n < 1400; n += 90 {
			k, err := e.Key(ctx, storetest.ID("key", n))
			if err != nil {
				t.Fatal(err)
			}
			k.Plan = []string{"", "pro", "own"}[n%3]
			if n%5 == 0 {
				k.State = apikey.Revoked
			}
			m.Keys = append(m.Keys, k)
		}
		write(m)
		if findings, err := e.Check(ctx, nil); err != nil || len(findings) > 0 {
			t.Fatalf("after plan %q: got %v, %v", plan, findings, err)
		}
	}
}

func TestLoansThatEndedAreForgotten(t *testing.T) {
	ctx := context.Background()
	e := memstore.New()
	defer e.Close()
	for n := range 1200 {
		ends := storetest.Start
		if n%3 == 0 {
			ends = ends.AddDate(0, 1, 0)
		}
		_, err := e.Take(ctx, []store.Ask{{Bucket: fmt.Sprint("b", n), Node: "n", Limit: 10, Taken: 10, Ends: ends}})
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Retain(ctx, e, store.Cutoffs{Loans: storetest.Start.AddDate(0, 0, 1)})
	if err != nil || got.Loans != 800 {
		t.Errorf("got %+v, %v, want 800 loans forgotten", got, err)
	}
	loans, err := e.Take(ctx, []store.Ask{
		{Bucket: "b0", Node: "m", Limit: 10, Taken: 1}, {Bucket: "b1", Node: "m", Limit: 10, Taken: 1},
	})
	if err != nil || loans[0].Taken != 0 || loans[1].Taken != 1 {
		t.Errorf("got %+v, %v, want the first still lent out and the second fresh", loans, err)
	}
}
