// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

func runLists(t *testing.T, open Open) {
	each(t, open, "keys are listed by every combination of filters, newest first", listsKeys)
	each(t, open, "customers are listed by plan and prefix, newest first", listsCustomers)
	each(t, open, "a plan's list follows when a customer changes plan", listsFollowPlans)
	each(t, open, "a plan's list follows a customer of many keys", listsFollowManyKeys)
	each(t, open, "a cursor holds while records are made, changed and revoked", listsWhileWriting)
	each(t, open, "a long or strange prefix finds what begins with it", listsStrangePrefixes)
}

// population is what the list tests list: customers and keys of every kind.
func population() (cs []customer.Customer, ks []apikey.Key) {
	plans := []string{"free", "pro", ""}
	for n := range 6 {
		c := Customer(n)
		c.Plan = plans[n%3]
		cs = append(cs, c)
	}
	for n := range 120 {
		k := Key(n, ID("cust", n%5))
		k.Plan = []string{"", "", "pro", "vip"}[n%4]
		k.State = []apikey.State{apikey.Active, apikey.Active, apikey.Active, apikey.Disabled, apikey.Revoked}[n%5*7%5]
		if n%6 == 0 {
			k.ExpiresAt = Start.Add(time.Duration(n) * time.Minute)
		}
		k.Name = fmt.Sprintf("%s %d", []string{"Server", "SERVICE", "laptop"}[n%3], n)
		ks = append(ks, k)
	}
	return cs, ks
}

func listsKeys(t *testing.T, e store.Engine) {
	cs, ks := population()
	write(t, e, store.Mutations{Customers: cs, Keys: ks})
	now := Start.Add(time.Hour)
	matched := 0
	for _, customer := range []string{"", ID("cust", 1), ID("cust", 5), "cust_nobody"} {
		for _, plan := range []string{"", "free", "pro", "vip", "none"} {
			for _, status := range []apikey.Status{"", apikey.StatusActive, apikey.StatusDisabled, apikey.StatusRevoked, apikey.StatusExpired} {
				for _, prefix := range []string{"", "serv", "SERVER 6", "sk_live_001", "key_01hx", ID("key", 42), "zzz"} {
					q := store.KeyQuery{Customer: customer, Plan: plan, OrNone: plan == "pro" || plan == "none", Status: status, Now: now}
					q.Prefix = prefix
					var want []string
					for _, k := range slices.Backward(ks) {
						if keyMatches(&k, cs, q) {
							want = append(want, k.ID)
						}
					}
					matched += len(want)
					for _, limit := range []int{1, 7, 500} {
						if got := allKeys(t, e, q, limit); !slices.Equal(got, want) {
							t.Errorf("%+v by pages of %d:\ngot  %v\nwant %v", q, limit, got, want)
						}
					}
				}
			}
		}
	}
	if matched < 1000 {
		t.Errorf("got %d matches: the filters select too little to show anything", matched)
	}
}

// keyMatches says plainly what a query means.
func keyMatches(k *apikey.Key, cs []customer.Customer, q store.KeyQuery) bool {
	shown := k.Plan
	for _, c := range cs {
		if c.ID == k.Customer && shown == "" {
			shown = c.Plan
		}
	}
	begins := func(s string) bool { return strings.HasPrefix(strings.ToLower(s), strings.ToLower(q.Prefix)) }
	return (q.Customer == "" || k.Customer == q.Customer) &&
		(q.Plan == "" || shown == q.Plan || shown == "" && q.OrNone) &&
		(q.Status == "" || k.Status(q.Now) == q.Status) &&
		(q.Prefix == "" || begins(k.Name) || begins(k.ID) || begins(k.Secrets[0].Start))
}

// allKeys walks all pages and returns the ids.
func allKeys(t *testing.T, e store.Engine, q store.KeyQuery, limit int) []string {
	t.Helper()
	var ids []string
	q.Limit = limit
	for {
		p, err := e.ListKeys(context.Background(), q)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		if len(p.Items) > limit || p.More && len(p.Items) < limit {
			t.Fatalf("got a page of %d, more %t, with a limit of %d", len(p.Items), p.More, limit)
		}
		for _, k := range p.Items {
			ids = append(ids, k.ID)
		}
		if !p.More {
			return ids
		}
		q.After = ids[len(ids)-1]
	}
}

func allCustomers(t *testing.T, e store.Engine, q store.CustomerQuery, limit int) []string {
	t.Helper()
	var ids []string
	q.Limit = limit
	for {
		p, err := e.ListCustomers(context.Background(), q)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, c := range p.Items {
			ids = append(ids, c.ID)
		}
		if !p.More {
			return ids
		}
		q.After = ids[len(ids)-1]
	}
}

func listsCustomers(t *testing.T, e store.Engine) {
	cs, _ := population()
	cs[3].Name, cs[4].Name = "Ärzte GmbH", ""
	write(t, e, store.Mutations{Customers: cs})
	ids := func(ns ...int) (to []string) {
		for _, n := range ns {
			to = append(to, ID("cust", n))
		}
		return to
	}
	for _, c := range []struct {
		plan, prefix string
		want         []string
	}{
		{"", "", ids(5, 4, 3, 2, 1, 0)},
		{"free", "", ids(3, 0)},
		{"pro", "", ids(4, 1)},
		{"", "DEV", ids(5, 4, 3, 2, 1, 0)},
		{"", "dev4@", ids(4)},
		{"", "user-2", ids(2)},
		{"", "ärzte", ids(3)},
		{"", "ÄRZTE g", ids(3)},
		{"free", "developer", ids(0)},
		{"", ID("cust", 5), ids(5)},
		{"", "cust_", ids(5, 4, 3, 2, 1, 0)},
		{"gone", "", nil},
		{"", "GmbH", nil},
	} {
		q := store.CustomerQuery{Plan: c.plan}
		q.Prefix = c.prefix
		for _, limit := range []int{1, 2, 50} {
			if got := allCustomers(t, e, q, limit); !slices.Equal(got, c.want) {
				t.Errorf("plan %q prefix %q by pages of %d: got %v, want %v", c.plan, c.prefix, limit, got, c.want)
			}
		}
	}
}

