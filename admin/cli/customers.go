// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) customers() *cobra.Command {
	return noun("customers", "Create, list and erase customers",
		a.customersCreate(), a.customersList(), a.customersShow(), a.customersUpdate(), a.customersDelete(), a.customersExport())
}

// customerFlags are what may be said of a customer.
type customerFlags struct {
	email, name, externalID, plan, stripe, reason, until string
	rates                                                []string
	burst, quota, override                               string
	meta                                                 []string
}

func (k *customerFlags) add(a *app, c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.email, "email", "", "E-mail address; one customer each")
	f.StringVar(&k.name, "name", "", "Name")
	f.StringVar(&k.externalID, "external-id", "", "Your own id of it; one customer each")
	f.StringVar(&k.plan, "plan", "", "Plan; none: the default one")
	f.StringVar(&k.stripe, "stripe-customer", "", "Its id at Stripe, cus_…")
	f.StringVar(&k.override, "plan-override", "", "Another plan, whatever Stripe says; none ends it")
	f.StringArrayVar(&k.rates, "rate", nil, "A rate instead of the plan's: 50/second, none or plan; repeatable")
	f.StringVar(&k.burst, "burst", "", "The burst of the --rate")
	f.StringVar(&k.quota, "quota", "", "A quota instead of the plan's: 100k (a month), \"5k tokens/day\", unlimited or plan")
	f.StringVar(&k.until, "until", "", "When the overrides end: 90d, 2027-01-31 or never")
	f.StringVar(&k.reason, "reason", "", "Why there are overrides")
	f.StringArrayVar(&k.meta, "meta", nil, "name=value, kept with the customer; repeatable")
	_ = c.RegisterFlagCompletionFunc("plan", a.completePlans)
	_ = c.RegisterFlagCompletionFunc("plan-override", a.completePlans)
}

// fields returns what was said, as the API takes it.
func (k *customerFlags) fields(s *session) (map[string]any, error) {
	body, changed := map[string]any{}, s.cmd.Flags().Changed
	for flag, field := range map[string]struct{ name, value string }{
		"email": {"email", k.email}, "name": {"name", k.name}, "external-id": {"external_id", k.externalID},
		"plan": {"plan", unlessWord(k.plan, "none")}, "stripe-customer": {"stripe_customer_id", k.stripe},
	} {
		if changed(flag) {
			body[field.name] = orNull(field.value)
		}
	}
	var until any
	if changed("until") {
		var err error
		if until, err = parseEnd("until", k.until, s.env.Now()); err != nil {
			return nil, err
		}
	}
	overrides := map[string]any{}
	if changed("burst") && !changed("rate") {
		return nil, usageError("--burst belongs to a --rate.")
	}
	if changed("rate") {
		rates, err := parseRates(k.rates, k.burst)
		if err != nil {
			return nil, err
		}
		overrides["rates"] = rates
	}
	if changed("quota") {
		quota, err := parseQuota(k.quota)
		if err != nil {
			return nil, err
		}
		overrides["quota"] = quota
	}
	if changed("meta") {
		m, err := parseMetadata(k.meta)
		if err != nil {
			return nil, err
		}
		body["metadata"] = m
	}
	return body, k.overrideFields(s, body, overrides, until)
}

// overrideFields puts the end and the reason to what they are said about.
func (k *customerFlags) overrideFields(s *session, body, overrides map[string]any, until any) error {
	changed := s.cmd.Flags().Changed
	limits := len(overrides) > 0 || !changed("plan-override")
	if limits && changed("until") {
		overrides["until"] = until
	}
	if limits && changed("reason") {
		overrides["reason"] = orNull(k.reason)
	}
	if len(overrides) > 0 {
		body["overrides"] = overrides
	}
	switch {
	case !changed("plan-override"):
	case k.override == "none" || k.override == "":
		body["plan_override"] = nil
	default:
		override := map[string]any{"plan": k.override}
		if changed("until") {
			override["until"] = until
		}
		if changed("reason") {
			override["reason"] = orNull(k.reason)
		}
		body["plan_override"] = override
	}
	return nil
}

func (a *app) customersCreate() *cobra.Command {
	var k customerFlags
	c := a.command("create --email <address>", "Make a customer; its id goes to stdout", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			body, err := k.fields(s)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usageError("Who is it? Write: caddy keytoll customers create --email dev@example.com")
			}
			api, err := s.api()
			if err != nil {
				return err
			}
			made, err := client.Call[client.Customer](ctx, api, http.MethodPost, "/v1/customers", nil, body)
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(made) })
			}
			s.say("Created customer %s.", called(made.Value, made.Value.ID))
			return s.printLine(made.Value.ID)
		})
	k.add(a, c)
	return c
}

