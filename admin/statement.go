// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/usage"
)

// statementShape says what a customer has used in one period. Totals are what
// the counters of its live keys say, adjustments included; days are the rows of
// the ledger, of keys of both modes, widened to whole hours or days.
type statementShape struct {
	Object      string           `json:"object"`
	Customer    customerShape    `json:"customer"`
	Period      periodShape      `json:"period"`
	Complete    bool             `json:"complete"` // the period is over
	Requests    int64            `json:"requests"`
	Units       map[string]int64 `json:"units"`    // used, by unit
	Over        map[string]int64 `json:"over"`     // of them past the quota
	Adjusted    map[string]int64 `json:"adjusted"` // of them by adjustments
	Days        []statementRow   `json:"days"`
	Adjustments []adjustment     `json:"adjustments"`
}

type statementRow struct {
	Day      string           `json:"day"`
	Route    string           `json:"route"`
	Requests int64            `json:"requests"`
	Units    map[string]int64 `json:"units"`
	Refused  int64            `json:"refused"`
}

func (s *Server) statement(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("period", "format")
	if err != nil {
		return nil, err
	}
	format := q.word("format", "json", "csv", "html")
	if q.wrong != nil {
		return nil, q.wrong
	}
	owner, err := s.customer(ctx, c.id())
	if err != nil {
		return nil, err
	}
	period, wrong := periodOf(gate.Calendar(&owner, c.now), q.text("period"), c.now)
	if wrong != "" {
		return nil, wrongParameter("period", wrong)
	}
	shape, err := s.stated(ctx, &owner, period, c.now)
	if err != nil {
		return nil, err
	}
	switch format {
	case "csv":
		return nil, c.csv("statement", shape.table())
	case "html":
		return nil, c.html(statementPage, shape)
	}
	return ok(shape), nil
}

func (s *Server) stated(ctx context.Context, owner *customer.Customer, period usage.Period, now time.Time) (*statementShape, error) {
	shape := &statementShape{
		Object: "statement", Customer: s.shapeCustomer(owner, now), Period: periodShape{period.Start, period.End},
		Complete: !now.Before(period.End), Over: map[string]int64{}, Adjusted: map[string]int64{}, Adjustments: []adjustment{},
	}
	all, err := s.adjustments(ctx, owner.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Period.Start.Equal(period.Start) {
			shape.Adjusted[a.Unit] += a.Amount
			shape.Adjustments = append(shape.Adjustments, a)
		}
	}
	if err := s.stateDays(ctx, shape, now); err != nil {
		return nil, err
	}
	return shape, s.stateTotals(ctx, shape, owner, period, now)
}

// ledgerHours is how long hours are at least in the ledger: within it, days
// that a period cuts are summed from their hours.
const ledgerHours = 28 * 24 * time.Hour

func (s *Server) stateDays(ctx context.Context, shape *statementShape, now time.Time) error {
	asked := store.UsageQuery{Bucket: store.DayBucket, Group: store.ByRoute}
	wholeDays := shape.Period.Start.Equal(beginning(store.DayBucket, shape.Period.Start))
	if !wholeDays && now.Sub(shape.Period.Start) < ledgerHours {
		asked.Bucket = store.HourBucket
	}
	asked.From, asked.To = widened(asked.Bucket, shape.Period.Start, shape.Period.End)
	rows, err := s.usageRows(ctx, asked, shape.Customer.ID)
	if err != nil {
		return err
	}
	type cell struct{ day, route string }
	sums := map[cell]*statementRow{}
	for _, r := range rows {
		at := cell{r.Start.Format(time.DateOnly), r.Group[store.ByRoute]}
		sum := sums[at]
		if sum == nil {
			sum = &statementRow{Day: at.day, Route: at.route, Units: map[string]int64{}}
			sums[at] = sum
		}
		sum.Requests += r.Requests
		sum.Refused += r.Refused
		for unit, n := range r.Units {
			sum.Units[unit] += n
		}
	}
	shape.Days = []statementRow{}
	for _, sum := range sums {
		shape.Days = append(shape.Days, *sum)
	}
	slices.SortFunc(shape.Days, func(a, b statementRow) int {
		return bytes.Compare([]byte(a.Day+"\x00"+a.Route), []byte(b.Day+"\x00"+b.Route))
	})
	return nil
}

