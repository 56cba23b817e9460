// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

func runDirectory(t *testing.T, open Open) {
	each(t, open, "a key is found by its hash, with its customer", lookupFinds)
	each(t, open, "both secrets of a rotation are found until one is ended", lookupRotated)
	each(t, open, "a record is read as it was written", readsAsWritten)
	each(t, open, "a customer is found by each of its references", customerRefs)
	each(t, open, "what must be unique stays unique", unique)
	each(t, open, "one write may hand a unique field from one record to another", uniqueHandedOver)
	each(t, open, "a write that names a former revision changes nothing", conflicts)
	each(t, open, "a write is made as a whole or not at all", atomicWrites)
	each(t, open, "a plan that is held is not deleted", plansInUse)
	each(t, open, "a customer has no more live keys than allowed", maxKeys)
	each(t, open, "counts follow every write", counts)
	each(t, open, "journal records are written with the mutations or not at all", recordsWithMutations)
}

func lookupFinds(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{
		Customers: []customer.Customer{Customer(1), Customer(2)},
		Keys:      []apikey.Key{Key(1, ID("cust", 1)), Key(2, ID("cust", 2))},
	})
	got, err := e.Lookup(context.Background(), []apikey.Hash{Hash(2), Hash(9), Hash(1)})
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v, want three matches", got, err)
	}
	if !got[0].Found || got[0].Key.ID != ID("key", 2) || got[0].Customer.ID != ID("cust", 2) {
		t.Errorf("got %+v, want key 2 and its customer", got[0])
	}
	if got[1].Found {
		t.Errorf("got %+v for a hash nobody has", got[1])
	}
	if !got[2].Found || got[2].Key.ID != ID("key", 1) {
		t.Errorf("got %+v, want key 1", got[2])
	}
}

func find(t *testing.T, e store.Engine, n int) store.Match {
	t.Helper()
	got, err := e.Lookup(context.Background(), []apikey.Hash{Hash(n)})
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	return got[0]
}

func lookupRotated(t *testing.T, e store.Engine) {
	k := Key(1, ID("cust", 1))
	k.Revision = 0
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: []apikey.Key{k}})
	k = key(t, e, k.ID)
	k.Secrets = []apikey.HeldSecret{{Hash: Hash(100)}, {Hash: Hash(1), EndsAt: Start}}
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	for _, n := range []int{1, 100} {
		if m := find(t, e, n); !m.Found || m.Key.ID != k.ID || len(m.Key.Secrets) != 2 {
			t.Errorf("secret %d: got %+v, want the key with two secrets", n, m)
		}
	}
	k = key(t, e, k.ID)
	k.Secrets = []apikey.HeldSecret{{Hash: Hash(101)}, {Hash: Hash(100)}}
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	if m := find(t, e, 1); m.Found {
		t.Error("a third secret was added, and the first is still found")
	}
}

func key(t *testing.T, e store.Engine, id string) apikey.Key {
	t.Helper()
	k, err := e.Key(context.Background(), id)
	if err != nil {
		t.Fatalf("key %s: %v", id, err)
	}
	return k
}

func cust(t *testing.T, e store.Engine, id string) customer.Customer {
	t.Helper()
	c, err := e.Customer(context.Background(), store.CustomerRef{ID: id})
	if err != nil {
		t.Fatalf("customer %s: %v", id, err)
	}
	return c
}

func readsAsWritten(t *testing.T, e store.Engine) {
	c := Customer(1)
	c.Subscription = &customer.Subscription{ID: "sub_1", Status: customer.PastDue, Plan: "pro", GraceUntil: Start}
	c.PlanOverride = customer.PlanOverride{Plan: "vip", Until: Start, Reason: "thanks"}
	k := Key(1, c.ID)
	k.Scopes, k.ExpiresAt = []string{"chat"}, Start.Add(time.Hour)
	k.Overrides = plan.Overrides{Quota: &plan.Quota{Unit: plan.Requests, Limit: 7, Span: plan.Day, Scope: plan.PerKey, Overage: plan.Block}}
	revision := write(t, e, store.Mutations{Customers: []customer.Customer{c}, Keys: []apikey.Key{k}, Plans: []plan.Plan{Plan("vip")}})
	c.Revision, k.Revision = revision, revision
	if got := cust(t, e, c.ID); !reflect.DeepEqual(got, c) {
		t.Errorf("got customer %+v, want %+v", got, c)
	}
	if got := key(t, e, k.ID); !reflect.DeepEqual(got, k) {
		t.Errorf("got key %+v, want %+v", got, k)
	}
	plans, err := e.Plans(context.Background())
	if err != nil || len(plans) != 1 || plans[0].ID != "vip" || plans[0].Revision != revision {
		t.Errorf("got plans %+v, %v, want vip", plans, err)
	}
	if _, err := e.Key(context.Background(), "key_nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key that is not there: got %v, want ErrNotFound", err)
	}
}

