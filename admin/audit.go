// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/store"
)

// An entry says who changed what: one record of the book of audits, under its
// id. Before and After hold the members that differ; never a secret or a hash.
type entry struct {
	ID        string         `json:"id"`
	Object    string         `json:"object"`
	Time      time.Time      `json:"time"`
	Actor     actor          `json:"actor"`
	Action    string         `json:"action"` // as in key.create
	Target    string         `json:"target"` // an id
	Customer  *string        `json:"customer"`
	Before    map[string]any `json:"before"` // null where there was nothing
	After     map[string]any `json:"after"`
	Reason    string         `json:"reason,omitempty"` // that the caller gave
	IP        string         `json:"ip"`
	RequestID string         `json:"request_id"`
}

// actor is who made a call.
type actor struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// changed returns an entry for a record of a customer of which before became
// after; it holds only what differs. Where before is nil, it was made.
func changed(action, target, customer string, before, after map[string]any) entry {
	b, a := map[string]any{}, map[string]any{}
	if before == nil {
		return entry{Action: action, Target: target, Customer: unlessZero(customer), After: after}
	}
	for name, value := range after {
		if old := before[name]; !reflect.DeepEqual(old, value) {
			b[name], a[name] = old, value
		}
	}
	return entry{Action: action, Target: target, Customer: unlessZero(customer), Before: b, After: a}
}

// by fills in who did it and when.
func (e entry) by(c *call, now time.Time) entry {
	e.ID, e.Object, e.Time = id.New("audit", now), "audit_entry", now.UTC()
	e.Actor = actor{c.actor.ID, c.actor.Name, c.actor.Role}
	e.IP, e.RequestID = remote(c.r), c.requestID
	return e
}

func (e entry) record() (store.Record, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return store.Record{}, fmt.Errorf("writing an audit entry: %w", err)
	}
	return store.Record{Book: store.Audit, Key: []byte(e.ID), Value: value}, nil
}

func (s *Server) listAudit(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("customer", "target", "actor", "action", "from", "to")
	if err != nil {
		return nil, err
	}
	from, to := q.when("from"), q.when("to")
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	wanted := func(e *entry) bool {
		return (q.text("customer") == "" || e.Customer != nil && *e.Customer == q.text("customer")) &&
			(q.text("target") == "" || e.Target == q.text("target")) &&
			(q.text("actor") == "" || e.Actor.ID == q.text("actor") || e.Actor.Name == q.text("actor")) &&
			(q.text("action") == "" || e.Action == q.text("action")) &&
			(from.IsZero() || !e.Time.Before(from)) && (to.IsZero() || e.Time.Before(to))
	}
	entries, more, err := s.entries(ctx, page, from, wanted)
	if err != nil {
		return nil, err
	}
	return ok(paged(entries, more, func(e entry) string { return e.ID })), nil
}

// entries returns a page of the audit entries that are wanted, newest first,
// none of them older than from.
func (s *Server) entries(ctx context.Context, page store.PageQuery, from time.Time, wanted func(*entry) bool) (found []entry, more bool, err error) {
	var broken error
	r := store.Range{To: []byte(page.After), Reverse: true}
	err = s.o.Store.Scan(ctx, store.Audit, r, func(_, value []byte) bool {
		var e entry
		if broken = json.Unmarshal(value, &e); broken != nil || e.Time.Before(from) {
			return false
		}
		if !wanted(&e) {
			return true
		}
		if more = len(found) == page.Limit; more {
			return false
		}
		found = append(found, e)
		return true
	})
	if err = errors.Join(err, broken); err != nil {
		return nil, false, fmt.Errorf("reading the audit log: %w", err)
	}
	return found, more, nil
}

// OldEntries tells store.Retain which records of the book of audits were
// written before a time.
func OldEntries(before time.Time) func(key, value []byte) bool {
	return func(_, value []byte) bool {
		var e struct {
			Time time.Time `json:"time"`
		}
		return json.Unmarshal(value, &e) == nil && e.Time.Before(before)
	}
}
