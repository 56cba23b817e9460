// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// applyAttempts bounds how often Apply begins again when somebody else writes
// the same plans.
const applyAttempts = 5

// Apply puts settings in force from the next request on. Plans of the
// configuration are written to the Directory; those gone from it stay as
// retired while anybody holds them, and are returned. On an error the settings
// applied before stay in force. A plan that the seller has stored under a name
// of the configuration is left as it is: it holds again when the configuration
// no longer names it.
func (g *Gate) Apply(ctx context.Context, s Settings) (retired []string, err error) {
	g.applying.Lock()
	defer g.applying.Unlock()
	for attempt := 1; ; attempt++ {
		retired, err = g.writePlans(ctx, s.Plans)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrConflict) || attempt == applyAttempts {
			return nil, fmt.Errorf("writing the plans of the configuration: %w", err)
		}
	}
	before := g.use(&s)
	if _, err := g.refresh(ctx); err != nil {
		g.use(before)
		return nil, err
	}
	return retired, nil
}

// use exchanges the settings; the next call makes the rules anew.
func (g *Gate) use(s *Settings) (before *Settings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, g.settings = g.settings, s
	g.rules.Store(nil)
	return before
}

// writePlans makes the Directory's plans of the configuration those of config.
func (g *Gate) writePlans(ctx context.Context, config []plan.Plan) (retired []string, err error) {
	stored, err := g.o.Directory.Plans(ctx)
	if err != nil {
		return nil, err
	}
	have := make(map[string]plan.Plan, len(stored))
	for _, p := range stored {
		have[p.ID] = p
	}
	var changed []plan.Plan
	for _, p := range config {
		p.Source = plan.FromConfig
		old, known := have[p.ID]
		delete(have, p.ID)
		p.Revision = old.Revision
		if !known || ofConfig(old) && !same(p, old) {
			changed = append(changed, p)
		}
	}
	if len(changed) > 0 {
		if _, err := g.o.Directory.Write(ctx, store.Mutations{Plans: changed}); err != nil {
			return nil, err
		}
	}
	for _, p := range stored {
		if _, gone := have[p.ID]; !gone || !ofConfig(p) {
			continue
		}
		kept, err := g.retire(ctx, p)
		if err != nil {
			return nil, err
		}
		if kept {
			retired = append(retired, p.ID)
		}
	}
	return retired, nil
}

// ofConfig reports whether a stored plan was written by Apply.
func ofConfig(p plan.Plan) bool { return p.Source == plan.FromConfig || p.Source == plan.Retired }

// same compares plans as the store would write them.
func same(a, b plan.Plan) bool {
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(one, two)
}

// retire deletes a plan that nobody holds; else it keeps it, as retired.
func (g *Gate) retire(ctx context.Context, p plan.Plan) (kept bool, err error) {
	_, err = g.o.Directory.Write(ctx, store.Mutations{DeletePlans: []string{p.ID}})
	if !errors.Is(err, store.ErrInUse) {
		return false, err
	}
	if p.Source == plan.Retired {
		return true, nil
	}
	p.Source = plan.Retired
	_, err = g.o.Directory.Write(ctx, store.Mutations{Plans: []plan.Plan{p}})
	return true, err
}
