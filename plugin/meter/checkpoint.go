// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// checkpointRows are written in one transaction: about 5 ms.
const checkpointRows = 2000

// row is the checkpoint of a slot. Its key is the start of the period and the
// dense number: rows of one period stand together, and can be pruned by time.
type row struct {
	counts
	kept
	found bool
}

// kept is what a checkpoint has beside the words.
type kept struct {
	sealed     int64 // of billed
	sealedOver int64 // of over
	adjusted   int64 // by Adjust, in all
	ordinal    int64
	at         int64 // of the last round that wrote the row, in Unix seconds
	open       int64 // requests in flight then: the Ledger is told of them when they end
}

// words returns all of a row, in the order it is written in.
func (r *row) words() [12]*int64 {
	return [12]*int64{
		&r.granted, &r.admitted, &r.refunded, &r.billed, &r.over, &r.refused,
		&r.sealed, &r.sealedOver, &r.adjusted, &r.ordinal, &r.at, &r.open,
	}
}

const rowVersion = 1

func (r row) bytes() []byte {
	b := make([]byte, 1, 32)
	b[0] = rowVersion
	for _, v := range r.words() {
		b = binary.AppendVarint(b, *v)
	}
	return b
}

func parseRow(b []byte) (r row, err error) {
	if len(b) == 0 || b[0] != rowVersion {
		return row{}, errors.New("reading a checkpoint: not of this version")
	}
	b = b[1:]
	for _, v := range r.words() {
		n, size := binary.Varint(b)
		if size <= 0 {
			return row{}, errors.New("reading a checkpoint: cut short")
		}
		*v, b = n, b[size:]
	}
	r.found = true
	return r, nil
}

// parseCheckpointKey returns the number in a key of the node.
func (b *book) parseCheckpointKey(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key[len(key)-8:]))
}

// checkpointKey orders by the start of the period, before 1970 too.
func (b *book) checkpointKey(start time.Time, n int64) []byte {
	key := append(make([]byte, 0, 18), b.shelf[:]...)
	key = binary.BigEndian.AppendUint64(key, uint64(start.Unix())^(1<<63))
	return binary.BigEndian.AppendUint64(key, uint64(n))
}

// checkpoint reads the row of a slot; found is false where there is none.
func (b *book) checkpoint(ctx context.Context, start time.Time, n int64) (row, error) {
	value, err := b.journal.Read(ctx, store.Checkpoints, b.checkpointKey(start, n))
	if errors.Is(err, store.ErrNotFound) {
		return row{}, nil
	}
	if err != nil {
		return row{}, fmt.Errorf("reading a checkpoint: %w", err)
	}
	return parseRow(value)
}

// checkpoint tells the Ledger what was tallied and writes the rows of all
// slots that changed, in transactions of a few milliseconds. What cannot be
// written is tried again at the next round.
func (m *Meter) checkpoint(ctx context.Context) error {
	slots := m.dirty.take()
	if err := m.FlushUsage(ctx); err != nil {
		m.remember(slots)
		return err
	}
	for len(slots) > 0 {
		part := slots[:min(len(slots), checkpointRows)]
		if err := m.checkpointPart(ctx, part); err != nil {
			m.remember(slots)
			return fmt.Errorf("writing checkpoints: %w", err)
		}
		slots = slots[len(part):]
	}
	return nil
}

// remember puts slots back among those that changed.
func (m *Meter) remember(slots []*slot) {
	for _, s := range slots {
		s.changed.Store(true)
		m.dirty.push(s)
	}
}

func (m *Meter) checkpointPart(ctx context.Context, slots []*slot) error {
	m.rounds.Lock()
	defer m.rounds.Unlock()
	now := m.o.Now()
	batch := store.Batch{Put: make([]store.Record, 0, len(slots))}
	for _, s := range slots {
		if s.retired {
			continue
		}
		s.changed.Store(false) // before the words are read
		record, err := s.row(ctx, now)
		if err != nil {
			return err
		}
		batch.Put = append(batch.Put, record)
	}
	if batch.Empty() {
		return nil
	}
	if err := m.o.Journal.Commit(ctx, batch); err != nil {
		return err
	}
	for _, s := range slots {
		s.counter.lookAhead(now, s)
	}
	return nil
}

// row is the slot's checkpoint as of now. The caller holds Meter.rounds.
func (s *slot) row(ctx context.Context, now time.Time) (store.Record, error) {
	if err := s.believe(ctx); err != nil {
		return store.Record{}, err
	}
	s.kept.ordinal, s.kept.at, s.kept.open = s.ordinal, now.Unix(), s.holds.Load()&^ended
	r := row{counts: s.words.counts(), kept: s.kept}
	return s.counter.m.book.rowRecord(s.start(), s.number.n, r), nil
}

func (s *slot) start() time.Time { return s.counter.id.Calendar.Period(s.ordinal).Start }

// believe reads what only the checkpoint knows anew, where a failed commit has
// left it in doubt. The caller holds Meter.rounds.
func (s *slot) believe(ctx context.Context) error {
	if !s.doubt {
		return nil
	}
	written, err := s.counter.m.book.checkpoint(ctx, s.start(), s.number.n)
	if err == nil {
		s.kept, s.doubt = written.kept, false
	}
	return err
}

func (b *book) rowRecord(start time.Time, n int64, r row) store.Record {
	return store.Record{Book: store.Checkpoints, Key: b.checkpointKey(start, n), Value: r.bytes()}
}

// PruneCheckpoints deletes the checkpoints of periods that begin before the
// given time, in small steps, and returns how many.
func (m *Meter) PruneCheckpoints(ctx context.Context, before time.Time) (int, error) {
	deleted := 0
	from := m.book.shelf[:]
	to := m.book.checkpointKey(before, 0)
	for {
		var batch store.Batch
		err := m.o.Journal.Scan(ctx, store.Checkpoints, store.Range{From: from, To: to}, func(key, _ []byte) bool {
			batch.Put = append(batch.Put, store.Record{Book: store.Checkpoints, Key: append([]byte(nil), key...)})
			return len(batch.Put) < checkpointRows
		})
		if err == nil && !batch.Empty() {
			err = m.o.Journal.Commit(ctx, batch)
		}
		if err != nil {
			return deleted, fmt.Errorf("pruning checkpoints: %w", err)
		}
		if batch.Empty() {
			return deleted, nil
		}
		deleted += len(batch.Put)
	}
}