func listsFollowPlans(t *testing.T, e store.Engine) {
	own := Key(2, ID("cust", 1))
	own.Plan = "vip"
	write(t, e, store.Mutations{
		Customers: []customer.Customer{Customer(1)},
		Keys:      []apikey.Key{Key(1, ID("cust", 1)), own},
	})
	c := cust(t, e, ID("cust", 1))
	c.Plan = "pro"
	third := Key(3, c.ID)
	write(t, e, store.Mutations{Customers: []customer.Customer{c}, Keys: []apikey.Key{third}})
	expect := func(plan string, want ...string) {
		t.Helper()
		if got := allKeys(t, e, store.KeyQuery{Plan: plan}, 50); !slices.Equal(got, want) {
			t.Errorf("plan %s: got %v, want %v", plan, got, want)
		}
	}
	expect("free")
	expect("pro", ID("key", 3), ID("key", 1))
	expect("vip", ID("key", 2))
	k := key(t, e, ID("key", 2))
	k.Plan = ""
	write(t, e, store.Mutations{Keys: []apikey.Key{k}})
	expect("vip")
	expect("pro", ID("key", 3), ID("key", 2), ID("key", 1))
	c = cust(t, e, c.ID)
	c.Plan = ""
	write(t, e, store.Mutations{Customers: []customer.Customer{c}})
	expect("pro")
	orNone := func(plan string, want ...string) {
		t.Helper()
		if got := allKeys(t, e, store.KeyQuery{Plan: plan, OrNone: true}, 50); !slices.Equal(got, want) {
			t.Errorf("plan %s or none: got %v, want %v", plan, got, want)
		}
	}
	orNone("pro", ID("key", 3), ID("key", 2), ID("key", 1))
	if got := allCustomers(t, e, store.CustomerQuery{Plan: "pro", OrNone: true}, 50); !slices.Equal(got, []string{c.ID}) {
		t.Errorf("customers on pro or none: got %v, want the one without a plan", got)
	}
	c = cust(t, e, c.ID)
	c.Plan = "free"
	write(t, e, store.Mutations{Customers: []customer.Customer{c}})
	orNone("pro")
	orNone("free", ID("key", 3), ID("key", 2), ID("key", 1))
}

func listsFollowManyKeys(t *testing.T, e store.Engine) {
	const many = 1300
	ks := make([]apikey.Key, many)
	for n := range ks {
		ks[n] = Key(n, ID("cust", 1))
		if n%100 == 0 {
			ks[n].Plan = "free"
		}
	}
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: ks})
	for _, plan := range []string{"pro", "vip"} {
		c := cust(t, e, ID("cust", 1))
		c.Plan = plan
		write(t, e, store.Mutations{Customers: []customer.Customer{c}})
	}
	for plan, want := range map[string]int{"free": many / 100, "pro": 0, "vip": many - many/100} {
		if got := len(allKeys(t, e, store.KeyQuery{Plan: plan}, 500)); got != want {
			t.Errorf("plan %s: got %d keys, want %d", plan, got, want)
		}
	}
}

func listsWhileWriting(t *testing.T, e store.Engine) {
	var ks []apikey.Key
	for n := range 30 {
		ks = append(ks, Key(10+n, ID("cust", 1)))
	}
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: ks})
	q := store.KeyQuery{Status: apikey.StatusActive, Now: Start}
	q.Limit = 4
	seen := map[string]int{}
	next := 100
	for {
		p, err := e.ListKeys(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range p.Items {
			seen[k.ID]++
		}
		if !p.More {
			break
		}
		last := p.Items[len(p.Items)-1]
		q.After = last.ID
		// The record the cursor names is revoked, and a new one is made.
		last.State = apikey.Revoked
		write(t, e, store.Mutations{Keys: []apikey.Key{last, Key(next, ID("cust", 1))}})
		next++
	}
	for _, k := range ks {
		if seen[k.ID] != 1 {
			t.Errorf("key %s was listed %d times, want once", k.ID, seen[k.ID])
		}
	}
}

func listsStrangePrefixes(t *testing.T, e store.Engine) {
	long := strings.Repeat("long name ", 30)
	a, b, c := Key(1, ID("cust", 1)), Key(2, ID("cust", 1)), Key(3, ID("cust", 1))
	a.Name, b.Name, c.Name = long+"a", long+"b", "nul\x00in\x00the name"
	write(t, e, store.Mutations{Customers: []customer.Customer{Customer(1)}, Keys: []apikey.Key{a, b, c}})
	for _, s := range []struct {
		prefix string
		want   []string
	}{
		{long, []string{b.ID, a.ID}},
		{long + "B", []string{b.ID}},
		{long + "c", nil},
		{"nul\x00in", []string{c.ID}},
		{"nul\x00", []string{c.ID}},
		{"nul\x00\x01", nil},
		{"\xff", nil},
	} {
		q := store.KeyQuery{}
		q.Prefix = s.prefix
		if got := allKeys(t, e, q, 10); !slices.Equal(got, s.want) {
			t.Errorf("prefix %.20q…: got %v, want %v", s.prefix, got, s.want)
		}
	}
}
