// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) denials() *cobra.Command {
	var l listFlags
	var reason, key, customer, route, since string
	var follow bool
	c := a.command("denials", "Show requests that were refused, the newest first", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			query := url.Values{"reason": {reason}, "route": {route}, "customer": {customer}}
			if key != "" {
				id, err := s.keyID(ctx, key)
				if err != nil {
					return err
				}
				query.Set("key", id)
			}
			if since != "" {
				at, err := parseTime("since", since, s.env.Now())
				if err != nil {
					return err
				}
				query.Set("since", at.Format(time.RFC3339Nano))
			}
			if follow {
				return s.followDenials(ctx, query, &l)
			}
			found, more, err := list[client.Denial](ctx, s, "/v1/denials", query, &l)
			if err != nil {
				return err
			}
			t := &table{head: []string{"TIME", "REASON", "KEY", "CUSTOMER", "ROUTE", "REQUEST", "IP"}}
			for _, d := range found {
				t.add(denialCells(d.Value)...)
			}
			return printList(s, found, more, &l, t)
		})
	c.Long = "Show requests that were refused, the newest first. The last 10,000 since the start are there."
	l.add(c)
	f := c.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "Go on printing as they come, until Ctrl+C")
	f.StringVar(&reason, "reason", "", "Only with this code, as rate_limited")
	f.StringVar(&key, "key", "", "Only of this key: an id or the start of its secret")
	f.StringVar(&customer, "customer", "", "Only of this customer")
	f.StringVar(&route, "route", "", "Only of this route")
	f.StringVar(&since, "since", "", "Only since then: 10m, \"2 days ago\", a time")
	_ = f.MarkHidden("q")
	_ = c.RegisterFlagCompletionFunc("key", a.completeKeys)
	_ = c.RegisterFlagCompletionFunc("customer", a.completeCustomers)
	return c
}

func denialCells(d client.Denial) []string {
	reason := d.Reason
	if d.Shadow {
		reason += " (passed: shadow mode)"
	}
	return []string{stamp(d.Time), reason, cmp.Or(d.Key, d.Start), d.Customer, d.Route, d.Method + " " + d.Path, d.IP}
}

// followEvery is how often new denials are asked for.
const followEvery = time.Second

// followDenials prints denials as they come, the oldest first, each once.
func (s *session) followDenials(ctx context.Context, query url.Values, l *listFlags) error {
	var last uint64
	next := *l
	for {
		found, _, err := list[client.Denial](ctx, s, "/v1/denials", query, &next)
		if err != nil {
			return err
		}
		slices.Reverse(found)
		for _, d := range found {
			sequence, err := strconv.ParseUint(d.Value.ID, 10, 64)
			if err == nil && sequence <= last {
				continue
			}
			last = max(last, sequence)
			if err := s.printDenial(d); err != nil {
				return err
			}
		}
		if len(found) > 0 { // ask for what came since, and no more
			query.Set("since", found[len(found)-1].Value.Time.Format(time.RFC3339Nano))
		}
		next = listFlags{limit: l.limit, all: true}
		timer := time.NewTimer(followEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (s *session) printDenial(d client.Record[client.Denial]) error {
	if s.json {
		return s.printLine(string(d.JSON))
	}
	cells := denialCells(d.Value)
	for i := range cells {
		cells[i] = plainly(cells[i])
	}
	return s.printLine(strings.Join(cells, "\t"))
}
