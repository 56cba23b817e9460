// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// PruneUsage implements store.Ledger.
func (e *Engine) PruneUsage(ctx context.Context, hours, days time.Time) (pruned int, err error) {
	for _, l := range levels() {
		for _, old := range []struct {
			bucket store.Bucket
			before time.Time
		}{{store.HourBucket, hours}, {store.DayBucket, days}} {
			n, err := e.pruneBefore(ctx, l.bucket(old.bucket), startKey(old.before))
			if pruned += n; err != nil {
				return pruned, err
			}
		}
	}
	return pruned, nil
}

func (e *Engine) pruneBefore(ctx context.Context, bucket string, before []byte) (pruned int, err error) {
	for {
		n := 0
		err := e.update(ctx, func(tx Tx) error {
			b := tx.Bucket(bucket)
			var doomed [][]byte
			c := b.Cursor()
			for k, _ := c.Seek(nil); k != nil && bytes.Compare(k, before) < 0 && len(doomed) < step; k, _ = c.Next() {
				doomed = append(doomed, bytes.Clone(k))
			}
			n = len(doomed)
			return deleteAll(b, doomed)
		})
		if err != nil {
			return pruned, err
		}
		if pruned += n; n < step {
			return pruned, nil
		}
	}
}

func deleteAll(b Bucket, doomed [][]byte) error {
	for _, k := range doomed {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// RenameUsage implements store.Ledger. Each step moves some rows, so it may be
// broken off and repeated at any point. A restore of an older backup does it
// again.
func (e *Engine) RenameUsage(ctx context.Context, customer, pseudonym string) error {
	if customer == "" || pseudonym == "" {
		return errors.New("usage is renamed from or to nobody")
	}
	if customer == pseudonym {
		return nil
	}
	err := e.update(ctx, func(tx Tx) error { return bury(tx, usageTomb+customer, []byte(pseudonym)) })
	if err != nil {
		return err
	}
	for _, l := range []level{ofCustomer, ofKey} {
		for _, bucket := range []store.Bucket{store.HourBucket, store.DayBucket} {
			r := renaming{level: l, bucket: l.bucket(bucket), from: customer, to: pseudonym}
			for !r.done {
				if err := e.update(ctx, r.step); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// renaming walks one bucket.
type renaming struct {
	level    level
	bucket   string
	from, to string
	at       []byte // where the next step begins
	done     bool
}

func (r *renaming) step(tx Tx) error {
	b := tx.Bucket(r.bucket)
	found, next := r.find(b)
	cells := make(map[string]store.UsageCount, len(found))
	for _, key := range found {
		row := r.level.row(key)
		c, err := asCount(b.Get(key))
		if err != nil {
			return err
		}
		row.Customer = r.to
		moved := string(r.level.rowKey(row.Start, &row))
		cells[moved] = plus(cells[moved], c)
		if r.level == ofKey {
			if err := tx.Bucket(usageOwners).Delete(under(row.Key, r.from)); err != nil {
				return err
			}
			if err := tx.Bucket(usageOwners).Put(under(row.Key, r.to), []byte{}); err != nil {
				return err
			}
		}
	}
	if err := deleteAll(b, found); err != nil {
		return err
	}
	if err := addAll(b, cells); err != nil {
		return err
	}
	r.at, r.done = next, next == nil
	return nil
}

// find returns the keys of up to a step of rows, and where to go on.
func (r *renaming) find(b Bucket) (found [][]byte, next []byte) {
	owner := part(nil, r.from)
	c := b.Cursor()
	searched := 0
	for k, _ := c.Seek(r.at); k != nil; {
		if len(found) == step || searched == 4*step {
			return found, bytes.Clone(k)
		}
		searched++
		switch {
		case bytes.HasPrefix(k[8:], owner):
			found = append(found, bytes.Clone(k))
			k, _ = c.Next()
		case bytes.Compare(k[8:], owner) < 0:
			k, _ = c.Seek(append(bytes.Clone(k[:8]), owner...))
		default:
			k, _ = c.Seek(append(number(asNumber(k[:8])+1), owner...))
		}
	}
	return found, nil
}
