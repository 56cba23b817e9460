// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// units are those that any route has ever metered: what a report looks for.
type units struct {
	mu      sync.Mutex // guards the rest
	seen    map[string]bool
	written int // how many of them are in the Journal
}

// unitsKey is where they are kept in store.Meta.
const unitsKey = "gate/units"

func (u *units) see(unit string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = map[string]bool{}
	}
	u.seen[unit] = true
}

// all returns the units in order, requests first.
func (u *units) all() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := []string{plan.Requests}
	for _, unit := range slices.Sorted(maps.Keys(u.seen)) {
		if unit != plan.Requests {
			all = append(all, unit)
		}
	}
	return all
}

func (u *units) load(ctx context.Context, j store.Journal) error {
	value, err := j.Read(ctx, store.Meta, []byte(unitsKey))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	var stored []string
	if err == nil {
		err = json.Unmarshal(value, &stored)
	}
	if err != nil {
		return fmt.Errorf("reading the metered units: %w", err)
	}
	for _, unit := range stored {
		u.see(unit)
	}
	u.written = len(u.seen)
	return nil
}

// write writes the units where there are new ones.
func (u *units) write(ctx context.Context, j store.Journal) error {
	u.mu.Lock()
	all, written := slices.Sorted(maps.Keys(u.seen)), u.written
	u.mu.Unlock()
	if len(all) == written {
		return nil
	}
	value, err := json.Marshal(all)
	if err == nil {
		err = j.Commit(ctx, store.Batch{Put: []store.Record{{Book: store.Meta, Key: []byte(unitsKey), Value: value}}})
	}
	if err != nil {
		return fmt.Errorf("writing the metered units: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.written = len(all)
	return nil
}
