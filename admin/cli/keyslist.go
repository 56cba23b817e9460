// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

// listFlags are those of every list.
type listFlags struct {
	limit int
	all   bool
	csv   bool
	q     string
}

func (l *listFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&l.limit, "limit", 50, "How many to print")
	f.BoolVar(&l.all, "all", false, "Print all")
	f.BoolVar(&l.csv, "csv", false, "Print CSV")
	f.StringVar(&l.q, "q", "", "Only those whose name, e-mail address, start or id begins so")
}

func (l *listFlags) check() error {
	if l.limit < 1 {
		return usageError("--limit is at least 1, or say --all.")
	}
	return nil
}

// maxPage is how many records the API gives at once.
const maxPage = 500

// list reads as much of a list as is to be printed; more tells whether there
// is more.
func list[T any](ctx context.Context, s *session, path string, query url.Values, l *listFlags) (found []client.Record[T], more bool, err error) {
	if err := l.check(); err != nil {
		return nil, false, err
	}
	api, err := s.api()
	if err != nil {
		return nil, false, err
	}
	query = trimmed(query)
	if l.q != "" {
		if err := noSecret(l.q); err != nil {
			return nil, false, err
		}
		query.Set("q", l.q)
	}
	wanted := l.limit
	if l.all {
		wanted = -1
	}
	size := maxPage
	if wanted > 0 {
		size = min(wanted+1, maxPage)
	}
	query.Set("limit", strconv.Itoa(size))
	found = []client.Record[T]{}
	for record, err := range client.All[T](ctx, api, path, query) {
		if err != nil {
			return nil, false, err
		}
		if len(found) == wanted {
			return found, true, nil
		}
		found = append(found, record)
	}
	return found, false, nil
}

// trimmed leaves out parameters that say nothing.
func trimmed(query url.Values) url.Values {
	kept := url.Values{}
	for name, values := range query {
		if len(values) > 0 && values[0] != "" {
			kept[name] = values
		}
	}
	return kept
}

// printList prints records as JSON, CSV or a table, and says if there are more.
func printList[T any](s *session, found []client.Record[T], more bool, l *listFlags, t *table) error {
	if s.json {
		return s.printJSON(found)
	}
	if err := s.print(t, l.csv); err != nil {
		return err
	}
	switch {
	case more:
		s.say("%d shown, and there are more: --limit %d, --all", len(found), 2*len(found))
	case len(found) == 0 && s.env.OutTerminal:
		s.say("There are none.")
	}
	return nil
}

func (a *app) keysList() *cobra.Command {
	var l listFlags
	var customer, planID, status, sort string
	c := a.command("list", "List keys, the newest first", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		query := url.Values{"customer": {customer}, "plan": {planID}, "status": {status}}
		if !slices.Contains([]string{"created", "used", "last-used"}, sort) {
			return usageError("--sort is created, used or last-used, not %q.", sort)
		}
		found, more, err := s.sortedKeys(ctx, query, &l, sort)
		if err != nil {
			return err
		}
		if s.json {
			return s.printJSON(found)
		}
		return printList(s, found, more, &l, s.keyTable(ctx, found, l.csv))
	})
	l.add(c)
	c.Flags().StringVar(&customer, "customer", "", "Only those of this customer: an id, an e-mail address or an external id")
	c.Flags().StringVar(&planID, "plan", "", "Only those on this plan")
	c.Flags().StringVar(&status, "status", "", "Only those that are active, disabled, revoked or expired")
	c.Flags().StringVar(&sort, "sort", "created", "created, used or last-used")
	_ = c.RegisterFlagCompletionFunc("customer", a.completeCustomers)
	_ = c.RegisterFlagCompletionFunc("plan", a.completePlans)
	_ = c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"active", "disabled", "revoked", "expired"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions([]string{"created", "used", "last-used"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// sortedKeys reads keys in the order that is wanted. Any but the newest first
// needs all of them.
func (s *session) sortedKeys(ctx context.Context, query url.Values, l *listFlags, sort string) ([]client.Record[client.Key], bool, error) {
	if sort == "created" {
		return list[client.Key](ctx, s, "/v1/keys", query, l)
	}
	if err := l.check(); err != nil {
		return nil, false, err
	}
	all := listFlags{limit: l.limit, all: true, q: l.q}
	found, _, err := list[client.Key](ctx, s, "/v1/keys", query, &all)
	if err != nil {
		return nil, false, err
	}
	used := map[string]int64{}
	if sort == "used" {
		if used, err = s.usedThisMonth(ctx); err != nil {
			return nil, false, err
		}
	}
	slices.SortStableFunc(found, func(a, b client.Record[client.Key]) int {
		if sort == "used" {
			return cmp.Compare(used[b.Value.ID], used[a.Value.ID])
		}
		return b.Value.LastUsedAt.Compare(a.Value.LastUsedAt)
	})
	if !l.all && len(found) > l.limit {
		return found[:l.limit], true, nil
	}
	return found, false, nil
}

// usedThisMonth returns the requests of each key.
func (s *session) usedThisMonth(ctx context.Context) (map[string]int64, error) {
	api, err := s.api()
	if err != nil {
		return nil, err
	}
	now := s.env.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	usage, err := client.Get[client.Usage](ctx, api, "/v1/usage", url.Values{
		"from": {month.Format(time.RFC3339)}, "bucket": {"month"}, "group_by": {"key"},
	})
	if err != nil {
		return nil, err
	}
	used := map[string]int64{}
	for _, row := range usage.Value.Data {
		used[row.Value.Group["key"]] += row.Value.Requests
	}
	return used, nil
}

// maxReports is how many keys a list asks the exact use of.
const maxReports = 500

const barWidth = 10

func (s *session) keyTable(ctx context.Context, keys []client.Record[client.Key], asCSV bool) *table {
	t := &table{head: []string{"ID", "NAME", "CUSTOMER", "KEY", "PLAN", "USED", "STATUS", "LAST USED"}}
	forPeople := s.env.OutTerminal && !asCSV
	if !forPeople {
		t.head = []string{"ID", "NAME", "CUSTOMER", "KEY", "PLAN", "USED", "LIMIT", "STATUS", "LAST USED"}
	}
	now := s.env.Now()
	for i, record := range keys {
		k := record.Value
		planID := cmp.Or(k.Plan, s.planOf(ctx, k.Customer))
		var used, limit string
		status := k.Status
		if report, err := s.report(ctx, "/v1/keys/"+k.ID+"/usage"); i < maxReports && err == nil {
			used = number(report.Requests)
			if q := report.Quota; q != nil {
				used, limit = number(q.Used), limitText(q.Limit)
				if status == "active" && q.Limit > 0 && q.Used >= q.Limit {
					status = "over quota"
				}
				if forPeople && q.Limit > 0 {
					used = share(q.Used, q.Limit) + "  " + bar(q.Used, q.Limit, barWidth)
				}
				if !forPeople {
					used = strconv.FormatInt(q.Used, 10)
					if limit != "unlimited" {
						limit = strconv.FormatInt(q.Limit, 10)
					}
				}
			}
		}
		if forPeople {
			t.add(k.ID, k.Name, s.nameOf(ctx, k.Customer), shownStart(k.Start), planID, used, status, age(k.LastUsedAt, now))
			continue
		}
		lastUsed := ""
		if !k.LastUsedAt.IsZero() {
			lastUsed = k.LastUsedAt.UTC().Format(time.RFC3339)
		}
		t.add(k.ID, k.Name, s.nameOf(ctx, k.Customer), k.Start, planID, used, limit, status, lastUsed)
	}
	return t
}
