// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// ErrLost is what a Lossy engine returns instead of an answer.
var ErrLost = errors.New("reply was lost")

// Lossy is an engine whose writes are made and whose replies are then lost, as
// by a network or a crash between the commit and the answer.
type Lossy struct {
	store.Engine
	// Every n-th reply to a write is lost; 0: none.
	Every int64

	writes atomic.Int64
}

func (l *Lossy) lose(err error) error {
	if err == nil && l.Every > 0 && l.writes.Add(1)%l.Every == 0 {
		return ErrLost
	}
	return err
}

// Write implements store.Directory.
func (l *Lossy) Write(ctx context.Context, m store.Mutations) (uint64, error) {
	revision, err := l.Engine.Write(ctx, m)
	if err = l.lose(err); err != nil {
		return 0, err
	}
	return revision, nil
}

// Commit implements store.Journal.
func (l *Lossy) Commit(ctx context.Context, b store.Batch) error {
	return l.lose(l.Engine.Commit(ctx, b))
}

// Append implements store.Ledger.
func (l *Lossy) Append(ctx context.Context, node string, sequence uint64, rows []store.UsageRow) error {
	return l.lose(l.Engine.Append(ctx, node, sequence, rows))
}

// Take implements store.Lender.
func (l *Lossy) Take(ctx context.Context, asks []store.Ask) ([]store.Loan, error) {
	loans, err := l.Engine.Take(ctx, asks)
	if err = l.lose(err); err != nil {
		return nil, err
	}
	return loans, nil
}

func runBadDays(t *testing.T, open Open) {
	for _, c := range []struct {
		claim string
		run   func(t *testing.T, e *Lossy)
	}{
		{"a write repeated after a lost reply is refused cleanly", repeatedWrite},
		{"an append repeated after a lost reply books once", repeatedAppend},
		{"a take repeated after a lost reply lends once", repeatedTake},
		{"a commit repeated after a lost reply is harmless or a conflict", repeatedCommit},
	} {
		each(t, open, c.claim, func(t *testing.T, e store.Engine) { c.run(t, &Lossy{Engine: e, Every: 1}) })
	}
	t.Run("what was acknowledged or lost before a crash is there once after it", func(t *testing.T) {
		e, reopen := open(t)
		if reopen == nil {
			t.Skip("the engine keeps nothing")
		}
		lostAndReopened(t, e, reopen)
	})
}

func repeatedWrite(t *testing.T, e *Lossy) {
	ctx := context.Background()
	m := store.Mutations{
		Customers: []customer.Customer{Customer(1)}, Keys: []apikey.Key{Key(1, ID("cust", 1))}, Plans: []plan.Plan{Plan("p")},
	}
	if _, err := e.Write(ctx, m); !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want a lost reply", err)
	}
	var d *store.DuplicateError
	if _, err := e.Write(ctx, m); !errors.As(err, &d) || d.Field != "id" {
		t.Errorf("new records repeated: got %v, want the id taken", err)
	}
	c := cust(t, e, ID("cust", 1))
	c.Name = "changed"
	change := store.Mutations{Customers: []customer.Customer{c}}
	if _, err := e.Write(ctx, change); !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want a lost reply", err)
	}
	if _, err := e.Write(ctx, change); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a change repeated: got %v, want ErrConflict", err)
	}
	if n, _ := e.Revision(ctx); n != 2 {
		t.Errorf("got revision %d, want 2", n)
	}
}

func repeatedAppend(t *testing.T, e *Lossy) {
	for range 3 {
		if err := e.Append(context.Background(), "n", 1, []store.UsageRow{usageRow(0, "c", "k", 4)}); !errors.Is(err, ErrLost) {
			t.Fatalf("got %v, want a lost reply", err)
		}
	}
	if got := requests(t, e, store.UsageQuery{}); got != 4 {
		t.Errorf("got %d requests, want 4", got)
	}
}

func repeatedTake(t *testing.T, e *Lossy) {
	for range 3 {
		if _, err := e.Take(context.Background(), []store.Ask{ask("b", "n", 100, 0, 30)}); !errors.Is(err, ErrLost) {
			t.Fatalf("got %v, want a lost reply", err)
		}
	}
	e.Every = 0
	lent(t, e, store.Loan{Taken: 30, Left: 70}, ask("b", "n", 100, 0, 30))
}

func repeatedCommit(t *testing.T, e *Lossy) {
	ctx := context.Background()
	b := store.Batch{
		Expect: []store.Record{{Book: store.Queue, Key: []byte("k")}},
		Put:    []store.Record{record(store.Queue, "k", "v")},
	}
	if err := e.Commit(ctx, b); !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want a lost reply", err)
	}
	if err := e.Commit(ctx, b); !errors.Is(err, store.ErrConflict) {
		t.Errorf("repeated with what it expected: got %v, want ErrConflict", err)
	}
	b.Expect = nil
	if err := e.Commit(ctx, b); !errors.Is(err, ErrLost) {
		t.Errorf("repeated without: got %v, want it made again", err)
	}
	if got := read(t, e, store.Queue, "k"); got != "v" {
		t.Errorf("got %s", got)
	}
}

func lostAndReopened(t *testing.T, e store.Engine, reopen func() store.Engine) {
	ctx := context.Background()
	l := &Lossy{Engine: e, Every: 3}
	for n := range 30 {
		m := store.Mutations{Customers: []customer.Customer{Customer(n)}, Keys: []apikey.Key{Key(n, ID("cust", n))}}
		row := []store.UsageRow{usageRow(n%5, ID("cust", n), ID("key", n), 1)}
		_, err := l.Write(ctx, m)
		if errors.Is(err, ErrLost) {
			if _, err = l.Write(ctx, m); err == nil {
				t.Errorf("customer %d was made twice", n)
			}
		}
		for err := ErrLost; errors.Is(err, ErrLost); {
			err = l.Append(ctx, "n", uint64(n+1), row)
		}
		if n%10 == 9 {
			l.Engine = reopen()
		}
	}
	if n, err := l.Count(ctx); err != nil || n.Customers != 30 || n.Keys[apikey.Active] != 30 {
		t.Errorf("got %+v, %v, want 30 of each", n, err)
	}
	if got := requests(t, l, store.UsageQuery{Group: store.ByKey}); got != 30 {
		t.Errorf("got %d requests, want 30", got)
	}
}
