// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/store"
)

// exportStep is how many records of an export are read at once.
const exportStep = 200

// exportedUsage is a line of an export: what one key, or none, used in a day.
type exportedUsage struct {
	Object string `json:"object"`
	usageRow
}

// exportCustomer streams all that is held of a customer, one JSON object a
// line, each saying by its field object what it is.
func (s *Server) exportCustomer(ctx context.Context, c *call) (*answer, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	owner, err := s.customer(ctx, c.id())
	if err != nil {
		return nil, err
	}
	usage, err := s.usageRows(ctx, store.UsageQuery{
		To: beginning(store.DayBucket, c.now).AddDate(0, 0, 1), Bucket: store.DayBucket, Group: store.ByKey,
	}, owner.ID)
	if err != nil {
		return nil, err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Disposition", `attachment; filename="`+owner.ID+`.ndjson"`)
	if c.r.Method == http.MethodHead {
		return nil, nil
	}
	lines := json.NewEncoder(c.patient())
	err = lines.Encode(s.shapeCustomer(&owner, c.now))
	for _, write := range []func(context.Context, *call, string, *json.Encoder) error{
		s.exportKeys, s.exportAdjustments, s.exportAudit, s.exportDenials,
	} {
		if err == nil {
			err = write(ctx, c, owner.ID, lines)
		}
	}
	for i := 0; i < len(usage) && err == nil; i++ {
		err = lines.Encode(exportedUsage{"usage", usage[i]})
	}
	if err == nil {
		return nil, nil
	}
	if ctx.Err() == nil {
		s.o.Logger.Error("export broke off", "request_id", c.requestID, "error", err)
	}
	panic(http.ErrAbortHandler) // the caller must not take what it has for all there is
}

func (s *Server) exportKeys(ctx context.Context, c *call, customerID string, lines *json.Encoder) error {
	for after := ""; ; {
		page, err := s.o.Store.ListKeys(ctx, store.KeyQuery{
			PageQuery: store.PageQuery{Limit: exportStep, After: after}, Customer: customerID, Now: c.now,
		})
		if err != nil {
			return fmt.Errorf("listing the keys of a customer: %w", err)
		}
		for i := range page.Items {
			shape, err := s.shownKey(ctx, &page.Items[i], c.now)
			if err != nil {
				return err
			}
			if err := lines.Encode(shape); err != nil {
				return err
			}
			after = shape.ID
		}
		if !page.More {
			return nil
		}
	}
}

func (s *Server) exportAdjustments(ctx context.Context, _ *call, customerID string, lines *json.Encoder) error {
	all, err := s.adjustments(ctx, customerID)
	if err != nil {
		return err
	}
	for _, a := range all {
		if err := lines.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) exportAudit(ctx context.Context, c *call, customerID string, lines *json.Encoder) error {
	page := store.PageQuery{Limit: exportStep}
	for {
		entries, more, err := s.entries(ctx, page, c.now.AddDate(-100, 0, 0), func(e *entry) bool {
			return e.Customer != nil && *e.Customer == customerID
		})
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := lines.Encode(e); err != nil {
				return err
			}
			page.After = e.ID
		}
		if !more {
			return nil
		}
	}
}

func (s *Server) exportDenials(_ context.Context, _ *call, customerID string, lines *json.Encoder) error {
	found, _ := s.o.Gate.Denials(gate.DenialQuery{Limit: gate.MaxDenials, Customer: customerID})
	for _, d := range found {
		if err := lines.Encode(shapeDenial(d)); err != nil {
			return err
		}
	}
	return nil
}