func customerRefs(t *testing.T, e store.Engine) {
	c := Customer(1)
	c.StripeCustomer = "cus_1"
	write(t, e, store.Mutations{Customers: []customer.Customer{c, Customer(2)}})
	for _, ref := range []store.CustomerRef{
		{ID: c.ID}, {Email: c.Email}, {ExternalID: c.ExternalID}, {StripeCustomer: "cus_1"},
	} {
		if got, err := e.Customer(context.Background(), ref); err != nil || got.ID != c.ID {
			t.Errorf("%+v: got %s, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []store.CustomerRef{{}, {ID: "cust_nobody"}, {Email: "user-1"}, {StripeCustomer: "cus_2"}} {
		if _, err := e.Customer(context.Background(), ref); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: got %v, want ErrNotFound", ref, err)
		}
	}
}

func unique(t *testing.T, e store.Engine) {
	first := Customer(1)
	first.StripeCustomer = "cus_1"
	write(t, e, store.Mutations{Customers: []customer.Customer{first}, Keys: []apikey.Key{Key(1, first.ID)}})
	taken := func(field string, owner string, m store.Mutations) {
		t.Helper()
		_, err := e.Write(context.Background(), m)
		var d *store.DuplicateError
		if !errors.As(err, &d) || d.Field != field || d.ID != owner {
			t.Errorf("%s: got %v, want it taken by %s", field, err, owner)
		}
	}
	with := func(change func(*customer.Customer)) store.Mutations {
		c := Customer(2)
		change(&c)
		return store.Mutations{Customers: []customer.Customer{c}}
	}
	taken("email", first.ID, with(func(c *customer.Customer) { c.Email = first.Email }))
	taken("external_id", first.ID, with(func(c *customer.Customer) { c.ExternalID = first.ExternalID }))
	taken("stripe_customer_id", first.ID, with(func(c *customer.Customer) { c.StripeCustomer = "cus_1" }))
	taken("id", first.ID, with(func(c *customer.Customer) { c.ID = first.ID }))
	k := Key(2, first.ID)
	k.Secrets[0].Hash = Hash(1)
	taken("hash", ID("key", 1), store.Mutations{Keys: []apikey.Key{k}})
	a, b := Customer(3), Customer(4)
	b.Email = a.Email
	taken("email", a.ID, store.Mutations{Customers: []customer.Customer{a, b}})
	if n, _ := e.Count(context.Background()); n.Customers != 1 {
		t.Errorf("got %d customers after refused writes, want 1", n.Customers)
	}
}

func uniqueHandedOver(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1), Customer(2)}})
	a, b := cust(t, e, ID("cust", 1)), cust(t, e, ID("cust", 2))
	a.Email, b.Email = b.Email, a.Email
	write(t, e, store.Mutations{Customers: []customer.Customer{a, b}})
	got, err := e.Customer(context.Background(), store.CustomerRef{Email: a.Email})
	if err != nil || got.ID != a.ID {
		t.Errorf("got %s, %v, want %s", got.ID, err, a.ID)
	}
}

