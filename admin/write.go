// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/store"
)

// maxTries is how often a change is made anew from what has been changed by
// another node or program meanwhile. Calls of this server take turns.
const maxTries = 10

// A change is what a call makes of what it has read. All of it is written in
// one transaction.
type change struct {
	store.Mutations
	audit []entry // what and to whom; who and when is filled in
	shown *answer
	kept  any // what a repeated call is shown instead of shown.body, where that holds a secret

	reason string  // that the caller gave
	secret *string // that was made

	// before is done just before the change is written, and undone if that fails.
	before func() (undo func(), err error)

	// subjects are the customers whose personal data the answer holds.
	subjects []string
	// isNew: the customer of a key is made, too. Where somebody else was sooner,
	// that one is read.
	isNew bool
}

// write makes a change: it calls prepare to read and to say what is to be
// changed, and does it again when that was changed by somebody else meanwhile.
// A call whose Idempotency-Key is known is not made again.
func (s *Server) write(ctx context.Context, c *call, prepare func(now time.Time) (*change, error)) (*answer, error) {
	once, err := s.begin(c)
	if err != nil {
		return nil, err
	}
	defer once.end()
	s.writing.Lock()
	defer s.writing.Unlock()
	for range maxTries {
		if earlier, err := once.earlier(ctx); earlier != nil || err != nil {
			return earlier, err
		}
		now := s.o.Now()
		ch, err := prepare(now)
		if err != nil {
			return nil, err
		}
		if err := ch.record(c, now, once); err != nil {
			return nil, err
		}
		err = s.commitChange(ctx, ch)
		taken := new(store.DuplicateError)
		switch {
		case err == nil:
			return ch.shown, nil
		case errors.Is(err, store.ErrConflict):
		case ch.isNew && errors.As(err, &taken) && taken.Field == "email":
		default:
			return nil, err
		}
	}
	return nil, store.ErrConflict
}

// record adds to the change its audit entries and the answer that a repeated
// call is given.
func (ch *change) record(c *call, now time.Time, once *once) error {
	for _, e := range ch.audit {
		record, err := e.by(c, now).record()
		if err != nil {
			return err
		}
		ch.Records.Put = append(ch.Records.Put, record)
	}
	kept := ch.kept
	if kept == nil {
		kept = ch.shown.body
	}
	return once.record(&ch.Records, now, ch.shown.status, kept, ch.subjects)
}

func (s *Server) commitChange(ctx context.Context, ch *change) error {
	if ch.before == nil {
		return s.commit(ctx, ch.Mutations)
	}
	undo, err := ch.before()
	if err != nil {
		return err
	}
	if err := s.commit(ctx, ch.Mutations); err != nil {
		undo()
		return err
	}
	return nil
}

// commit writes m, to the Journal alone where the Directory is not touched.
func (s *Server) commit(ctx context.Context, m store.Mutations) error {
	if len(m.Customers)+len(m.Keys)+len(m.Plans)+len(m.DeletePlans) > 0 {
		_, err := s.o.Store.Write(ctx, m)
		if err != nil {
			return fmt.Errorf("writing to the directory: %w", err)
		}
		return nil
	}
	if m.Records.Empty() {
		return nil
	}
	if err := s.o.Store.Commit(ctx, m.Records); err != nil {
		return fmt.Errorf("writing to the journal: %w", err)
	}
	return nil
}

// members returns what a shape is as JSON, member by member.
func members(shape any) map[string]any {
	raw, err := json.Marshal(shape)
	if err != nil {
		panic("admin: a shape is not JSON: " + err.Error())
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		panic("admin: a shape is not an object: " + err.Error())
	}
	return m
}
