// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/admin"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/boltstore"
	"github.com/keytoll/keytoll/plugin/store/memstore"
)

// An engine is what outlives reloads: the store of one place, the counters of
// this node, the gate over both, and their metrics. Every configuration that
// names the same place shares it.
type engine struct {
	place   string
	metrics *metrics
	logger  *slog.Logger
	ready   chan struct{}             // closed once requests can be decided
	gate    atomic.Pointer[gate.Gate] // nil until then
	keep    atomic.Pointer[Retention] // of the settings in force; nil: the default

	mu       sync.Mutex // guards what follows
	store    store.Engine
	meter    *meter.Meter
	decider  *gate.Gate // from open on; gate has it once settings are in force
	inForce  []*App     // configurations that were started and not stopped, the newest last
	tasks    sync.WaitGroup
	endTasks context.CancelFunc

	// Of engines on disk, else nil:
	backup func(ctx context.Context, w io.Writer) error
	size   func() (bytes, limit int64, err error)
}

// newEngine returns an engine that is not open.
func newEngine(place string) *engine {
	e := &engine{place: place, logger: slog.New(logHandler{}), ready: make(chan struct{})}
	e.metrics = newMetrics(e)
	return e
}

// open opens the store, the meter and the gate, unless they are. What it has
// opened when something fails is closed again.
func (e *engine) open(ctx context.Context, s *Storage) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.decider != nil {
		return nil
	}
	if e.store, err = e.openStore(ctx, s); err != nil {
		return fmt.Errorf("opening the storage: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.shut(ctx))
		}
	}()
	observed := &observedStore{Engine: e.store, metrics: e.metrics}
	node, err := nodeOf(ctx, e.store)
	if err != nil {
		return fmt.Errorf("naming this node: %w", err)
	}
	if e.meter, err = meter.Open(ctx, meter.Options{
		Dir: s.directory, Journal: observed, Ledger: observed, Node: node, Now: time.Now, Logger: e.logger,
		Customer: customerOf(e.store),
	}); err != nil {
		return fmt.Errorf("opening the counters: %w", err)
	}
	if e.decider, err = gate.New(ctx, gate.Options{
		Directory: observed, Journal: observed, Meter: e.meter, Now: time.Now, Logger: e.logger,
	}); err != nil {
		return fmt.Errorf("starting the gate: %w", err)
	}
	e.startTasks()
	return nil
}

// customerOf says whose a key is: nobody's where there is no such key any more.
func customerOf(d store.Directory) func(context.Context, string) (string, error) {
	return func(ctx context.Context, key string) (string, error) {
		k, err := d.Key(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return "", nil
		}
		return k.Customer, err
	}
}

// openStore opens the engine that s names, and says how to back it up.
func (e *engine) openStore(ctx context.Context, s *Storage) (store.Engine, error) {
	if s.memory() {
		return memstore.New(), nil
	}
	db, err := boltstore.Open(ctx, boltstore.Options{Dir: s.directory, LockWait: s.lockWait(), Now: time.Now, Logger: e.logger})
	if err != nil {
		return nil, err
	}
	e.backup = func(ctx context.Context, w io.Writer) error {
		began := time.Now()
		err := db.Backup(ctx, w, func(dir string) error { return e.meter.Snapshot(ctx, dir) })
		if e.metrics.stored("backup", began, err); err == nil {
			e.metrics.backedUp.Store(time.Now().Unix())
		}
		return err
	}
	e.size = func() (bytes, limit int64, err error) {
		size, err := db.Size()
		return size.File, size.File + max(size.Disk, 0), err
	}
	return db, nil
}

// nodeOf returns the name that this node's counters have in the store, which it
// keeps for ever.
func nodeOf(ctx context.Context, j store.Journal) (string, error) {
	key := []byte("node")
	name, err := j.Read(ctx, store.Meta, key)
	if !errors.Is(err, store.ErrNotFound) {
		return string(name), err
	}
	made := id.New("node", time.Now())
	err = j.Commit(ctx, store.Batch{
		Expect: []store.Record{{Book: store.Meta, Key: key}},
		Put:    []store.Record{{Book: store.Meta, Key: key, Value: []byte(made)}},
	})
	return made, err
}

