// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) tokens() *cobra.Command {
	return noun("tokens", "Create, list and end admin tokens", a.tokensCreate(), a.tokensList(), a.tokensRevoke())
}

// admin is another way to say tokens: `admin tokens create`.
func (a *app) admin() *cobra.Command {
	c := noun("admin", "Who may use the admin API", a.tokens())
	c.Hidden = true
	return c
}

func (a *app) tokensCreate() *cobra.Command {
	var name, role, expires string
	c := a.command("create --name <name> --role <role>", "Make an admin token; it goes to stdout, once", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			if name == "" || role == "" {
				return usageError("Write: caddy keytoll tokens create --name backend --role provision")
			}
			body := map[string]any{"name": name, "role": role}
			if expires != "" {
				end, err := parseEnd("expires", expires, s.env.Now())
				if err != nil {
					return err
				}
				body["expires_at"] = end
			}
			api, err := s.api()
			if err != nil {
				return err
			}
			made, err := client.Call[client.NewToken](ctx, api, http.MethodPost, "/v1/admin-tokens", nil, body)
			switch {
			case err != nil:
				return err
			case made.Value.Secret == "":
				return &failure{Failed, "secret_lost", "The token " + made.Value.ID + " was made, but the answer was lost on its way. End it and make another: caddy keytoll tokens revoke " + made.Value.ID}
			case s.json:
				return s.printJSON(made)
			}
			if err := s.printLine(made.Value.Secret); err != nil {
				return err
			}
			s.say("Created %s, %s, with the role %s.", made.Value.ID, made.Value.Name, made.Value.Role)
			s.say("The token is shown only now; only its SHA-256 is stored.")
			return nil
		})
	c.Flags().StringVar(&name, "name", "", "Who uses it")
	c.Flags().StringVar(&role, "role", "", "owner, provision, support, meter or read")
	c.Flags().StringVar(&expires, "expires", "", "When it ends: 90d or 2027-01-31")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"owner", "provision", "support", "meter", "read"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) tokensList() *cobra.Command {
	var l listFlags
	c := a.command("list", "List admin tokens", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		found, more, err := list[client.Token](ctx, s, "/v1/admin-tokens", nil, &l)
		if err != nil {
			return err
		}
		t := &table{head: []string{"ID", "NAME", "ROLE", "STATUS", "SOURCE", "CREATED", "EXPIRES"}}
		for _, record := range found {
			k := record.Value
			t.add(k.ID, k.Name, k.Role, k.Status, k.Source, stamp(k.CreatedAt), stamp(k.ExpiresAt))
		}
		return printList(s, found, more, &l, t)
	})
	l.add(c)
	return c
}

func (a *app) tokensRevoke() *cobra.Command {
	var yes bool
	c := a.command("revoke <id>", "End an admin token", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		if err := s.confirm(yes, "End the admin token "+args[0]+"?"); err != nil {
			return err
		}
		api, err := s.api()
		if err != nil {
			return err
		}
		ended, err := client.Call[client.Token](ctx, api, http.MethodDelete, "/v1/admin-tokens/"+url.PathEscape(args[0]), nil, nil)
		if err != nil || s.json {
			return firstOf(s.missing(err, "No admin token %s. See: caddy keytoll tokens list", args[0]), func() error { return s.printJSON(ended) })
		}
		s.say("Revoked %s.", args[0])
		return nil
	})
	c.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	return c
}
