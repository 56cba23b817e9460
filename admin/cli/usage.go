// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
	"github.com/keytoll/keytoll/plugin/plan"
)

// usageFlags are what may be asked about usage.
type usageFlags struct {
	customer, key, route, by, from, to string
	csv                                bool
}

// groups are the words of --by that are groups, the others are buckets of time.
var groupWords = []string{"outcome", "route", "plan", "key", "customer"}

var bucketWords = []string{"day", "hour", "month"}

func (a *app) usage() *cobra.Command {
	var u usageFlags
	c := a.command("usage", "Show what was used", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		return u.run(ctx, s)
	})
	f := c.Flags()
	f.StringVar(&u.customer, "customer", "", "Only this customer's: an id, an e-mail address or an external id")
	f.StringVar(&u.key, "key", "", "Only this key's: an id or the start of its secret")
	f.StringVar(&u.route, "route", "", "Only this route's")
	f.StringVar(&u.by, "by", "day", "outcome, route, plan, key or customer; or day, hour or month")
	f.StringVar(&u.from, "from", "", "From when, as 2026-11-01 or \"2 days ago\" (default: 30 days, 48 hours or 12 months ago)")
	f.StringVar(&u.to, "to", "", "Until when (default: now)")
	f.BoolVar(&u.csv, "csv", false, "Print CSV")
	words := slices.Concat(groupWords, bucketWords)
	_ = c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("customer", a.completeCustomers)
	_ = c.RegisterFlagCompletionFunc("key", a.completeKeys)
	return c
}

func (u *usageFlags) run(ctx context.Context, s *session) error {
	query, err := u.query(ctx, s)
	if err != nil {
		return err
	}
	api, err := s.api()
	if err != nil {
		return err
	}
	found, err := client.Get[client.Usage](ctx, api, "/v1/usage", trimmed(query))
	if err != nil || s.json {
		return firstOf(err, func() error { return s.printJSON(found) })
	}
	grouped := slices.Contains(groupWords, u.by)
	rows := found.Value.Data
	if grouped {
		rows = summed(rows, u.by)
	}
	if err := s.print(u.table(ctx, s, rows, grouped), u.csv); err != nil {
		return err
	}
	if u.csv || !s.env.OutTerminal {
		return nil
	}
	s.say("From %s to %s.", moment(found.Value.From), moment(found.Value.To))
	return u.sayQuota(ctx, s, query)
}

func (u *usageFlags) query(ctx context.Context, s *session) (url.Values, error) {
	query := url.Values{"route": {u.route}}
	switch {
	case slices.Contains(groupWords, u.by):
		query.Set("group_by", u.by)
		query.Set("bucket", "day")
	case slices.Contains(bucketWords, u.by):
		query.Set("bucket", u.by)
	default:
		return nil, usageError("--by is outcome, route, plan, key or customer, or day, hour or month, not %q.", u.by)
	}
	now := s.env.Now()
	for name, text := range map[string]string{"from": u.from, "to": u.to} {
		if text == "" {
			continue
		}
		at, err := parseTime(name, text, now)
		if err != nil {
			return nil, err
		}
		query.Set(name, at.Format(time.RFC3339))
		if name == "from" && now.Sub(at) <= 48*time.Hour && query.Get("group_by") != "" {
			query.Set("bucket", "hour")
		}
	}
	if u.key != "" {
		id, err := s.keyID(ctx, u.key)
		if err != nil {
			return nil, err
		}
		query.Set("key", id)
	}
	if u.customer != "" {
		found, err := s.customer(ctx, u.customer)
		if err != nil {
			return nil, err
		}
		query.Set("customer", found.Value.ID)
	}
	return query, nil
}

