// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
)

// denialShape is how a denial looks.
type denialShape struct {
	ID        string      `json:"id"` // counts from the start of the process
	Object    string      `json:"object"`
	Time      time.Time   `json:"time"`
	Reason    gate.Reason `json:"reason"`
	Shadow    bool        `json:"shadow"` // it passed: enforcement is off
	Key       *string     `json:"key"`
	Customer  *string     `json:"customer"`
	Start     *string     `json:"start"`
	Route     *string     `json:"route"`
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	IP        *string     `json:"ip"`
	RequestID string      `json:"request_id"`
}

func shapeDenial(d gate.Denial) denialShape {
	shape := denialShape{
		ID: strconv.FormatUint(d.Sequence, 10), Object: "denial", Time: d.Time.UTC(), Reason: d.Reason, Shadow: d.Shadow,
		Key: unlessZero(d.Key), Customer: unlessZero(d.Customer), Start: unlessZero(d.Start), Route: unlessZero(d.Route),
		Method: d.Method, Path: d.Path, RequestID: d.RequestID,
	}
	if d.IP.IsValid() {
		ip := d.IP.String()
		shape.IP = &ip
	}
	return shape
}

// listDenials shows the ring of the last denials: it is not kept over a
// restart.
func (s *Server) listDenials(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("reason", "key", "customer", "route", "since")
	if err != nil {
		return nil, err
	}
	wanted := gate.DenialQuery{Reason: gate.Reason(q.text("reason")), Key: q.text("key"), Route: q.text("route"), Since: q.when("since")}
	if after := q.text("after"); after != "" {
		if wanted.Before, err = strconv.ParseUint(after, 10, 64); err != nil {
			q.fail("after", "It must be the id of a denial.")
		}
	}
	page, err := q.page()
	if err != nil {
		return nil, err
	}
	if page.Prefix != "" {
		return nil, wrongParameter("q", "Denials are not searched: filter by reason, key, customer or route.")
	}
	wanted.Limit = page.Limit
	if wanted.Customer, err = s.filterCustomer(ctx, q.text("customer")); err != nil {
		wanted.Customer = q.text("customer") // nobody's: finds nothing
	}
	found, more := s.o.Gate.Denials(wanted)
	shapes := make([]denialShape, 0, len(found))
	for _, d := range found {
		shapes = append(shapes, shapeDenial(d))
	}
	return ok(paged(shapes, more, func(d denialShape) string { return d.ID })), nil
}
