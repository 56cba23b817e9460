// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

func (s *Server) keyUsage(ctx context.Context, c *call) (*answer, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	report, err := s.o.Gate.KeyUsage(ctx, c.id())
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("key", c.id())
	}
	return ok(report), err
}

func (s *Server) customerUsage(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("mode")
	if err != nil {
		return nil, err
	}
	mode := q.word("mode", string(apikey.Live), string(apikey.Test))
	if q.wrong != nil {
		return nil, q.wrong
	}
	report, err := s.o.Gate.CustomerUsage(ctx, c.id(), apikey.Mode(mode))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("customer", c.id())
	}
	return ok(report), err
}

// maxBuckets is how many buckets of time one question may span.
const maxBuckets = 10_000

// usageShape is the answer of GET /v1/usage.
type usageShape struct {
	list[usageRow]
	From    time.Time    `json:"from"` // widened to whole buckets
	To      time.Time    `json:"to"`
	Bucket  store.Bucket `json:"bucket"`
	GroupBy *store.Group `json:"group_by"`
}

type usageRow struct {
	Start    time.Time              `json:"start"`
	Group    map[store.Group]string `json:"group"` // empty where nothing is grouped by
	Requests int64                  `json:"requests"`
	Units    map[string]int64       `json:"units"`
	Refused  int64                  `json:"refused"`
	Refunded int64                  `json:"refunded"`
}

func (s *Server) usage(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("customer", "key", "route", "from", "to", "bucket", "group_by", "format")
	if err != nil {
		return nil, err
	}
	asked, err := readUsageQuery(q, c.now)
	format := q.word("format", "json", "csv")
	if err = errors.Join(q.wrong, err); err != nil {
		return nil, err
	}
	rows, err := s.usageRows(ctx, asked, q.text("customer"))
	if err != nil {
		return nil, err
	}
	if format == "csv" {
		return nil, c.csv("usage", usageTable(rows, asked.Group))
	}
	return ok(usageShape{
		list: paged(rows, false, func(usageRow) string { return "" }),
		From: asked.From, To: asked.To, Bucket: asked.Bucket, GroupBy: unlessZero(asked.Group),
	}), nil
}

// readUsageQuery reads what is asked for: by default the last 30 days, the last
// 48 hours or the last 12 months, as buckets go.
func readUsageQuery(q *query, now time.Time) (store.UsageQuery, error) {
	asked := store.UsageQuery{
		Bucket: store.Bucket(q.word("bucket", string(store.DayBucket), string(store.HourBucket), string(store.MonthBucket))),
		Group: store.Group(q.word("group_by", string(store.Ungrouped), string(store.ByKey), string(store.ByCustomer),
			string(store.ByRoute), string(store.ByOutcome), string(store.ByPlan))),
		Key: q.text("key"), Route: q.text("route"),
	}
	from, to := q.when("from"), q.when("to")
	if q.wrong != nil {
		return asked, q.wrong
	}
	if to.IsZero() {
		to = now.UTC().Add(time.Nanosecond) // now is within
	}
	if from.IsZero() {
		from = before(asked.Bucket, to)
	}
	if !from.Before(to) {
		return asked, wrongParameter("from", "It must be before to.")
	}
	asked.From, asked.To = widened(asked.Bucket, from, to)
	if asked.To.Sub(asked.From)/length(asked.Bucket) > maxBuckets {
		return asked, wrongParameter("from", fmt.Sprintf("More than %d buckets lie between from and to.", maxBuckets))
	}
	return asked, nil
}

// before returns where a question that ends at to begins by default.
func before(b store.Bucket, to time.Time) time.Time {
	switch b {
	case store.HourBucket:
		return to.Add(-48 * time.Hour)
	case store.MonthBucket:
		return beginning(b, to).AddDate(0, -11, 0)
	}
	return to.AddDate(0, 0, -30)
}

// widened returns the whole buckets that [from, to) touches.
func widened(b store.Bucket, from, to time.Time) (time.Time, time.Time) {
	end := beginning(b, to)
	if end.Before(to) {
		switch b {
		case store.MonthBucket:
			end = end.AddDate(0, 1, 0)
		default:
			end = end.Add(length(b))
		}
	}
	return beginning(b, from), end
}

// beginning returns where the bucket that at is in begins.
func beginning(b store.Bucket, at time.Time) time.Time {
	at = at.UTC()
	switch b {
	case store.HourBucket:
		return at.Truncate(time.Hour)
	case store.MonthBucket:
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
}

// length returns the shortest a bucket may be.
func length(b store.Bucket) time.Duration {
	switch b {
	case store.HourBucket:
		return time.Hour
	case store.MonthBucket:
		return 28 * 24 * time.Hour
	}
	return 24 * time.Hour
}

// usageRows answers a question with everything counted so far.
func (s *Server) usageRows(ctx context.Context, asked store.UsageQuery, customerRef string) ([]usageRow, error) {
	var err error
	asked.Customer, err = s.filterCustomer(ctx, customerRef)
	if errors.Is(err, store.ErrNotFound) {
		return []usageRow{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.o.Meter.FlushUsage(ctx); err != nil {
		return nil, fmt.Errorf("gathering usage: %w", err)
	}
	found, err := s.o.Store.Usage(ctx, asked)
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	rows := make([]usageRow, 0, len(found))
	for _, r := range found {
		row := usageRow{Start: r.Start.UTC(), Group: map[store.Group]string{}, Requests: r.Requests, Units: r.Units, Refused: r.Refused, Refunded: r.Refunded}
		if asked.Group != store.Ungrouped {
			row.Group[asked.Group] = groupOf(r, asked.Group)
		}
		if row.Units == nil {
			row.Units = map[string]int64{}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func groupOf(r store.UsageRow, by store.Group) string {
	switch by {
	case store.ByKey:
		return r.Key
	case store.ByCustomer:
		return r.Customer
	case store.ByRoute:
		return r.Route
	case store.ByOutcome:
		return r.Outcome
	}
	return r.Plan
}

// usageTable returns rows as a table: a column for each unit there is.
func usageTable(rows []usageRow, by store.Group) [][]string {
	seen := map[string]bool{}
	for _, r := range rows {
		for unit := range r.Units {
			seen[unit] = true
		}
	}
	unitNames := slices.Sorted(maps.Keys(seen))
	head := []string{"start"}
	if by != store.Ungrouped {
		head = append(head, string(by))
	}
	head = append(head, "requests", "refused", "refunded")
	for _, unit := range unitNames {
		head = append(head, "units."+unit)
	}
	table := [][]string{head}
	for _, r := range rows {
		line := []string{r.Start.Format(time.RFC3339)}
		if by != store.Ungrouped {
			line = append(line, r.Group[by])
		}
		line = append(line, decimal(r.Requests), decimal(r.Refused), decimal(r.Refunded))
		for _, unit := range unitNames {
			line = append(line, decimal(r.Units[unit]))
		}
		table = append(table, line)
	}
	return table
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// csv writes a table as the answer.
func (c *call) csv(name string, table [][]string) error {
	h := c.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	if c.r.Method == http.MethodHead {
		return nil
	}
	w := csv.NewWriter(c.w)
	_ = w.WriteAll(table) // the caller has gone: there is nobody to tell
	return nil
}
