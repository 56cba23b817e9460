// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// engine is a Journal and a Ledger that can be copied in a moment, as a crash
// would leave them, and told to fail.
type engine struct {
	mu       sync.Mutex // guards the rest
	books    map[store.Book]map[string]string
	booked   map[string]uint64
	rows     []store.UsageRow
	fail     error // of every write
	lose     error // of every write, which is made nevertheless
	commits  int
	appended int
}

func newEngine() *engine {
	return &engine{books: make(map[store.Book]map[string]string), booked: make(map[string]uint64)}
}

func (e *engine) clone() *engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := newEngine()
	for name, book := range e.books {
		c.books[name] = maps.Clone(book)
	}
	c.booked = maps.Clone(e.booked)
	c.rows = slices.Clone(e.rows)
	return c
}

func (e *engine) set(fail, lose error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail, e.lose = fail, lose
}

func (e *engine) Read(_ context.Context, book store.Book, key []byte) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := e.books[book][string(key)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return []byte(v), nil
}

func (e *engine) Scan(_ context.Context, book store.Book, r store.Range, fn func(key, value []byte) bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range slices.SortedFunc(maps.Keys(e.books[book]), cmp.Compare[string]) {
		if k < string(r.From) || len(r.To) > 0 && k >= string(r.To) {
			continue
		}
		if !fn([]byte(k), []byte(e.books[book][k])) {
			break
		}
	}
	return nil
}

func (e *engine) Commit(_ context.Context, b store.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return e.fail
	}
	for _, x := range b.Expect {
		v, ok := e.books[x.Book][string(x.Key)]
		if ok != (x.Value != nil) || !bytes.Equal([]byte(v), x.Value) {
			return store.ErrConflict
		}
	}
	for _, p := range b.Put {
		if e.books[p.Book] == nil {
			e.books[p.Book] = make(map[string]string)
		}
		if p.Value == nil {
			delete(e.books[p.Book], string(p.Key))
		} else {
			e.books[p.Book][string(p.Key)] = string(p.Value)
		}
	}
	e.commits++
	return e.lose
}

func (e *engine) Append(_ context.Context, node string, sequence uint64, rows []store.UsageRow) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return e.fail
	}
	if sequence > e.booked[node] {
		e.booked[node] = sequence
		e.rows = append(e.rows, rows...)
		e.appended++
	}
	return e.lose
}

func (e *engine) Sequence(_ context.Context, node string) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.booked[node], nil
}

// Usage sums over the whole time asked for: one row.
func (e *engine) Usage(_ context.Context, q store.UsageQuery) ([]store.UsageRow, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := store.UsageRow{Start: q.From}
	for _, r := range e.rows {
		if r.Start.Before(q.From) || !r.Start.Before(q.To) || q.Key != "" && r.Key != q.Key ||
			q.Customer != "" && r.Customer != q.Customer || q.Route != "" && r.Route != q.Route {
			continue
		}
		sum.Customer = r.Customer
		sum.Requests += r.Requests
		sum.Refused += r.Refused
		sum.Refunded += r.Refunded
		for unit, n := range r.Units {
			if sum.Units == nil {
				sum.Units = make(map[string]int64)
			}
			sum.Units[unit] += n
		}
	}
	return []store.UsageRow{sum}, nil
}

func (e *engine) PruneUsage(context.Context, time.Time, time.Time) (int, error) { return 0, nil }
func (e *engine) RenameUsage(context.Context, string, string) error             { return nil }
