// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
)

// maxFindings bounds what a check reports: one fault may touch every record.
const maxFindings = 100

// Check compares all records with their indexes and counts, and returns what
// does not agree, in words, at most 100 findings. It only reads. Progress, if
// not nil, is told how many records have been checked.
func (e *Engine) Check(ctx context.Context, progress func(done, total int64)) (findings []string, err error) {
	err = e.view(ctx, func(tx Tx) error {
		c := &checking{ctx: ctx, tx: tx, progress: progress, entries: make(map[string]int64), states: make(map[string]int64)}
		c.total = int64(asNumber(tx.Bucket(counts).Get([]byte(customersCount))))
		for _, s := range []apikey.State{apikey.Active, apikey.Disabled, apikey.Revoked} {
			c.total += int64(asNumber(tx.Bucket(counts).Get([]byte(keysCount + string(s)))))
		}
		c.revision = asNumber(tx.Bucket(counts).Get([]byte(revisionCount)))
		c.moving = anyUnder(tx.Bucket(reindex), nil)
		for _, do := range []func() error{c.customers, c.keys, c.indexes} {
			if err := do(); err != nil {
				return err
			}
		}
		c.counts()
		findings = c.findings
		return nil
	})
	return findings, err
}

type checking struct {
	ctx      context.Context
	tx       Tx
	progress func(done, total int64)

	done, total int64
	revision    uint64
	moving      bool             // index entries by plan are being moved
	entries     map[string]int64 // how many each index should have
	states      map[string]int64 // how many records there are of each kind
	findings    []string
}

func (c *checking) find(format string, args ...any) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, fmt.Sprintf(format, args...))
	}
}

// step reports progress now and then.
func (c *checking) step() error {
	if c.done++; c.done%1000 == 0 {
		if c.progress != nil {
			c.progress(c.done, max(c.total, c.done))
		}
		return c.ctx.Err()
	}
	return nil
}

func (c *checking) customers() error {
	cursor := c.tx.Bucket(customers).Cursor()
	for id, raw := cursor.Seek(nil); id != nil; id, raw = cursor.Next() {
		if err := c.step(); err != nil {
			return err
		}
		c.states[customersCount]++
		var r customer.Customer
		if err := json.Unmarshal(raw, &r); err != nil || r.ID != string(id) {
			c.find("customer %s cannot be read: %v", id, err)
			continue
		}
		c.record("customer", r.ID, r.Revision, customerEntries(&r))
	}
	return nil
}

func (c *checking) keys() error {
	cursor := c.tx.Bucket(keys).Cursor()
	for id, raw := cursor.Seek(nil); id != nil; id, raw = cursor.Next() {
		if err := c.step(); err != nil {
			return err
		}
		var r apikey.Key
		if err := json.Unmarshal(raw, &r); err != nil || r.ID != string(id) {
			c.find("key %s cannot be read: %v", id, err)
			continue
		}
		c.states[keysCount+string(r.State)]++
		var owner struct{ Plan string }
		if err := decode(c.tx.Bucket(customers), customers, []byte(r.Customer), &owner); err != nil {
			c.find("key %s belongs to nobody: %v", id, err)
		}
		c.record("key", r.ID, r.Revision, keyEntries(&r, owner.Plan))
	}
	return nil
}

// record compares one record with its entries.
func (c *checking) record(kind, id string, revision uint64, entries []entry) {
	if revision > c.revision {
		c.find("%s %s has revision %d, the store only %d", kind, id, revision, c.revision)
	}
	for i := range entries {
		e := &entries[i]
		c.entries[e.bucket]++
		have := c.tx.Bucket(e.bucket).Get(e.key)
		if (have == nil || !bytes.Equal(have, e.value)) && (!c.moving || e.bucket != keysByPlan) {
			c.find("%s %s is missing from index %s", kind, id, e.bucket)
		}
	}
}

// indexes looks for entries that no record has.
func (c *checking) indexes() error {
	for _, name := range []string{
		hashes, emails, externals, stripes, keysByCustomer, keysByPlan, keysByState, keysByExpiry,
		keysByWord, keysHoldingPlan, customersByPlan, customersByWord, customersHoldingPlan,
	} {
		n := int64(0)
		cursor := c.tx.Bucket(name).Cursor()
		for k, _ := cursor.Seek(nil); k != nil; k, _ = cursor.Next() {
			if n++; n%100_000 == 0 && c.ctx.Err() != nil {
				return c.ctx.Err()
			}
		}
		if n > c.entries[name] && (!c.moving || name != keysByPlan) {
			c.find("index %s has %d entries, its records account for %d", name, n, c.entries[name])
		}
	}
	return nil
}

func (c *checking) counts() {
	b := c.tx.Bucket(counts)
	for _, name := range []string{
		customersCount, keysCount + string(apikey.Active), keysCount + string(apikey.Disabled), keysCount + string(apikey.Revoked),
	} {
		if kept := int64(asNumber(b.Get([]byte(name)))); kept != c.states[name] {
			c.find("the count of %s is %d, there are %d", name, kept, c.states[name])
		}
	}
	if c.progress != nil {
		c.progress(c.done, c.done)
	}
}
