// SPDX-License-Identifier: Apache-2.0

// Package gate decides: Admit looks a key up and spends its rates, concurrency
// and quotas, all or nothing; Settle records what the answer has used.
//
//   - admit.go: the steps of a decision, in order
//   - spend.go: all limits or none
//   - ticket.go, settle.go: an admitted call and what becomes of it
//   - entry.go, terms.go, limits.go: what holds for a key, worked out once
//   - cache.go: entries by hash, dropped by the Directory's changes
//   - rules.go, plans.go: which plans are in force
//   - guard.go, denials.go, lastused.go: who guesses, who was refused, who called
//   - report.go, explain.go: the same facts, to be read
package gate

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/limit"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// writeEvery is how often last uses and units are written and rested buckets forgotten.
const writeEvery = time.Minute

// Options are what a gate needs.
type Options struct {
	Directory store.Directory
	Journal   store.Journal
	Meter     *meter.Meter
	Now       func() time.Time // with a monotonic reading
	Logger    *slog.Logger     // nil: nothing is logged
}

// Settings are what the configuration in force says. They are not changed
// once applied.
type Settings struct {
	Plans        []plan.Plan // of the configuration
	DefaultPlan  string      // "" for none
	FallbackPlan string      // of ended or unpaid subscriptions; "" for none
	UpgradeURL   string      // {customer} is replaced by the customer's id
}

// Gate decides for one node. Its methods may be called concurrently.
type Gate struct {
	o       Options
	origin  time.Time // of the monotonic nanoseconds that rates count in
	limiter *limit.Limiter
	cache   *cache
	guard   *guard
	denials denials
	uses    uses
	units   units
	nobody  *meter.Tally // of calls without a known key

	rules       atomic.Pointer[rules] // nil: to be made anew
	mu          sync.Mutex            // guards settings, planVersion, and storing rules
	settings    *Settings
	planVersion uint64
	refreshing  sync.Mutex // one makes rules, the others wait for them
	applying    sync.Mutex // one Apply at a time
	told        sync.Map   // plans that nobody knows and that were logged

	unwatch func()
	stop    chan struct{}
	closing sync.Once
	done    sync.WaitGroup
}

// New returns a gate that refuses to decide until Apply was called once. It
// reads what a graceful stop has left (how far buckets were spent) and starts
// the gate's own goroutine, which Close ends.
func New(ctx context.Context, o Options) (*Gate, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gate{
		o: o, origin: o.Now(), limiter: limit.NewLimiter(),
		cache: newCache(cacheSize), guard: newGuard(), nobody: o.Meter.Tally("", ""), stop: make(chan struct{}),
	}
	if err := g.loadRates(ctx); err != nil {
		return nil, err
	}
	if err := g.units.load(ctx, o.Journal); err != nil {
		return nil, err
	}
	g.unwatch = o.Directory.Watch(g.changed)
	g.done.Go(g.keep)
	return g, nil
}

// changed is told of each write before the write returns.
func (g *Gate) changed(c store.Change) {
	g.cache.changed(c)
	if len(c.Plans) > 0 {
		g.plansWritten()
	}
}

// keep writes what is gathered in memory until the gate is closed.
func (g *Gate) keep() {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-ticker.C:
		}
		if err := g.write(context.Background()); err != nil {
			g.o.Logger.Error("writing when keys were last used", slog.Any("error", err))
		}
		g.limiter.Sweep(g.clock(g.o.Now()))
	}
}

func (g *Gate) write(ctx context.Context) error {
	return errors.Join(g.uses.write(ctx, g.o.Journal), g.units.write(ctx, g.o.Journal))
}

// Close writes what is still to be written (last uses, rates). Calls are to
// have ended; later Closes do nothing.
func (g *Gate) Close(ctx context.Context) (err error) {
	g.closing.Do(func() {
		close(g.stop)
		g.done.Wait()
		g.unwatch()
		err = errors.Join(g.write(ctx), g.saveRates(ctx))
	})
	return err
}

// clock returns the monotonic nanoseconds that rates count in.
func (g *Gate) clock(now time.Time) int64 { return int64(now.Sub(g.origin)) }