// apply puts a configuration's settings in force, over those of all before it.
func (e *engine) apply(ctx context.Context, a *App) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	retired, err := e.decider.Apply(ctx, a.settings)
	if err != nil {
		return fmt.Errorf("applying the plans: %w", err)
	}
	for _, plan := range retired {
		e.logger.Warn("plan is gone from the configuration, but customers hold it: it stays in force as retired", "plan", plan)
	}
	e.inForce = append(e.inForce, a)
	e.metrics.choose(a.Metrics)
	e.keep.Store(a.Retention)
	if err := e.metrics.chooseTop(ctx, e.store, time.Now()); err != nil {
		e.logger.Warn("no customer is counted by itself yet", "error", err)
	}
	if e.gate.Load() == nil {
		e.gate.Store(e.decider)
		close(e.ready)
	}
	return nil
}

// withdraw takes a configuration's settings back. Where they were in force,
// the newest before them are again; the last ones stay until the engine closes.
func (e *engine) withdraw(ctx context.Context, a *App) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, other := range e.inForce {
		if other != a {
			continue
		}
		newest := i == len(e.inForce)-1
		e.inForce = append(e.inForce[:i:i], e.inForce[i+1:]...)
		if !newest || len(e.inForce) == 0 {
			return nil
		}
		last := e.inForce[len(e.inForce)-1]
		e.metrics.choose(last.Metrics)
		e.keep.Store(last.Retention)
		if _, err := e.decider.Apply(ctx, last.settings); err != nil {
			return fmt.Errorf("falling back to the plans before: %w", err)
		}
		return nil
	}
	return nil
}

// wait returns the gate as soon as it can decide.
func (e *engine) wait(ctx context.Context) (*gate.Gate, error) {
	if g := e.gate.Load(); g != nil {
		return g, nil
	}
	timer := time.NewTimer(waitForStart)
	defer timer.Stop()
	select {
	case <-e.ready:
		return e.gate.Load(), nil
	case <-timer.C:
		return nil, errNotStarted
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// waitForStart is how long a request that comes before Start waits for it.
const waitForStart = 5 * time.Second

var errNotStarted = errors.New("the storage is not open yet")

// Destruct closes the engine after the last one has left it.
func (e *engine) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.Store(nil)
	err := e.shut(ctx)
	if err != nil {
		e.logger.Error("closing the storage", "error", err)
	}
	return err
}

// closeTime bounds how long writing down what was counted may take.
const closeTime = time.Minute

// shut closes what is open. The caller holds mu, which no task takes.
func (e *engine) shut(ctx context.Context) error {
	if e.endTasks != nil {
		e.endTasks()
		e.tasks.Wait()
		e.endTasks = nil
	}
	var errs []error
	if e.decider != nil {
		errs = append(errs, e.decider.Close(ctx))
		e.decider = nil
	}
	if e.meter != nil {
		errs = append(errs, e.meter.Close(ctx))
		e.meter = nil
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
		e.store, e.backup, e.size = nil, nil, nil
	}
	return errors.Join(errs...)
}

// cutoffs says what is too old at now, by the settings in force.
func (e *engine) cutoffs(now time.Time) store.Cutoffs {
	r := e.keep.Load().or()
	return store.Cutoffs{
		Hours: now.Add(-time.Duration(r.Hours)),
		Days:  now.Add(-time.Duration(r.Days)),
		Loans: now.Add(-time.Duration(r.Days)),
		Books: map[store.Book]func(key, value []byte) bool{
			store.Audit:       admin.OldEntries(now.Add(-time.Duration(r.Audit))),
			store.Idempotency: admin.OldAnswers(now),
		},
	}
}

// startTasks starts what the engine does by itself. The caller holds mu.
func (e *engine) startTasks() {
	ctx, cancel := context.WithCancel(context.Background())
	e.endTasks = cancel
	e.tasks.Go(func() { e.prune(ctx, e.store, e.meter) })
}

// pruneEvery is how often what is past its retention is deleted.
const pruneEvery = time.Hour

// keepCheckpoints is how long the totals of periods are kept: bills are made of them.
const keepCheckpoints = 400 * day

// prune deletes what is past its retention, hourly, until ctx ends.
func (e *engine) prune(ctx context.Context, s store.Engine, m *meter.Meter) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if now.Hour() == 0 {
				if err := e.metrics.chooseTop(ctx, s, now); err != nil && ctx.Err() == nil {
					e.logger.Warn("choosing the customers that are counted by themselves", "error", err)
				}
			}
			pruned, err := store.Retain(ctx, s, e.cutoffs(now))
			checkpoints, failed := m.PruneCheckpoints(ctx, now.Add(-keepCheckpoints))
			if err = errors.Join(err, failed); err != nil && ctx.Err() == nil {
				e.logger.Error("pruning what is past its retention", "error", err)
			}
			e.logger.Debug("pruned what is past its retention", "usage", pruned.Usage, "books", pruned.Books, "checkpoints", checkpoints)
		}
	}
}