func (a *app) customersList() *cobra.Command {
	var l listFlags
	var planID string
	c := a.command("list", "List customers, the newest first", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		found, more, err := list[client.Customer](ctx, s, "/v1/customers", url.Values{"plan": {planID}}, &l)
		if err != nil {
			return err
		}
		t := &table{head: []string{"ID", "EMAIL", "NAME", "EXTERNAL ID", "PLAN", "FROM", "STATUS", "CREATED"}}
		for _, record := range found {
			c := record.Value
			created := c.CreatedAt.UTC().Format(time.RFC3339)
			if s.env.OutTerminal && !l.csv {
				created = age(c.CreatedAt, s.env.Now())
			}
			t.add(c.ID, c.Email, c.Name, c.ExternalID, c.Plan, c.PlanSource, c.Status, created)
		}
		return printList(s, found, more, &l, t)
	})
	l.add(c)
	c.Flags().StringVar(&planID, "plan", "", "Only those that were given this plan")
	_ = c.RegisterFlagCompletionFunc("plan", a.completePlans)
	return c
}

func (a *app) customersShow() *cobra.Command {
	c := a.command("show <id|e-mail|external id>", "Show a customer", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			found, err := s.customer(ctx, args[0])
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(found) })
			}
			c := found.Value
			var b block
			b.add("Customer", c.ID)
			b.add("E-mail", c.Email)
			b.add("Name", c.Name)
			b.add("External id", c.ExternalID)
			b.add("Plan", c.Plan+" ("+c.PlanSource+")")
			b.add("Subscription", c.Status)
			b.add("Stripe", c.StripeCustomer)
			b.add("Period", moment(c.Period.Start)+" to "+moment(c.Period.End))
			if report, err := s.report(ctx, "/v1/customers/"+c.ID+"/usage"); err == nil {
				b.add("Used", reportText(report))
			}
			b.add("Created", moment(c.CreatedAt))
			return s.printBlock(b)
		})
	c.ValidArgsFunction = a.completeCustomers
	return c
}

func (a *app) customersUpdate() *cobra.Command {
	var k customerFlags
	c := a.command("update <id|e-mail|external id>", "Change a customer; prints what was and what is", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			body, err := k.fields(s)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usageError("What is to change? See: caddy keytoll customers update --help")
			}
			before, err := s.customer(ctx, args[0])
			if err != nil {
				return err
			}
			after, err := client.Call[client.Customer](ctx, s.client, http.MethodPatch, "/v1/customers/"+before.Value.ID, nil, body)
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(after) })
			}
			return s.printChanges(before.JSON, after.JSON)
		})
	k.add(a, c)
	c.ValidArgsFunction = a.completeCustomers
	return c
}

func (a *app) customersDelete() *cobra.Command {
	var yes bool
	c := a.command("delete <id|e-mail|external id>", "Erase a customer: its keys end, its personal data goes, what was billed stays", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			found, err := s.customer(ctx, args[0])
			if err != nil {
				return err
			}
			c := found.Value
			if err := s.confirm(yes, "Erase "+called(c, c.ID)+" ("+c.ID+") and end its keys? This cannot be undone."); err != nil {
				return err
			}
			erased, err := client.Call[client.Customer](ctx, s.client, http.MethodDelete, "/v1/customers/"+c.ID, nil, nil)
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(erased) })
			}
			s.say("Erased %s.", c.ID)
			return nil
		})
	c.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	c.ValidArgsFunction = a.completeCustomers
	return c
}

func (a *app) customersExport() *cobra.Command {
	c := a.command("export <id|e-mail|external id>", "Print all that is held of a customer, as NDJSON", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			found, err := s.customer(ctx, args[0])
			if err != nil {
				return err
			}
			answer, err := s.client.Stream(ctx, http.MethodGet, "/v1/customers/"+found.Value.ID+"/export", nil, "", nil)
			if err != nil {
				return err
			}
			defer answer.Close()
			if _, err = io.Copy(s.env.Out, answer); err != nil {
				return &failure{Failed, "broken_off", "The export broke off: " + err.Error() + "."}
			}
			return nil
		})
	c.ValidArgsFunction = a.completeCustomers
	return c
}
