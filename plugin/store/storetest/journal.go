// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/keytoll/keytoll/plugin/store"
)

func runJournal(t *testing.T, open Open) {
	each(t, open, "a batch is committed as a whole or not at all", journalAtomic)
	each(t, open, "an expectation that does not hold is a conflict", journalExpect)
	each(t, open, "a scan walks its range in order, both ways, and stops when told", journalScan)
	each(t, open, "of concurrent commits that expect the same, one wins", journalRace)
	each(t, open, "an empty value is a record, and a book is not another", journalEmpty)
	each(t, open, "keys that no engine could hold are refused", journalKeys)
	each(t, open, "what is old is pruned, and nothing else", journalPrune)
}

func commit(t *testing.T, e store.Engine, put ...store.Record) {
	t.Helper()
	if err := e.Commit(context.Background(), store.Batch{Put: put}); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func record(book store.Book, key, value string) store.Record {
	return store.Record{Book: book, Key: []byte(key), Value: []byte(value)}
}

func read(t *testing.T, e store.Engine, book store.Book, key string) string {
	t.Helper()
	v, err := e.Read(context.Background(), book, []byte(key))
	if errors.Is(err, store.ErrNotFound) {
		return "(none)"
	}
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(v)
}

func journalAtomic(t *testing.T, e store.Engine) {
	commit(t, e, record(store.Queue, "a", "1"), record(store.Outbox, "a", "2"))
	err := e.Commit(context.Background(), store.Batch{
		Expect: []store.Record{record(store.Queue, "a", "other")},
		Put:    []store.Record{record(store.Queue, "b", "3"), {Book: store.Outbox, Key: []byte("a")}},
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	if got := read(t, e, store.Queue, "b") + read(t, e, store.Outbox, "a"); got != "(none)2" {
		t.Errorf("got %s after a failed batch, want nothing changed", got)
	}
	commit(t, e, record(store.Queue, "a", "x"), store.Record{Book: store.Queue, Key: []byte("a")}, record(store.Queue, "a", "y"))
	if got := read(t, e, store.Queue, "a"); got != "y" {
		t.Errorf("got %s, want the last put of the batch", got)
	}
}

func journalExpect(t *testing.T, e store.Engine) {
	ctx := context.Background()
	absent := store.Record{Book: store.Meta, Key: []byte("k")}
	claim := store.Batch{Expect: []store.Record{absent}, Put: []store.Record{record(store.Meta, "k", "")}}
	if err := e.Commit(ctx, claim); err != nil {
		t.Fatalf("nothing expected, nothing there: %v", err)
	}
	if err := e.Commit(ctx, claim); !errors.Is(err, store.ErrConflict) {
		t.Errorf("nothing expected, an empty value there: got %v, want ErrConflict", err)
	}
	next := store.Batch{Expect: []store.Record{record(store.Meta, "k", "")}, Put: []store.Record{record(store.Meta, "k", "2")}}
	if err := e.Commit(ctx, next); err != nil {
		t.Errorf("the empty value expected and there: %v", err)
	}
	if err := e.Commit(ctx, next); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a former value expected: got %v, want ErrConflict", err)
	}
}

func scanned(t *testing.T, e store.Engine, r store.Range, most int) string {
	t.Helper()
	var got []string
	err := e.Scan(context.Background(), store.Checkpoints, r, func(k, v []byte) bool {
		got = append(got, string(k)+"="+string(v))
		return len(got) < most
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return strings.Join(got, " ")
}

func journalScan(t *testing.T, e store.Engine) {
	for i, k := range []string{"a", "b", "ba", "bb", "c", "\xff", "\xff\xff"} {
		commit(t, e, record(store.Checkpoints, k, fmt.Sprint(i)))
	}
	commit(t, e, record(store.Slots, "b", "of another book"))
	const all = 100
	for _, c := range []struct {
		name string
		r    store.Range
		most int
		want string
	}{
		{"all", store.Range{}, all, "a=0 b=1 ba=2 bb=3 c=4 \xff=5 \xff\xff=6"},
		{"half-open", store.Range{From: []byte("b"), To: []byte("c")}, all, "b=1 ba=2 bb=3"},
		{"backwards", store.Range{From: []byte("b"), To: []byte("c"), Reverse: true}, all, "bb=3 ba=2 b=1"},
		{"backwards from the end", store.Range{From: []byte("c"), Reverse: true}, all, "\xff\xff=6 \xff=5 c=4"},
		{"backwards past the last key", store.Range{To: []byte("\xff\xff\xff"), Reverse: true}, 1, "\xff\xff=6"},
		{"between keys", store.Range{From: []byte("aa"), To: []byte("az")}, all, ""},
		{"between keys, backwards", store.Range{From: []byte("aa"), To: []byte("az"), Reverse: true}, all, ""},
		{"stopped", store.Range{}, 2, "a=0 b=1"},
		{"by prefix", store.Prefixed([]byte("b")), all, "b=1 ba=2 bb=3"},
		{"by a prefix that ends the order", store.Prefixed([]byte("\xff")), all, "\xff=5 \xff\xff=6"},
	} {
		if got := scanned(t, e, c.r, c.most); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func journalRace(t *testing.T, e store.Engine) {
	var wg sync.WaitGroup
	won := make([]error, 10)
	for i := range won {
		wg.Go(func() {
			won[i] = e.Commit(context.Background(), store.Batch{
				Expect: []store.Record{{Book: store.Meta, Key: []byte("claim")}},
				Put:    []store.Record{record(store.Meta, "claim", fmt.Sprint(i))},
			})
		})
	}
	wg.Wait()
	winners := 0
	for i, err := range won {
		switch {
		case err == nil:
			winners++
			if got := read(t, e, store.Meta, "claim"); got != fmt.Sprint(i) {
				t.Errorf("%d won, and %s is read", i, got)
			}
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("%d: got %v, want ErrConflict", i, err)
		}
	}
	if winners != 1 {
		t.Errorf("got %d winners, want 1", winners)
	}
}

func journalEmpty(t *testing.T, e store.Engine) {
	commit(t, e, record(store.Queue, "k", ""), record(store.Audit, "k", "other"))
	v, err := e.Read(context.Background(), store.Queue, []byte("k"))
	if err != nil || v == nil || len(v) != 0 {
		t.Errorf("got %v, %v, want an empty value", v, err)
	}
	value := []byte("mine")
	commit(t, e, store.Record{Book: store.Queue, Key: []byte("k"), Value: value})
	copy(value, "XXXX")
	if got := read(t, e, store.Queue, "k"); got != "mine" {
		t.Errorf("got %s: the engine kept the caller's bytes", got)
	}
	if got := read(t, e, store.Audit, "k"); got != "other" {
		t.Errorf("got %s from the other book", got)
	}
}

func journalKeys(t *testing.T, e store.Engine) {
	for _, r := range []store.Record{
		{Book: store.Queue, Value: []byte("v")},
		{Key: []byte("k"), Value: []byte("v")},
		{Book: store.Queue, Key: bytes.Repeat([]byte("k"), 40_000), Value: []byte("v")},
	} {
		if err := e.Commit(context.Background(), store.Batch{Put: []store.Record{r}}); err == nil {
			t.Errorf("a key of %d bytes in book %q was accepted", len(r.Key), r.Book)
		}
	}
}

func journalPrune(t *testing.T, e store.Engine) {
	const records = 1700
	for i := range records {
		commit(t, e, record(store.Audit, fmt.Sprintf("%05d", i), "v"))
	}
	n, err := store.Prune(context.Background(), e, store.Audit, store.Range{To: []byte("01600")}, func(k, _ []byte) bool {
		return k[len(k)-1] != '7'
	})
	if err != nil || n != 1440 {
		t.Fatalf("got %d, %v, want 1440 pruned", n, err)
	}
	left := 0
	if err := e.Scan(context.Background(), store.Audit, store.Range{}, func(_, _ []byte) bool { left++; return true }); err != nil {
		t.Fatal(err)
	}
	if left != records-1440 {
		t.Errorf("got %d left, want %d", left, records-1440)
	}
}
