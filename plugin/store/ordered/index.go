// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
)

// maxWord bounds, in bytes, what of a word is indexed; lists test the rest on
// the record itself.
const maxWord = 96

// entry is one record of an index. A unique one names the field that no two
// records may share.
type entry struct {
	bucket string
	key    []byte
	value  []byte
	unique string
}

// keyEntries returns all entries of a key; plan is its customer's.
func keyEntries(k *apikey.Key, customerPlan string) []entry {
	standing := standingOf(k)
	state := string(k.State)
	to := []entry{
		{bucket: keysByCustomer, key: under(k.Customer, k.ID), value: standing},
		{bucket: keysByState, key: under(state, k.ID), value: standing},
		{bucket: keysByPlan, key: under(shownPlan(k, customerPlan), k.ID), value: []byte{}},
	}
	if k.State == apikey.Active && !k.ExpiresAt.IsZero() {
		to = append(to, entry{bucket: keysByExpiry, key: append(stamp(k.ExpiresAt), k.ID...), value: []byte{}})
	}
	if k.Plan != "" && k.State != apikey.Revoked {
		to = append(to, entry{bucket: keysHoldingPlan, key: under(k.Plan, k.ID), value: []byte{}})
	}
	for _, s := range k.Secrets {
		to = append(to, entry{bucket: hashes, key: s.Hash[:], value: []byte(k.ID), unique: "hash"})
	}
	return wordEntries(to, keysByWord, k.ID, keyWords(k))
}

// customerEntries returns all entries of a customer.
func customerEntries(c *customer.Customer) []entry {
	var to []entry
	for _, u := range []struct{ bucket, field, value string }{
		{emails, "email", c.Email},
		{externals, "external_id", c.ExternalID},
		{stripes, "stripe_customer_id", c.StripeCustomer},
	} {
		if u.value != "" {
			to = append(to, entry{bucket: u.bucket, key: part(nil, u.value), value: []byte(c.ID), unique: u.field})
		}
	}
	to = append(to, entry{bucket: customersByPlan, key: under(c.Plan, c.ID), value: []byte{}})
	for _, p := range heldPlans(c) {
		to = append(to, entry{bucket: customersHoldingPlan, key: under(p, c.ID), value: []byte{}})
	}
	return wordEntries(to, customersByWord, c.ID, customerWords(c))
}

func wordEntries(to []entry, bucket, id string, words []string) []entry {
	for i, w := range words {
		if len(w) > maxWord {
			words[i] = w[:maxWord]
		}
	}
	for i, w := range words {
		if w != "" && !slices.Contains(words[:i], w) {
			to = append(to, entry{bucket: bucket, key: under(w, id), value: []byte{}})
		}
	}
	return to
}

func heldPlans(c *customer.Customer) []string {
	if !c.ErasedAt.IsZero() {
		return nil
	}
	held := []string{c.Plan, c.PlanOverride.Plan, ""}
	if c.Subscription != nil {
		held[2] = c.Subscription.Plan
	}
	var to []string
	for _, p := range held {
		if p != "" && !slices.Contains(to, p) {
			to = append(to, p)
		}
	}
	return to
}

func shownPlan(k *apikey.Key, customerPlan string) string {
	if k.Plan != "" {
		return k.Plan
	}
	return customerPlan
}

func fold(s string) string { return strings.ToLower(s) }

func keyWords(k *apikey.Key) []string {
	words := []string{fold(k.Name)}
	for _, s := range k.Secrets {
		words = append(words, fold(s.Start))
	}
	return words
}

func customerWords(c *customer.Customer) []string {
	return []string{fold(c.Name), fold(c.Email), fold(c.ExternalID)}
}

// begins reports whether a word or the id begins with the folded prefix.
func begins(prefix, id string, words []string) bool {
	if strings.HasPrefix(fold(id), prefix) {
		return true
	}
	for _, w := range words {
		if w != "" && strings.HasPrefix(w, prefix) {
			return true
		}
	}
	return false
}

// A standing is what may be asked of a key without reading its record: its
// state, whether it has a plan of its own, and when it expires.
func standingOf(k *apikey.Key) []byte {
	own := byte('-')
	if k.Plan != "" {
		own = 'p'
	}
	var state byte
	if k.State != "" {
		state = k.State[0]
	}
	return append([]byte{state, own}, stamp(k.ExpiresAt)...)
}

func standingRevoked(s []byte) bool { return len(s) > 0 && s[0] == apikey.Revoked[0] }
func standingOwnPlan(s []byte) bool { return len(s) > 1 && s[1] == 'p' }

func standingExpired(s []byte, now time.Time) bool {
	if len(s) != 10 {
		return false
	}
	expiry := s[2:]
	return asNumber(expiry) != 0 && bytes.Compare(expiry, stamp(now)) <= 0
}
