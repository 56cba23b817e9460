// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) audit() *cobra.Command {
	var l listFlags
	var since, actor, customer, target, action string
	c := a.command("audit", "Show who changed what, the newest first", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			query := url.Values{"actor": {actor}, "target": {target}, "action": {action}}
			if since != "" {
				at, err := parseTime("since", since, s.env.Now())
				if err != nil {
					return err
				}
				query.Set("from", at.Format(time.RFC3339))
			}
			if customer != "" {
				found, err := s.customer(ctx, customer)
				if err != nil {
					return err
				}
				query.Set("customer", found.Value.ID)
			}
			found, more, err := list[client.AuditEntry](ctx, s, "/v1/audit", query, &l)
			if err != nil {
				return err
			}
			t := &table{head: []string{"TIME", "WHO", "ACTION", "WHAT", "CHANGE", "IP"}}
			for _, e := range found {
				t.add(stamp(e.Value.Time), cmp.Or(e.Value.Actor.Name, e.Value.Actor.ID), e.Value.Action, e.Value.Target, changeText(e.Value), e.Value.IP)
			}
			return printList(s, found, more, &l, t)
		})
	l.add(c)
	f := c.Flags()
	f.StringVar(&since, "since", "", "Only since then: 10m, \"2 days ago\", a time")
	f.StringVar(&actor, "actor", "", "Only by this token: its id or name")
	f.StringVar(&customer, "customer", "", "Only about this customer")
	f.StringVar(&target, "target", "", "Only about this id")
	f.StringVar(&action, "action", "", "Only this action, as key.create")
	_ = f.MarkHidden("q")
	_ = c.RegisterFlagCompletionFunc("customer", a.completeCustomers)
	return c
}

// changeText says what has changed: name "a" → "b".
func changeText(e client.AuditEntry) string {
	if len(e.Before) == 0 || len(e.After) == 0 {
		return e.Reason
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(e.After)) {
		old := cmp.Or(string(e.Before[name]), "null")
		if old == "null" && strings.HasSuffix(e.Action, ".create") {
			continue
		}
		parts = append(parts, name+" "+old+" → "+string(e.After[name]))
	}
	if e.Reason != "" {
		parts = append(parts, "("+e.Reason+")")
	}
	return strings.Join(parts, ", ")
}
