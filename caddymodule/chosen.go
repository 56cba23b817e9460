// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// chosen are the customers whose requests are counted under their own label:
// those the operator named, or the busiest. It is only read.
type chosen struct {
	top        int
	byCustomer map[string]customerSeries
	others     customerSeries
}

type customerSeries struct{ allowed, denied *counter }

// choose counts the customers that a configuration asks for from now on, and
// no others; nil asks for none.
func (m *metrics) choose(config *Metrics) {
	if config == nil || config.Top == 0 && len(config.Customers) == 0 {
		m.chosen.Store(nil)
		return
	}
	c := &chosen{top: config.Top, byCustomer: map[string]customerSeries{}, others: m.customerSeries(otherLabel)}
	if before := m.chosen.Load(); before != nil && before.top > 0 && config.Top > 0 {
		for _, id := range slices.Sorted(maps.Keys(before.byCustomer)) {
			if len(c.byCustomer) < config.Top { // once chosen, a customer stays
				c.byCustomer[id] = before.byCustomer[id]
			}
		}
	}
	for _, id := range config.Customers {
		c.byCustomer[id] = m.customerSeries(id)
	}
	m.chosen.Store(c)
}

func (m *metrics) customerSeries(id string) customerSeries {
	return customerSeries{m.counter(customerDesc, labels{id, "allowed"}), m.counter(customerDesc, labels{id, "denied"})}
}

// called counts one request of a customer, where that was asked for.
func (m *metrics) called(customer string, denied bool) {
	c := m.chosen.Load()
	if c == nil {
		return
	}
	s, ok := c.byCustomer[customer]
	if !ok {
		s = c.others
	}
	if denied {
		s.denied.add(1)
		return
	}
	s.allowed.add(1)
}

// chooseTop fills the places that are left with the busiest customers of the
// last two days. Those chosen before stay.
func (m *metrics) chooseTop(ctx context.Context, ledger store.Ledger, now time.Time) error {
	c := m.chosen.Load()
	if c == nil || len(c.byCustomer) >= c.top {
		return nil
	}
	today := now.UTC().Truncate(day)
	rows, err := ledger.Usage(ctx, store.UsageQuery{From: today.Add(-day), To: today.Add(day), Bucket: store.DayBucket, Group: store.ByCustomer})
	if err != nil {
		return fmt.Errorf("finding the busiest customers: %w", err)
	}
	requests := map[string]int64{}
	for _, row := range rows {
		if row.Customer != "" {
			requests[row.Customer] += row.Requests
		}
	}
	busiest := slices.SortedFunc(maps.Keys(requests), func(a, b string) int {
		return cmp.Or(cmp.Compare(requests[b], requests[a]), cmp.Compare(a, b))
	})
	more := &chosen{top: c.top, byCustomer: maps.Clone(c.byCustomer), others: c.others}
	for _, id := range busiest {
		if _, ok := more.byCustomer[id]; !ok && len(more.byCustomer) < more.top {
			more.byCustomer[id] = m.customerSeries(id)
		}
	}
	m.chosen.CompareAndSwap(c, more) // where a reload came between, it chooses itself
	return nil
}
