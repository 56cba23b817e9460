// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) explain() *cobra.Command {
	c := a.command("explain <id|start|->", "Say whether a key would pass now, and where each limit comes from", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			found, err := s.explanation(ctx, args[0])
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(found) })
			}
			return s.printExplanation(ctx, found.Value)
		})
	c.ValidArgsFunction = a.completeKeys
	return c
}

func (s *session) explanation(ctx context.Context, ref string) (client.Record[client.Explanation], error) {
	if ref == "-" {
		return s.explainSecret(ctx)
	}
	keyID, err := s.keyID(ctx, ref)
	if err != nil {
		return client.Record[client.Explanation]{}, err
	}
	api, err := s.api()
	if err != nil {
		return client.Record[client.Explanation]{}, err
	}
	found, err := client.Get[client.Explanation](ctx, api, "/v1/explain", url.Values{"key": {keyID}})
	return found, s.missing(err, "No key %s. See: caddy keytoll keys list", ref)
}

func (s *session) printExplanation(ctx context.Context, e client.Explanation) error {
	verdict := "A request would pass now."
	if !e.Admitted {
		verdict = "A request would be refused now: " + e.Code + "."
	}
	var b block
	b.add("Key", e.Key)
	b.add("Customer", s.nameOf(ctx, e.Customer)+" ("+e.Customer+")")
	b.add("Plan", e.Plan+" (from "+e.PlanFrom+")")
	if e.Pooled != e.Plan {
		b.add("Pooled plan", e.Pooled+" (from "+e.PooledFrom+")")
	}
	b.add("Route", e.Route)
	b.add("Verdict", verdict)
	if err := s.printBlock(b); err != nil {
		return err
	}
	checks := &table{head: []string{"CHECK", "PASS", "DETAIL"}}
	for _, c := range e.Checks {
		pass := "yes"
		if !c.Pass {
			pass = "no"
		}
		checks.add(c.Check, pass, c.Detail)
	}
	if err := s.printPart(checks); err != nil {
		return err
	}
	limits := &table{head: []string{"LIMIT", "OF", "USED", "LEFT", "RESETS", "FROM"}}
	for _, l := range e.Limits {
		limits.add(l.Kind, limitWords(l), number(l.Used), remainingText(l), moment(l.ResetsAt), l.From)
	}
	return s.printPart(limits)
}

// printPart prints a further table, if it has rows.
func (s *session) printPart(t *table) error {
	if len(t.rows) == 0 {
		return nil
	}
	if err := s.printLine(""); err != nil {
		return err
	}
	return s.print(t, false)
}

func limitWords(l client.Limit) string {
	text := limitText(l.Limit)
	switch l.Kind {
	case "rate":
		text = limitText(l.Count) + unitText(l.Unit) + perText(l.Per) + ", burst " + limitText(l.Limit)
	case "quota":
		text += unitText(l.Unit) + " a " + l.Period
	}
	if l.Scope == "customer" {
		text += " per customer"
	}
	return text
}

func remainingText(l client.Limit) string {
	if l.Limit < 0 {
		return "unlimited"
	}
	return number(l.Remaining)
}
