// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// loan is the state of a bucket.
type loan struct {
	Limit int64     `json:"limit"`
	Lent  int64     `json:"lent"` // sum of the nodes' shares
	Ends  time.Time `json:"ends"`
}

// share is what one node has had of a bucket.
type share struct {
	Taken int64 `json:"taken"`
	Spent int64 `json:"spent"`
}

// held is what the share keeps from others: a node may have spent more than it
// was lent, where the answer told a higher usage than was reserved.
func (s share) held() int64 { return max(s.Taken, s.Spent) }

// Take implements store.Lender.
func (e *Engine) Take(ctx context.Context, asks []store.Ask) (answers []store.Loan, err error) {
	for _, a := range asks {
		if a.Bucket == "" || a.Node == "" {
			return nil, errors.New("an ask names no bucket or no node")
		}
	}
	if len(asks) == 0 {
		return nil, nil
	}
	err = e.update(ctx, func(tx Tx) error {
		answers = make([]store.Loan, len(asks))
		for i, a := range asks {
			var err error
			if answers[i], err = lend(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func lend(tx Tx, a store.Ask) (store.Loan, error) {
	var l loan
	var s share
	node := under(a.Bucket, a.Node)
	if err := decode(tx.Bucket(loans), loans, part(nil, a.Bucket), &l); err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Loan{}, err
	}
	if err := decode(tx.Bucket(loanNodes), loanNodes, node, &s); err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Loan{}, err
	}
	l.Limit = a.Limit
	if a.Ends.After(l.Ends) {
		l.Ends = a.Ends.UTC()
	}
	others := l.Lent - s.held()
	s.Spent = max(s.Spent, a.Spent)
	// Grants never take the sum of all shares past the limit.
	s.Taken = max(s.Taken, min(a.Taken, l.Limit-others))
	l.Lent = others + s.held()
	if _, err := put(tx.Bucket(loans), string(part(nil, a.Bucket)), l); err != nil {
		return store.Loan{}, err
	}
	if _, err := put(tx.Bucket(loanNodes), string(node), s); err != nil {
		return store.Loan{}, err
	}
	return store.Loan{Taken: s.Taken, Left: max(l.Limit-l.Lent, 0)}, nil
}

// PruneLoans forgets the buckets that ended before the given time, in small
// steps, and returns how many.
func (e *Engine) PruneLoans(ctx context.Context, before time.Time) (pruned int, err error) {
	var from []byte
	for {
		n := 0
		err := e.update(ctx, func(tx Tx) (err error) {
			n, from, err = pruneLoans(tx, from, before)
			return err
		})
		pruned += n
		if err != nil || from == nil {
			return pruned, err
		}
	}
}

// pruneLoans looks at one step of buckets, from one on; next is nil at the end.
func pruneLoans(tx Tx, from []byte, before time.Time) (n int, next []byte, err error) {
	var ended [][]byte
	c := tx.Bucket(loans).Cursor()
	looked := 0
	for k, raw := c.Seek(from); k != nil; k, raw = c.Next() {
		if looked++; looked > step {
			next = bytes.Clone(k)
			break
		}
		var l loan
		if err := json.Unmarshal(raw, &l); err != nil {
			return 0, nil, err
		}
		if l.Ends.Before(before) {
			ended = append(ended, bytes.Clone(k))
		}
	}
	for _, bucket := range ended {
		if err := deletePrefixed(tx.Bucket(loanNodes), bucket); err != nil {
			return 0, nil, err
		}
		if err := tx.Bucket(loans).Delete(bucket); err != nil {
			return 0, nil, err
		}
	}
	return len(ended), next, nil
}

func deletePrefixed(b Bucket, prefix []byte) error {
	var doomed [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		doomed = append(doomed, bytes.Clone(k))
	}
	for _, k := range doomed {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
