// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"context"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
)

// ListKeys implements store.Directory.
func (e *Engine) ListKeys(ctx context.Context, q store.KeyQuery) (p store.Page[apikey.Key], err error) {
	err = e.view(ctx, func(tx Tx) error {
		l := &list[apikey.Key]{ctx: ctx, tx: tx, effort: e.effort, page: q.PageQuery, kind: keys, words: keysByWord}
		if q.Customer != "" {
			l.under(keysByCustomer, q.Customer)
		}
		if q.Plan != "" {
			l.underPlan(keysByPlan, q.Plan, q.OrNone)
		}
		if q.Status != "" {
			l.withStatus(q)
		}
		l.has = func(k *apikey.Key, prefix string) (bool, error) {
			ok, err := planShown(tx, k, &q)
			return ok && (q.Customer == "" || k.Customer == q.Customer) &&
				(q.Status == "" || k.Status(q.Now) == q.Status) &&
				(prefix == "" || begins(prefix, k.ID, keyWords(k))), err
		}
		p, err = l.run()
		return err
	})
	return p, err
}

func planShown(tx Tx, k *apikey.Key, q *store.KeyQuery) (bool, error) {
	if q.Plan == "" || k.Plan != "" {
		return q.Plan == "" || k.Plan == q.Plan, nil
	}
	var c struct{ Plan string }
	if err := decode(tx.Bucket(customers), customers, []byte(k.Customer), &c); err != nil {
		return false, damaged(err)
	}
	return c.Plan == q.Plan || c.Plan == "" && q.OrNone, nil
}

// testExpiry returns a test that reads the index alone.
func testExpiry(tx Tx, q store.KeyQuery) func(id []byte) bool {
	b, prefix := tx.Bucket(keysByState), part(nil, string(apikey.Active))
	var key []byte
	return func(id []byte) bool {
		key = append(append(key[:0], prefix...), id...)
		return standingExpired(b.Get(key), q.Now) == (q.Status == apikey.StatusExpired)
	}
}

// ListCustomers implements store.Directory.
func (e *Engine) ListCustomers(ctx context.Context, q store.CustomerQuery) (p store.Page[customer.Customer], err error) {
	err = e.view(ctx, func(tx Tx) error {
		l := &list[customer.Customer]{ctx: ctx, tx: tx, effort: e.effort, page: q.PageQuery, kind: customers, words: customersByWord}
		if q.Plan != "" {
			l.underPlan(customersByPlan, q.Plan, q.OrNone)
		}
		l.has = func(c *customer.Customer, prefix string) (bool, error) {
			return (q.Plan == "" || c.Plan == q.Plan || c.Plan == "" && q.OrNone) &&
				(prefix == "" || begins(prefix, c.ID, customerWords(c))), nil
		}
		p, err = l.run()
		return err
	})
	return p, err
}
