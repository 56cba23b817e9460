// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) plans() *cobra.Command {
	return noun("plans", "Show what is sold", a.plansList(), a.plansShow())
}

func (a *app) plansList() *cobra.Command {
	var l listFlags
	c := a.command("list", "List the plans in force", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		found, more, err := list[client.Plan](ctx, s, "/v1/plans", nil, &l)
		if err != nil {
			return err
		}
		t := &table{head: []string{"PLAN", "TITLE", "DEFAULT", "LIMITS", "SOURCE"}}
		for _, record := range found {
			p := record.Value
			byDefault := ""
			if p.Default {
				byDefault = "yes"
			}
			t.add(p.ID, p.Title, byDefault, limits(p.Quotas, p.Rates), p.Source)
		}
		return printList(s, found, more, &l, t)
	})
	l.add(c)
	return c
}

func (a *app) plansShow() *cobra.Command {
	c := a.command("show <plan>", "Show a plan, its limits in the Caddyfile's words", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			api, err := s.api()
			if err != nil {
				return err
			}
			found, err := client.Get[client.Plan](ctx, api, "/v1/plans/"+url.PathEscape(args[0]), nil)
			if err != nil || s.json {
				return firstOf(s.missing(err, "No plan %s. See: caddy keytoll plans list", args[0]), func() error { return s.printJSON(found) })
			}
			return s.printBlock(planBlock(found.Value))
		})
	c.ValidArgsFunction = func(c *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completePlans(c, args, start)
	}
	return c
}

func planBlock(p client.Plan) block {
	var b block
	b.add("Plan", p.ID)
	b.add("Title", p.Title)
	if p.Default {
		b.add("Default", "yes")
	}
	for _, r := range p.Rates {
		b.add("rate", r.String())
	}
	for _, q := range p.Quotas {
		b.add("quota", q.String())
	}
	if p.Concurrency != nil {
		b.add("concurrency", p.Concurrency.String())
	}
	if p.MaxKeys > 0 {
		b.add("max_keys", strconv.Itoa(p.MaxKeys))
	}
	b.add("scope", strings.Join(p.Scopes, " "))
	b.add("routes", strings.Join(p.Routes, " "))
	if p.NotForSale {
		b.add("For sale", "no")
	}
	b.add("Source", p.Source)
	return b
}
