// SPDX-License-Identifier: Apache-2.0

// Package meter counts exactly, without a write per request.
//
// What is counted stands in slots: eight words of memory that a file backs.
// Reserve admits units by one compare-and-swap on a word; the returned Hold
// settles them. A slot belongs to a dense number, which the Journal's book of
// slots gives once to each owner, unit and calendar.
//
//   - Counter, Hold: what a request needs (counter.go, hold.go)
//   - slot, words, segment: where counts stand (slot.go, words.go, segment.go)
//   - slotFile, files: what keeps them over a crash (slotfile.go, files.go, mend.go)
//   - book, opener: how a counter comes by its slot (book.go, opener.go)
//   - lease: why no crash admits more than a quota (lease.go, recover.go)
//   - checkpoint, Tally, Seal: what the Journal and the Ledger are told
//     (checkpoint.go, tally.go, rollup.go, attribute.go, seal.go)
package meter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// ErrUnavailable says that the counter's slot, or a lease for it, could not be
// had in time. The request cannot be decided.
var ErrUnavailable = errors.New("counter is not available")

const (
	patience        = time.Second            // how long a request waits for a slot or a lease
	syncInterval    = 250 * time.Millisecond // how long what is counted may be in memory alone
	checkpointEvery = time.Minute
)

// Options are what a meter needs.
type Options struct {
	Dir     string // where slot files live; "" keeps them in memory
	Journal store.Journal
	Ledger  store.Ledger
	Node    string
	Now     func() time.Time
	Logger  *slog.Logger
	// Elapsed returns the time since a fixed moment, by a clock that is never
	// set. Default: what the monotonic readings of the times given say.
	Elapsed func() time.Duration
	// Customer returns whose a key is. It is asked after a crash, for what the
	// Ledger did not learn. Default: what the Ledger says.
	Customer func(ctx context.Context, key string) (string, error)

	// Disk is for tests alone. Default: the real one.
	Disk *Disk

	hooks   *hooks
	numbers int64 // in a segment
}

// Meter holds the counters of this node. Its methods may be called concurrently.
type Meter struct {
	o        Options
	clock    *clock
	book     *book
	files    *files
	counters registry[ID, Counter]
	tallies  registry[tallyKey, Tally]

	opens  stack[*Counter] // that want a slot
	leases stack[*slot]    // that want to be lent more
	dirty  stack[*slot]    // changed since their last checkpoint
	told   stack[*Tally]   // with something the Ledger does not know

	rounds  sync.Mutex // orders what is read of slots for the Journal with its commit
	rollups rollups

	grumbled atomic.Int64 // when a fault was last logged, in Unix seconds

	closed  atomic.Bool
	closing sync.Once
	stop    chan struct{}
	done    sync.WaitGroup
}

// Open recovers what was counted and starts the meter's own goroutines.
func Open(ctx context.Context, o Options) (*Meter, error) {
	if o.Now == nil {
		return nil, errors.New("opening the meter: no clock")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Disk != nil {
		o.hooks, o.numbers = o.Disk.hooks(), o.Disk.Numbers
	}
	m := &Meter{o: o, stop: make(chan struct{})}
	m.clock = newClock(o.Now(), o.Elapsed)
	m.opens.ready = make(chan struct{}, 1)
	m.leases.ready = make(chan struct{}, 1)
	var err error
	if m.book, err = openBook(ctx, o.Journal, o.Node); err != nil {
		return nil, err
	}
	if m.files, err = openFiles(ctx, m.book, o); err != nil {
		return nil, err
	}
	m.files.freeze = m.freeze
	if err := m.rollups.open(ctx, o.Ledger, o.Node); err != nil {
		return nil, err
	}
	if err := m.recover(ctx); err != nil {
		return nil, err
	}
	m.done.Go(m.openSlots)
	m.done.Go(m.renewLeases)
	m.done.Go(m.keep)
	return m, nil
}

// keep syncs and writes checkpoints until the meter is closed.
func (m *Meter) keep() {
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	last := m.o.Now()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
		}
		now := m.o.Now()
		m.clock.trust(now)
		m.files.tick(context.Background())
		if since := now.Sub(last); since >= checkpointEvery || since < 0 {
			last = now
			if err := m.checkpoint(context.Background()); err != nil {
				m.grumble("writing checkpoints of the counters", err)
			}
		}
	}
}

// grumbleEvery keeps a fault that hits every request from filling the log.
const grumbleEvery = 10 * time.Second

// grumble logs a fault, if none was logged in the last seconds.
func (m *Meter) grumble(doing string, err error) {
	now := m.o.Now().Unix()
	if last := m.grumbled.Load(); now-last >= int64(grumbleEvery/time.Second) || now < last {
		m.grumbled.Store(now)
		m.o.Logger.Error(doing, "error", err)
	}
}

// Flush makes everything counted so far durable, rollups included.
func (m *Meter) Flush(ctx context.Context) error {
	return errors.Join(m.files.sync(), m.checkpoint(ctx))
}

// Close syncs, writes checkpoints and rollups, and marks the files clean.
// Counters admit nothing from then on; later calls do nothing.
func (m *Meter) Close(ctx context.Context) (err error) {
	m.closing.Do(func() {
		m.closed.Store(true)
		close(m.stop)
		m.done.Wait()
		m.counters.each(func(c *Counter) { c.end() })
		told := m.checkpoint(ctx)
		err = errors.Join(told, m.files.close(told == nil))
	})
	return err
}
