// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/store"
)

// ratesKey is where a graceful stop leaves how far buckets were spent, so that
// a restart gives nobody a new burst.
const ratesKey = "gate/rates"

// savedRates is the form of that record.
type savedRates struct {
	At    time.Time    `json:"at"`
	Debts []limit.Debt `json:"debts"`
}

func (g *Gate) saveRates(ctx context.Context) error {
	now := g.o.Now()
	value, err := json.Marshal(savedRates{At: now.UTC(), Debts: g.limiter.Debts(g.clock(now))})
	if err == nil {
		err = g.o.Journal.Commit(ctx, store.Batch{Put: []store.Record{{Book: store.Meta, Key: []byte(ratesKey), Value: value}}})
	}
	if err != nil {
		return fmt.Errorf("writing the rates: %w", err)
	}
	return nil
}

// loadRates takes what saveRates left and removes it: the time since counts as
// rest. A record that cannot be read is not worth refusing to start.
func (g *Gate) loadRates(ctx context.Context) error {
	value, err := g.o.Journal.Read(ctx, store.Meta, []byte(ratesKey))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the rates: %w", err)
	}
	var saved savedRates
	if err := json.Unmarshal(value, &saved); err != nil {
		g.o.Logger.Warn("the rates of the last run cannot be read", slog.Any("error", err))
	} else {
		g.limiter.Restore(saved.Debts, g.clock(g.origin), g.origin.Round(0).Sub(saved.At))
	}
	if err := g.o.Journal.Commit(ctx, store.Batch{Put: []store.Record{{Book: store.Meta, Key: []byte(ratesKey)}}}); err != nil {
		return fmt.Errorf("removing the rates of the last run: %w", err)
	}
	return nil
}
