// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A subject is a setup whose process runs, and what was measured of it.
type subject struct {
	*setup
	process *process
	load    load

	cpu     []time.Duration // a request, round by round
	mallocs []float64       // a request, round by round
	took    []time.Duration // of requests at a fixed rate
	memory  int64           // resident, not of files, after the last round
}

// round sends requests as fast as they are answered and notes what they cost.
func (s *subject) round(ctx context.Context, requests int) error {
	cost, err := s.process.costOf(ctx, &s.load, requests)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.cpu = append(s.cpu, cost.cpu)
	s.mallocs = append(s.mallocs, cost.mallocs)
	s.memory, err = s.process.memory()
	return err
}

// cost is what one request costs a process.
type cost struct {
	cpu     time.Duration
	mallocs float64 // objects allocated
}

// costOf sends so many requests to a process and returns what one of them cost.
func (p *process) costOf(ctx context.Context, l *load, requests int) (c cost, err error) {
	mallocs, err := p.mallocs(ctx)
	if err != nil {
		return cost{}, err
	}
	begin, err := p.cpu()
	if err != nil {
		return cost{}, err
	}
	if err := l.run(ctx, requests); err != nil {
		return cost{}, err
	}
	end, err := p.cpu()
	if err != nil {
		return cost{}, err
	}
	after, err := p.mallocs(ctx)
	return cost{(end - begin) / time.Duration(requests), float64(after-mallocs) / float64(requests)}, err
}

// pace sends requests at a fixed rate and notes how long they took.
func (s *subject) pace(ctx context.Context, requests, perSecond int) error {
	took, err := s.load.paced(ctx, requests, perSecond)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.took = append(s.took, took...)
	slices.Sort(s.took)
	return nil
}

// takeProfile takes a CPU profile of the process under load for so many seconds.
func (s *subject) takeProfile(ctx context.Context, seconds int) ([]byte, error) {
	var stop atomic.Bool
	loaded := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			err = s.load.run(ctx, 1000)
		}
		loaded <- err
	}()
	raw, err := s.process.debug(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	stop.Store(true)
	return raw, errors.Join(err, <-loaded)
}

// median returns the middle one of values, which it sorts a copy of.
func median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio returns the median over all rounds of a's cost as a part of b's in the
// same round.
func ratio(a, b *subject) float64 {
	var ratios []float64
	for i := range min(len(a.cpu), len(b.cpu)) {
		ratios = append(ratios, float64(a.cpu[i])/float64(b.cpu[i]))
	}
	return median(ratios)
}
