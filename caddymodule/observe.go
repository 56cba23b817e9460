// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// storeBounds are those of the store's times.
var storeBounds = []float64{10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 100e-3, 250e-3, 1}

// An observedStore counts what the gate and the meter ask of the store.
type observedStore struct {
	store.Engine
	metrics *metrics
}

// Lookup implements store.Directory: op lookup.
func (o *observedStore) Lookup(ctx context.Context, hashes []apikey.Hash) ([]store.Match, error) {
	began := time.Now()
	found, err := o.Engine.Lookup(ctx, hashes)
	o.metrics.stored("lookup", began, err)
	return found, err
}

// Commit implements store.Journal: op count, since what is counted comes here.
func (o *observedStore) Commit(ctx context.Context, b store.Batch) error {
	began := time.Now()
	err := o.Engine.Commit(ctx, b)
	o.metrics.stored("count", began, err)
	return err
}

// Append implements store.Ledger: op flush.
func (o *observedStore) Append(ctx context.Context, node string, sequence uint64, rows []store.UsageRow) error {
	began := time.Now()
	err := o.Engine.Append(ctx, node, sequence, rows)
	o.metrics.stored("flush", began, err)
	return err
}

// stored counts one operation of the store. What was cancelled, or has met a
// condition that its caller branches on, is no error.
func (m *metrics) stored(op string, began time.Time, err error) {
	m.timer(operationDesc, labels{op}, storeBounds).observe(time.Since(began))
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		m.counter(errorsDesc, labels{op}).add(1)
	}
}
