// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/store"
)

const (
	streamInterval = 2 * time.Second
	streamDenials  = 50 // that one event tells of at most
)

// streamEvent is what the stream tells every two seconds.
type streamEvent struct {
	At           time.Time     `json:"at"`
	Totals       streamTotals  `json:"totals"`        // of this UTC day
	Denials      []denialShape `json:"denials"`       // since the event before, newest first
	Missed       int           `json:"missed"`        // denials that did not fit
	FirstRequest bool          `json:"first_request"` // a request was ever let through
}

type streamTotals struct {
	Requests  int64            `json:"requests"`
	Refused   int64            `json:"refused"`
	Refunded  int64            `json:"refunded"`
	Units     map[string]int64 `json:"units"`
	Keys      int64            `json:"keys"` // active ones
	Customers int64            `json:"customers"`
}

// stream sends server-sent events until the caller has gone.
func (s *Server) stream(ctx context.Context, c *call) (*answer, error) {
	c.w.Header().Set("Content-Type", "text/event-stream")
	if c.r.Method == http.MethodHead {
		return nil, nil
	}
	out := c.patient()
	denials, stop := s.o.Gate.FollowDenials(streamDenials * 4)
	defer stop()
	first := false
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	for {
		event, err := s.event(ctx, denials, &first)
		if err != nil {
			return nil, streamBroken(ctx, err)
		}
		raw, err := json.Marshal(event)
		if err != nil {
			return nil, fmt.Errorf("writing an event: %w", err)
		}
		if _, err := fmt.Fprintf(out, "data: %s\n\n", raw); err != nil {
			return nil, nil
		}
		if out.controller.Flush() != nil {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-tick.C:
		}
	}
}

// streamBroken ends a stream whose caller has gone quietly, any other loudly.
func streamBroken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) event(ctx context.Context, denials <-chan gate.Denial, first *bool) (*streamEvent, error) {
	now := s.o.Now()
	event := &streamEvent{At: now.UTC(), Denials: []denialShape{}}
	for waiting := true; waiting; {
		select {
		case d := <-denials:
			event.Denials = append([]denialShape{shapeDenial(d)}, event.Denials...)
		default:
			waiting = false
		}
	}
	if extra := len(event.Denials) - streamDenials; extra > 0 {
		event.Denials, event.Missed = event.Denials[:streamDenials], extra
	}
	totals, err := s.totals(ctx, now)
	if err != nil {
		return nil, err
	}
	event.Totals = totals
	if !*first {
		if *first, err = s.firstRequest(ctx, totals, now); err != nil {
			return nil, err
		}
	}
	event.FirstRequest = *first
	return event, nil
}

func (s *Server) totals(ctx context.Context, now time.Time) (t streamTotals, err error) {
	from, to := widened(store.DayBucket, now, now.Add(time.Nanosecond))
	rows, err := s.usageRows(ctx, store.UsageQuery{From: from, To: to, Bucket: store.DayBucket}, "")
	if err != nil {
		return t, err
	}
	t.Units = map[string]int64{}
	for _, r := range rows {
		t.Requests, t.Refused, t.Refunded, t.Units = r.Requests, r.Refused, r.Refunded, r.Units
	}
	counts, err := s.o.Store.Count(ctx)
	if err != nil {
		return t, fmt.Errorf("counting records: %w", err)
	}
	t.Keys, t.Customers = counts.Keys["active"], counts.Customers
	return t, nil
}

// firstRequest reports whether a request was let through in the last year.
func (s *Server) firstRequest(ctx context.Context, t streamTotals, now time.Time) (bool, error) {
	if t.Requests+t.Refunded > 0 {
		return true, nil
	}
	from, to := widened(store.MonthBucket, now.AddDate(-1, 0, 0), now.Add(time.Nanosecond))
	rows, err := s.o.Store.Usage(ctx, store.UsageQuery{From: from, To: to, Bucket: store.MonthBucket})
	if err != nil {
		return false, fmt.Errorf("reading usage: %w", err)
	}
	for _, r := range rows {
		if r.Requests+r.Refunded > 0 {
			return true, nil
		}
	}
	return false, nil
}
