// SPDX-License-Identifier: Apache-2.0

package ordered

import "github.com/keytoll/keytoll/plugin/store"

// A tombstone holds the last form of a record that must never come back to
// life: a revoked key, an erased customer. A restore puts it over what the
// backup still held.
const (
	keyTomb      = "key/"      // and the id → the key
	customerTomb = "customer/" // and the id → the customer, without personal data
	usageTomb    = "usage/"    // and the customer → the pseudonym
)

func bury(tx Tx, name string, last []byte) error {
	return page(tx, store.Tombstones).Put([]byte(name), last)
}
