// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
)

// Start is when the records of this package begin.
var Start = time.Date(2026, time.November, 2, 9, 0, 0, 0, time.UTC)

// ID returns the n-th identifier of prefix: of the form that id.New gives, in
// the order of n.
func ID(prefix string, n int) string { return fmt.Sprintf("%s_01hx%020d", prefix, n) }

// Secret returns the n-th secret. It is not of the minted form: a test that
// needs that mints one.
func Secret(n int) apikey.Secret { return apikey.Secret(fmt.Sprintf("storetest-secret-%d", n)) }

// Hash returns the hash of Secret(n).
func Hash(n int) apikey.Hash { return sha256.Sum256(fmt.Appendf(nil, "storetest-secret-%d", n)) }

// Customer returns the n-th customer: it has an e-mail address, a name, an
// external id and the plan free.
func Customer(n int) customer.Customer {
	return customer.Customer{
		ID:         ID("cust", n),
		Email:      fmt.Sprintf("dev%d@example.com", n),
		Name:       fmt.Sprintf("Developer %d", n),
		ExternalID: fmt.Sprintf("user-%d", n),
		Plan:       "free",
		CreatedAt:  Start.Add(time.Duration(n) * time.Second),
		Metadata:   map[string]json.RawMessage{"team": json.RawMessage(`"blue"`)},
	}
}

// Key returns the n-th key of a customer: active, live, and opened by Secret(n).
func Key(n int, customer string) apikey.Key {
	return apikey.Key{
		ID:        ID("key", n),
		Customer:  customer,
		Name:      fmt.Sprintf("Key %d", n),
		Mode:      apikey.Live,
		State:     apikey.Active,
		Secrets:   []apikey.HeldSecret{{Hash: Hash(n), Start: fmt.Sprintf("sk_live_%04d", n%10000)}},
		CreatedAt: Start.Add(time.Duration(n) * time.Second),
	}
}

// Plan returns a stored plan of that id.
func Plan(id string) plan.Plan {
	return plan.Plan{
		ID:     id,
		Title:  "Plan " + id,
		Rates:  []plan.Rate{{Unit: plan.Requests, Count: 10, Per: time.Second, Burst: 10, Scope: plan.PerKey}},
		Quotas: []plan.Quota{{Unit: plan.Requests, Limit: 1000, Span: plan.Month, Scope: plan.PerKey, Overage: plan.Block}},
		Source: plan.FromStore,
	}
}
