// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// EpochKey is where the book Meta holds the epoch, in decimal. A restore raises
// it. It is part of every identifier that is sent to others, so that nothing
// sent after a restore is taken for what was sent before the backup.
const EpochKey = "epoch"

// Epoch returns the epoch: 0 before the first restore.
func Epoch(ctx context.Context, j Journal) (uint64, error) {
	raw, err := j.Read(ctx, Meta, []byte(EpochKey))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	return epoch, nil
}

// recordTomb begins the tombstone of a journal record: book, a zero byte, key.
const recordTomb = "record/"

// Tombstone returns a record to be committed together with r, where r deletes
// or replaces what must not come back, as personal data. A restore of an older
// backup then does the same to the record if that still has it. (Engines write
// the tombstones of revoked keys and erased customers themselves.)
func Tombstone(r Record) Record {
	key := append([]byte(recordTomb+string(r.Book)+"\x00"), r.Key...)
	value := []byte{'-'}
	if r.Value != nil {
		value = append([]byte{'+'}, r.Value...)
	}
	return Record{Book: Tombstones, Key: key, Value: value}
}

// Buried returns the record that Tombstone was made of.
func Buried(tombstone Record) (r Record, ok bool) {
	name, ok := strings.CutPrefix(string(tombstone.Key), recordTomb)
	if !ok {
		return Record{}, false
	}
	book, key, ok := strings.Cut(name, "\x00")
	if !ok || len(tombstone.Value) == 0 {
		return Record{}, false
	}
	r = Record{Book: Book(book), Key: []byte(key)}
	if tombstone.Value[0] == '+' {
		r.Value = bytes.Clone(tombstone.Value[1:])
		if r.Value == nil {
			r.Value = []byte{}
		}
	}
	return r, true
}