// summed adds rows of one group up over time, the largest first.
func summed(rows []client.Record[client.UsageRow], by string) []client.Record[client.UsageRow] {
	sums := map[string]*client.UsageRow{}
	for _, record := range rows {
		r := record.Value
		sum, there := sums[r.Group[by]]
		if !there {
			sum = &client.UsageRow{Group: r.Group, Units: map[string]int64{}}
			sums[r.Group[by]] = sum
		}
		sum.Requests, sum.Refused, sum.Refunded = sum.Requests+r.Requests, sum.Refused+r.Refused, sum.Refunded+r.Refunded
		for unit, n := range r.Units {
			sum.Units[unit] += n
		}
	}
	var list []client.Record[client.UsageRow]
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		list = append(list, client.Record[client.UsageRow]{Value: *sums[name]})
	}
	slices.SortStableFunc(list, func(a, b client.Record[client.UsageRow]) int { return cmp.Compare(all(b.Value), all(a.Value)) })
	return list
}

// all counts every request of a row, whatever became of it.
func all(r client.UsageRow) int64 { return r.Requests + r.Refused + r.Refunded }

func (u *usageFlags) table(ctx context.Context, s *session, rows []client.Record[client.UsageRow], grouped bool) *table {
	forPeople := s.env.OutTerminal && !u.csv
	figure := func(n int64) string { return strconv.FormatInt(n, 10) }
	if forPeople {
		figure = number
	}
	first := "START"
	if grouped {
		first = map[string]string{"outcome": "OUTCOME", "route": "ROUTE", "plan": "PLAN", "key": "KEY", "customer": "CUSTOMER"}[u.by]
	}
	units := unitsOf(rows)
	t := &table{head: []string{first, "REQUESTS", "REFUSED", "REFUNDED"}, right: map[int]bool{1: true, 2: true, 3: true}}
	for i, unit := range units {
		t.head = append(t.head, strings.ToUpper(unit))
		t.right[4+i] = true
	}
	var most int64
	for _, r := range rows {
		most = max(most, all(r.Value))
	}
	if forPeople {
		t.head = append(t.head, "")
	}
	for _, record := range rows {
		r := record.Value
		cells := []string{u.firstCell(ctx, s, r, grouped, forPeople), figure(r.Requests), figure(r.Refused), figure(r.Refunded)}
		for _, unit := range units {
			cells = append(cells, figure(r.Units[unit]))
		}
		if forPeople {
			cells = append(cells, bar(all(r), most, 2*barWidth))
		}
		t.add(cells...)
	}
	return t
}

func (u *usageFlags) firstCell(ctx context.Context, s *session, r client.UsageRow, grouped, forPeople bool) string {
	switch {
	case !grouped && !forPeople:
		return r.Start.UTC().Format(time.RFC3339)
	case !grouped && u.by == "hour":
		return r.Start.UTC().Format("2 Jan 2006, 15:04")
	case !grouped && u.by == "month":
		return r.Start.UTC().Format("Jan 2006")
	case !grouped:
		return r.Start.UTC().Format("2 Jan 2006")
	case u.by == "customer" && r.Group[u.by] != "" && forPeople:
		return s.nameOf(ctx, r.Group[u.by])
	}
	return cmp.Or(r.Group[u.by], "(none)")
}

// unitsOf returns the units beside requests that anything was used of.
func unitsOf(rows []client.Record[client.UsageRow]) []string {
	seen := map[string]bool{}
	for _, r := range rows {
		for unit, n := range r.Value.Units {
			if unit != plan.Requests && n != 0 {
				seen[unit] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// sayQuota says what is left, where usage is about one key or customer.
func (u *usageFlags) sayQuota(ctx context.Context, s *session, query url.Values) error {
	path := ""
	switch {
	case query.Get("key") != "":
		path = keyPath(query.Get("key")) + "/usage"
	case query.Get("customer") != "":
		path = "/v1/customers/" + query.Get("customer") + "/usage"
	default:
		return nil
	}
	report, err := s.report(ctx, path)
	if err != nil {
		return err
	}
	for _, q := range report.Quotas {
		s.say("Quota: %s of %s%s used (denied requests are free). Resets %s.", number(q.Used), limitText(q.Limit), unitText(q.Unit), moment(q.ResetsAt))
	}
	return nil
}
