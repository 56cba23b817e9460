// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// idempotencyTime is how long an answer is repeated.
const idempotencyTime = 24 * time.Hour

// given is the record of an answer, in the book of idempotency under the hash
// of who called and of the Idempotency-Key. It never holds a secret.
type given struct {
	At       time.Time       `json:"at"`
	Call     string          `json:"call"` // method and path
	Digest   apikey.Hash     `json:"digest"`
	Status   int             `json:"status"`
	Body     json.RawMessage `json:"body,omitempty"`
	Subjects []string        `json:"subjects,omitempty"` // the customers it tells of
	Erased   bool            `json:"erased,omitempty"`
}

// once is one call that is made at most once; nil where the caller did not ask
// for that.
type once struct {
	s    *Server
	c    *call
	name string // what it runs under
	key  []byte // of its record
	was  []byte // the record that is there and has run out
}

// running holds the calls with an Idempotency-Key that are being made.
type running struct {
	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

func newRunning() *running { return &running{names: map[string]bool{}} }

// begin enters a call, if it came with an Idempotency-Key.
func (s *Server) begin(c *call) (*once, error) {
	keys := c.r.Header.Values("Idempotency-Key")
	if len(keys) == 0 || c.r.Method != http.MethodPost {
		return nil, nil
	}
	if len(keys) > 1 || keys[0] == "" || textProblem(keys[0], 255) != "" {
		return nil, wrongParameter("Idempotency-Key", "It must be one text of 1 to 255 bytes.")
	}
	key := sha256.Sum256([]byte(c.actor.ID + "\x00" + keys[0]))
	o := &once{s: s, c: c, name: string(key[:]), key: key[:]}
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	if s.running.names[o.name] {
		return nil, conflict("idempotency_in_progress", "A call with this Idempotency-Key is being made.")
	}
	s.running.names[o.name] = true
	return o, nil
}

// end lets the next call with the same Idempotency-Key in.
func (o *once) end() {
	if o == nil {
		return
	}
	o.s.running.mu.Lock()
	defer o.s.running.mu.Unlock()
	delete(o.s.running.names, o.name)
}

// earlier returns the answer that was given to the call before, if any.
func (o *once) earlier(ctx context.Context) (*answer, error) {
	if o == nil {
		return nil, nil
	}
	raw, err := o.s.o.Store.Read(ctx, store.Idempotency, o.key)
	if errors.Is(err, store.ErrNotFound) {
		o.was = nil
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading an earlier answer: %w", err)
	}
	var g given
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, fmt.Errorf("reading an earlier answer: %w", err)
	}
	if g.stale(o.c.now) {
		o.was = raw
		return nil, nil
	}
	switch {
	case g.Call != o.call() || !g.Digest.Equal(o.c.document.digest()):
		return nil, idempotencyMismatch()
	case g.Erased:
		return nil, gone()
	}
	o.c.w.Header().Set("Idempotent-Replayed", "true")
	return &answer{g.Status, g.Body}, nil
}

func (g *given) stale(now time.Time) bool { return now.Sub(g.At) >= idempotencyTime }

func (o *once) call() string { return o.c.r.Method + " " + o.c.r.URL.Path }

// record adds the answer to what is written. Should another node have given
// one meanwhile, the write conflicts.
func (o *once) record(batch *store.Batch, now time.Time, status int, body any, subjects []string) error {
	if o == nil {
		return nil
	}
	shown, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("keeping the answer: %w", err)
	}
	value, err := json.Marshal(given{
		At: now.UTC(), Call: o.call(), Digest: o.c.document.digest(), Status: status, Body: shown, Subjects: subjects,
	})
	if err != nil {
		return fmt.Errorf("keeping the answer: %w", err)
	}
	batch.Expect = append(batch.Expect, store.Record{Book: store.Idempotency, Key: o.key, Value: o.was})
	batch.Put = append(batch.Put, store.Record{Book: store.Idempotency, Key: o.key, Value: value})
	return nil
}

// OldAnswers tells store.Retain which records of the book of idempotency are no
// longer repeated at now.
func OldAnswers(now time.Time) func(key, value []byte) bool {
	return func(_, value []byte) bool {
		var g given
		return json.Unmarshal(value, &g) != nil || g.stale(now)
	}
}
