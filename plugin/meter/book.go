// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/keytoll/keytoll/plugin/store"
)

// The book of slots has one chapter for each node, headed by its shelf:
//
//	"node" name               → shelf, 2 bytes
//	shelf "l"                 → the highest number given
//	shelf "i" ID              → the numbers of a counter with their tags
//	shelf "n" number          → ID
//	shelf "f" index           → name of a segment's file
const (
	chapterLast    = 'l'
	chapterIDs     = 'i'
	chapterNumbers = 'n'
	chapterFiles   = 'f'
)

// number is a dense number and the tag its slots bear.
type number struct {
	n   int64
	tag int64
}

// book reads and writes the Journal's book of slots. It holds no lock: numbers
// are given by the opener alone.
type book struct {
	journal store.Journal
	shelf   [2]byte
	last    atomic.Int64 // the highest number given; 0: none
	doubt   atomic.Bool  // last may be higher in the Journal
}

// openBook finds the node's shelf, or gives it one.
func openBook(ctx context.Context, journal store.Journal, node string) (*book, error) {
	b := &book{journal: journal}
	for {
		shelf, err := journal.Read(ctx, store.Slots, nodeKey(node))
		if err == nil && len(shelf) == len(b.shelf) {
			copy(b.shelf[:], shelf)
			break
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("reading the book of slots: %w", err)
		}
		if err := b.addShelf(ctx, node); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("writing the book of slots: %w", err)
		}
	}
	b.doubt.Store(true)
	return b, b.turn(ctx)
}

// turn reads the highest number given, where it is in doubt.
func (b *book) turn(ctx context.Context) error {
	if !b.doubt.Load() {
		return nil
	}
	last, err := b.journal.Read(ctx, store.Slots, b.key(chapterLast, nil))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading the book of slots: %w", err)
	}
	if len(last) == 8 {
		b.last.Store(int64(binary.BigEndian.Uint64(last)))
	}
	b.doubt.Store(false)
	return nil
}

func nodeKey(node string) []byte { return append([]byte("node/"), node...) }

// addShelf gives the node the next shelf; another node may be faster.
func (b *book) addShelf(ctx context.Context, node string) error {
	count, err := b.journal.Read(ctx, store.Slots, []byte("nodes"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	shelf := make([]byte, 2)
	copy(shelf, count)
	next := binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(shelf)+1)
	return b.journal.Commit(ctx, store.Batch{
		Expect: []store.Record{{Book: store.Slots, Key: []byte("nodes"), Value: count}},
		Put: []store.Record{
			{Book: store.Slots, Key: []byte("nodes"), Value: next},
			{Book: store.Slots, Key: nodeKey(node), Value: next},
		},
	})
}

// key returns a key of the node's shelf. Its first byte keeps shelves apart
// from the names of nodes.
func (b *book) key(chapter byte, rest []byte) []byte {
	key := make([]byte, 0, 4+len(rest))
	key = append(key, 0, b.shelf[0], b.shelf[1], chapter)
	return append(key, rest...)
}

// numbers returns the numbers of a counter, in the order they were given; nil
// where it has none.
func (b *book) numbers(ctx context.Context, id ID) ([]number, error) {
	value, err := b.journal.Read(ctx, store.Slots, b.key(chapterIDs, id.bytes()))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the book of slots: %w", err)
	}
	return parseNumbers(value)
}

func parseNumbers(value []byte) ([]number, error) {
	if len(value)%16 != 0 {
		return nil, errors.New("reading the book of slots: not a list of numbers")
	}
	var numbers []number
	for ; len(value) > 0; value = value[16:] {
		numbers = append(numbers, number{
			n:   int64(binary.BigEndian.Uint64(value)),
			tag: int64(binary.BigEndian.Uint64(value[8:])),
		})
	}
	return numbers, nil
}

// give returns the next number after last and the records that make it id's,
// beside those it has.
func (b *book) give(id ID, last int64, has []number) (number, []store.Record) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	given := number{n: last + 1, tag: int64(binary.BigEndian.Uint64(random[:]) | 1)}
	var list []byte
	for _, n := range append(has[:len(has):len(has)], given) {
		list = binary.BigEndian.AppendUint64(list, uint64(n.n))
		list = binary.BigEndian.AppendUint64(list, uint64(n.tag))
	}
	name := id.bytes()
	return given, []store.Record{
		{Book: store.Slots, Key: b.key(chapterIDs, name), Value: list},
		{Book: store.Slots, Key: b.key(chapterNumbers, bigEndian(given.n)), Value: name},
	}
}

// lastRecord says that numbers up to last are given; there is none before the first.
func (b *book) lastRecord(last int64) store.Record {
	if last == 0 {
		return store.Record{Book: store.Slots, Key: b.key(chapterLast, nil)}
	}
	return store.Record{Book: store.Slots, Key: b.key(chapterLast, nil), Value: bigEndian(last)}
}

// fileRecord names a segment's file.
func (b *book) fileRecord(index int, name string) store.Record {
	key := b.key(chapterFiles, binary.BigEndian.AppendUint32(nil, uint32(index)))
	return store.Record{Book: store.Slots, Key: key, Value: []byte(name)}
}

// files returns the names of the segments' files.
func (b *book) files(ctx context.Context) (names []string, err error) {
	all := store.Prefixed(b.key(chapterFiles, nil))
	err = b.journal.Scan(ctx, store.Slots, all, func(_, name []byte) bool {
		names = append(names, string(name))
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("reading the book of slots: %w", err)
	}
	return names, nil
}

// id returns whose a number is.
func (b *book) id(ctx context.Context, n int64) (ID, error) {
	name, err := b.journal.Read(ctx, store.Slots, b.key(chapterNumbers, bigEndian(n)))
	if err != nil {
		return ID{}, fmt.Errorf("reading the book of slots: %w", err)
	}
	return parseID(name)
}

// ofOwner returns the counters of an owner.
func (b *book) ofOwner(ctx context.Context, o Owner) (ids []ID, err error) {
	name := ID{Owner: o}.bytes()
	prefix := b.key(chapterIDs, name[:len(name)-3]) // without unit, span and anchor
	scanErr := b.journal.Scan(ctx, store.Slots, store.Prefixed(prefix), func(key, _ []byte) bool {
		var id ID
		if id, err = parseID(key[4:]); err != nil {
			return false
		}
		ids = append(ids, id)
		return true
	})
	if scanErr != nil {
		return nil, fmt.Errorf("reading the book of slots: %w", scanErr)
	}
	return ids, err
}

func bigEndian(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
