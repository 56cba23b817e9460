// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

const (
	usesParts = 16
	// usesBatch is how many last uses are written in one batch.
	usesBatch = 1000
)

// uses are when keys were last used, since they were last written. One key
// comes here once a minute, whatever it calls.
type uses struct {
	parts [usesParts]usesPart
}

type usesPart struct {
	mu   sync.Mutex       // guards last
	last map[string]int64 // Unix seconds by key id
}

// used notes that a key has passed.
func (g *Gate) used(e *entry, now time.Time) {
	seconds := now.Unix()
	minute := seconds / 60
	if before := e.lastUsed.Load(); minute <= before || !e.lastUsed.CompareAndSwap(before, minute) {
		return
	}
	g.uses.note(e.key.ID, seconds)
}

func (u *uses) note(key string, seconds int64) {
	p := u.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]int64{}
	}
	p.last[key] = max(p.last[key], seconds)
}

// part goes by an id's last character, which is random.
func (u *uses) part(key string) *usesPart { return &u.parts[key[len(key)-1]%usesParts] }

// LastUsed returns when the key of that id last passed, to the minute; the
// zero time if never.
func (g *Gate) LastUsed(ctx context.Context, key string) (time.Time, error) {
	if key == "" {
		return time.Time{}, nil
	}
	p := g.uses.part(key)
	p.mu.Lock()
	seconds, known := p.last[key]
	p.mu.Unlock()
	if known {
		return time.Unix(seconds, 0).UTC(), nil
	}
	value, err := g.o.Journal.Read(ctx, store.LastUsed, []byte(key))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("reading when a key was last used: %w", err)
	case len(value) != 8:
		return time.Time{}, fmt.Errorf("reading when a key was last used: %d bytes", len(value))
	}
	return time.Unix(int64(binary.BigEndian.Uint64(value)), 0).UTC(), nil
}

// write writes what was noted; what cannot be written is kept.
func (u *uses) write(ctx context.Context, j store.Journal) error {
	var failed error
	for i := range u.parts {
		p := &u.parts[i]
		for failed == nil {
			batch, written := p.batch()
			if batch.Empty() {
				break
			}
			if failed = j.Commit(ctx, batch); failed == nil {
				p.forget(written)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("writing when keys were last used: %w", failed)
	}
	return nil
}

func (p *usesPart) batch() (b store.Batch, noted map[string]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	noted = map[string]int64{}
	for key, seconds := range p.last {
		value := binary.BigEndian.AppendUint64(nil, uint64(seconds))
		b.Put = append(b.Put, store.Record{Book: store.LastUsed, Key: []byte(key), Value: value})
		if noted[key] = seconds; len(noted) == usesBatch {
			break
		}
	}
	return b, noted
}

// forget drops what was written, unless the key was used again meanwhile.
func (p *usesPart) forget(written map[string]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, seconds := range written {
		if p.last[key] == seconds {
			delete(p.last, key)
		}
	}
}
