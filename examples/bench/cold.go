// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store/boltstore"
)

// coldLookups opens a directory that no process holds and returns how long it
// took to find each of n keys among keys that were not asked for before,
// shortest first. The file is read once before, so that the disk is not what is
// measured.
func coldLookups(ctx context.Context, dir string, keys, n int) (took []time.Duration, err error) {
	s, err := boltstore.Open(ctx, boltstore.Options{Dir: dir, Now: time.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := meter.Open(ctx, meter.Options{Journal: s, Ledger: s, Node: "bench", Now: time.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	for range 2 { // the second gate begins with an empty cache
		if took, err = lookups(ctx, s, m, keys, n); err != nil {
			return nil, err
		}
	}
	return took, nil
}

func lookups(ctx context.Context, s *boltstore.Store, m *meter.Meter, keys, n int) (took []time.Duration, err error) {
	g, err := gate.New(ctx, gate.Options{Directory: s, Journal: s, Meter: m, Now: time.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	only := plan.Defaults()[0]
	only.ID = planName
	if _, err := g.Apply(ctx, gate.Settings{Plans: []plan.Plan{only}, DefaultPlan: planName}); err != nil {
		return nil, err
	}
	routes, err := plan.CompileRoutes(nil, false)
	if err != nil {
		return nil, err
	}
	route, err := routes.Match("GET", "/")
	if err != nil {
		return nil, err
	}
	var ticket gate.Ticket
	for i := range n {
		secret, err := secretOf(i * (keys / n))
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		refusal, err := g.Identify(ctx, &gate.Call{Secret: secret.Reveal(), Route: route, Now: begin}, &ticket)
		took = append(took, time.Since(begin))
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			return nil, fmt.Errorf("looking up key %d: %s", i, refusal.Reason)
		}
	}
	slices.Sort(took)
	return took, nil
}