func conflicts(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Plans: []plan.Plan{Plan("p")}})
	mine := cust(t, e, ID("cust", 1))
	theirs := mine
	theirs.Name = "theirs"
	write(t, e, store.Mutations{Customers: []customer.Customer{theirs}})
	mine.Name = "mine"
	if _, err := e.Write(context.Background(), store.Mutations{Customers: []customer.Customer{mine}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if got := cust(t, e, mine.ID); got.Name != "theirs" {
		t.Errorf("got name %q, want what was written first", got.Name)
	}
	gone := Customer(9)
	gone.Revision = 1
	if _, err := e.Write(context.Background(), store.Mutations{Customers: []customer.Customer{gone}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a change of a customer that is not there: got %v, want ErrNotFound", err)
	}
	if _, err := e.Write(context.Background(), store.Mutations{Keys: []apikey.Key{Key(1, "cust_nobody")}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key of nobody: got %v, want ErrNotFound", err)
	}
	p := Plan("p")
	p.Revision = 77
	if _, err := e.Write(context.Background(), store.Mutations{Plans: []plan.Plan{p}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a plan of a former revision: got %v, want ErrConflict", err)
	}
}

func atomicWrites(t *testing.T, e store.Engine) {
	before := write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: []apikey.Key{Key(1, ID("cust", 1))}})
	bad := Key(3, ID("cust", 1))
	bad.Secrets[0].Hash = Hash(1)
	_, err := e.Write(context.Background(), store.Mutations{
		Customers: []customer.Customer{Customer(2)},
		Keys:      []apikey.Key{Key(2, ID("cust", 2)), bad},
		Plans:     []plan.Plan{Plan("p")},
	})
	if err == nil {
		t.Fatal("a duplicate hash was accepted")
	}
	if _, err := e.Customer(context.Background(), store.CustomerRef{Email: Customer(2).Email}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("customer of a failed write: got %v, want ErrNotFound", err)
	}
	if m := find(t, e, 2); m.Found {
		t.Error("key of a failed write is found")
	}
	if after, _ := e.Revision(context.Background()); after != before {
		t.Errorf("got revision %d after a failed write, want %d", after, before)
	}
}

func plansInUse(t *testing.T, e store.Engine) {
	c := Customer(1)
	c.Plan = "held"
	k := Key(1, c.ID)
	k.Plan = "own"
	write(t, e, store.Mutations{
		Plans:     []plan.Plan{Plan("held"), Plan("own"), Plan("free")},
		Customers: []customer.Customer{c}, Keys: []apikey.Key{k},
	})
	for _, id := range []string{"held", "own"} {
		if _, err := e.Write(context.Background(), store.Mutations{DeletePlans: []string{id}}); !errors.Is(err, store.ErrInUse) {
			t.Errorf("plan %s: got %v, want ErrInUse", id, err)
		}
	}
	write(t, e, store.Mutations{DeletePlans: []string{"free"}})
	if _, err := e.Write(context.Background(), store.Mutations{DeletePlans: []string{"free"}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a plan deleted twice: got %v, want ErrNotFound", err)
	}
	k = key(t, e, k.ID)
	k.State = apikey.Revoked
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	write(t, e, store.Mutations{DeletePlans: []string{"own"}})
	c = cust(t, e, c.ID)
	c.Plan = ""
	write(t, e, store.Mutations{Customers: []customer.Customer{c}, DeletePlans: []string{"held"}})
	if plans, _ := e.Plans(context.Background()); len(plans) != 0 {
		t.Errorf("got %d plans, want none", len(plans))
	}
}

func maxKeys(t *testing.T, e store.Engine) {
	c := Customer(1)
	write(t, e, store.Mutations{Customers: []customer.Customer{c}})
	now := Start.Add(time.Hour)
	add := func(n int, change func(*apikey.Key)) error {
		k := Key(n, c.ID)
		change(&k)
		_, err := e.Write(context.Background(), store.Mutations{
			Keys: []apikey.Key{k}, MaxKeys: []store.MaxKeys{{Customer: c.ID, Live: 2, Now: now}},
		})
		return err
	}
	for n, change := range []func(*apikey.Key){
		func(*apikey.Key) {},
		func(k *apikey.Key) { k.State = apikey.Revoked },
		func(k *apikey.Key) { k.ExpiresAt = now },
		func(k *apikey.Key) { k.State = apikey.Disabled },
	} {
		if err := add(n, change); err != nil {
			t.Fatalf("key %d: %v", n, err)
		}
	}
	if err := add(8, func(*apikey.Key) {}); !errors.Is(err, store.ErrTooManyKeys) {
		t.Errorf("a third live key: got %v, want ErrTooManyKeys", err)
	}
	if m := find(t, e, 8); m.Found {
		t.Error("the refused key was kept")
	}
	if err := add(9, func(k *apikey.Key) { k.State = apikey.Revoked }); err != nil {
		t.Errorf("a revoked key beside two live ones: %v", err)
	}
}

func counts(t *testing.T, e store.Engine) {
	write(t, e, store.Mutations{
		Customers: []customer.Customer{Customer(1), Customer(2)},
		Keys:      []apikey.Key{Key(1, ID("cust", 1)), Key(2, ID("cust", 1)), Key(3, ID("cust", 2))},
	})
	k := key(t, e, ID("key", 2))
	k.State = apikey.Revoked
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	k = key(t, e, ID("key", 3))
	k.State = apikey.Disabled
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	got, err := e.Count(context.Background())
	want := map[apikey.State]int64{apikey.Active: 1, apikey.Disabled: 1, apikey.Revoked: 1}
	if err != nil || got.Customers != 2 || !reflect.DeepEqual(got.Keys, want) {
		t.Errorf("got %+v, %v, want 2 customers and %v", got, err, want)
	}
}

func recordsWithMutations(t *testing.T, e store.Engine) {
	ctx := context.Background()
	audit := store.Record{Book: store.Audit, Key: []byte("a1"), Value: []byte("made")}
	_, err := e.Write(ctx, store.Mutations{
		Customers: []customer.Customer{Customer(1)},
		Records: store.Batch{
			Expect: []store.Record{{Book: store.Idempotency, Key: []byte("i1"), Value: []byte("running")}},
			Put:    []store.Record{audit},
		},
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if _, err := e.Customer(ctx, store.CustomerRef{ID: ID("cust", 1)}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the customer: got %v, want ErrNotFound", err)
	}
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Records: store.Batch{Put: []store.Record{audit}}})
	if got, err := e.Read(ctx, store.Audit, []byte("a1")); err != nil || string(got) != "made" {
		t.Errorf("got %q, %v, want the record", got, err)
	}
	before, _ := e.Revision(ctx)
	if after := write(t, e, store.Mutations{Records: store.Batch{Put: []store.Record{audit}}}); after != before {
		t.Errorf("got revision %d for records alone, want %d", after, before)
	}
}