// stateTotals reads the counters of every unit that a row or an adjustment names.
func (s *Server) stateTotals(ctx context.Context, shape *statementShape, owner *customer.Customer, period usage.Period, now time.Time) error {
	calendar := gate.Calendar(owner, now)
	shape.Units = map[string]int64{plan.Requests: 0}
	for _, day := range shape.Days {
		for unit := range day.Units {
			shape.Units[unit] = 0
		}
	}
	for unit := range shape.Adjusted {
		shape.Units[unit] = 0
	}
	current := period.Ordinal == calendar.Ordinal(now)
	for unit := range shape.Units {
		reading, err := s.o.Meter.Peek(ctx, customerCounter(owner.ID, unit, calendar), period.Ordinal)
		if err != nil {
			return fmt.Errorf("reading a counter: %w", err)
		}
		shape.Units[unit] = reading.Used()
		if !current { // counters of former periods are not moved
			shape.Units[unit] += shape.Adjusted[unit]
		}
		if reading.Over > 0 {
			shape.Over[unit] = reading.Over
		}
	}
	calls, err := s.o.Meter.Peek(ctx, customerCounter(owner.ID, meter.Calls, calendar), period.Ordinal)
	if err != nil {
		return fmt.Errorf("reading a counter: %w", err)
	}
	shape.Requests = calls.Used()
	return nil
}

// table returns the days, then the adjustments.
func (shape *statementShape) table() [][]string {
	names := slices.Sorted(maps.Keys(shape.Units))
	head := []string{"day", "route", "requests", "refused"}
	for _, unit := range names {
		head = append(head, "units."+unit)
	}
	table := [][]string{head}
	for _, day := range shape.Days {
		line := []string{day.Day, day.Route, decimal(day.Requests), decimal(day.Refused)}
		for _, unit := range names {
			line = append(line, decimal(day.Units[unit]))
		}
		table = append(table, line)
	}
	for _, a := range shape.Adjustments {
		line := []string{a.CreatedAt.Format(time.DateOnly), "adjustment", "0", "0"}
		for _, unit := range names {
			n := int64(0)
			if unit == a.Unit {
				n = a.Amount
			}
			line = append(line, decimal(n))
		}
		table = append(table, line)
	}
	return table
}

var statementPage = template.Must(template.New("statement").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Statement</title>
<h1>Statement</h1>
<p>{{with .Customer.Name}}{{.}}{{else}}{{with .Customer.Email}}{{.}}{{else}}{{$.Customer.ID}}{{end}}{{end}}:
{{.Period.Start.Format "2 January 2006, 15:04"}} to {{.Period.End.Format "2 January 2006, 15:04"}} UTC{{if not .Complete}}, so far{{end}}</p>
<table><thead><tr><th>Unit<th>Used<th>Past the quota<th>Adjusted</thead>
<tbody>{{range $unit, $n := .Units}}<tr><td>{{$unit}}<td>{{$n}}<td>{{index $.Over $unit}}<td>{{index $.Adjusted $unit}}{{end}}</tbody></table>
<h2>By day</h2>
<table><thead><tr><th>Day<th>Route<th>Requests<th>Refused<th>Units</thead>
<tbody>{{range .Days}}<tr><td>{{.Day}}<td>{{.Route}}<td>{{.Requests}}<td>{{.Refused}}<td>{{range $unit, $n := .Units}}{{$n}} {{$unit}} {{end}}{{end}}</tbody></table>
{{if .Adjustments}}<h2>Adjustments</h2>
<table><thead><tr><th>Day<th>Unit<th>Amount<th>Reason</thead>
<tbody>{{range .Adjustments}}<tr><td>{{.CreatedAt.Format "2006-01-02"}}<td>{{.Unit}}<td>{{.Amount}}<td>{{.Reason}}{{end}}</tbody></table>{{end}}
</html>
`))

// html writes a page as the answer.
func (c *call) html(page *template.Template, data any) error {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		return fmt.Errorf("writing a page: %w", err)
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body.Bytes()) // the caller has gone: there is nobody to tell
	}
	return nil
}
