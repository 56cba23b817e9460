// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
	"github.com/keytoll/keytoll/plugin/plan"
)

func (a *app) keys() *cobra.Command {
	return noun("keys", "Create, list and end API keys",
		a.keysCreate(), a.keysList(), a.keysShow(), a.keysUpdate(), a.keysRotate(),
		a.keysRevoke(), a.keysDisable(), a.keysEnable(), a.keysImport())
}

// keyFlags are what may be said of a key.
type keyFlags struct {
	name, plan, expires, burst, quota string
	rates, scopes, ips, meta          []string
}

func (k *keyFlags) add(a *app, c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.name, "name", "", "What the key is for")
	f.StringVar(&k.plan, "plan", "", "A plan of its own, for rates, scopes and quotas per key; customer: that of its customer")
	f.StringVar(&k.expires, "expires", "", "When it ends: 90d, 2027-01-31 or never")
	f.StringArrayVar(&k.rates, "rate", nil, "A rate instead of the plan's: 50/second, \"50/second burst 100\", none or plan; repeatable")
	f.StringVar(&k.burst, "burst", "", "The burst of the --rate")
	f.StringVar(&k.quota, "quota", "", "A quota instead of the plan's: 100k (a month), \"5k tokens/day\", unlimited or plan")
	f.StringArrayVar(&k.scopes, "scope", nil, "What the key may do; repeatable; none: all of its plan")
	f.StringArrayVar(&k.ips, "ip", nil, "An address or prefix (CIDR) it may be used from; repeatable; any: from anywhere")
	f.StringArrayVar(&k.meta, "meta", nil, "name=value, kept with the key; repeatable")
	_ = c.RegisterFlagCompletionFunc("plan", a.completePlans)
}

// fields returns what was said, as the API takes it.
func (k *keyFlags) fields(s *session) (body map[string]any, err error) {
	body = map[string]any{}
	changed := s.cmd.Flags().Changed
	if changed("name") {
		body["name"] = orNull(k.name)
	}
	if changed("plan") {
		body["plan"] = orNull(unlessWord(k.plan, "customer"))
	}
	if changed("expires") {
		if body["expires_at"], err = parseEnd("expires", k.expires, s.env.Now()); err != nil {
			return nil, err
		}
	}
	if changed("burst") && !changed("rate") {
		return nil, usageError("--burst belongs to a --rate.")
	}
	if changed("rate") {
		if body["rates"], err = parseRates(k.rates, k.burst); err != nil {
			return nil, err
		}
	}
	if changed("quota") {
		if body["quota"], err = parseQuota(k.quota); err != nil {
			return nil, err
		}
	}
	if changed("scope") {
		body["scopes"] = listUnless(k.scopes, "none")
	}
	if changed("ip") {
		body["allowed_ips"] = listUnless(k.ips, "any")
	}
	if changed("meta") {
		if body["metadata"], err = parseMetadata(k.meta); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func unlessWord(text, word string) string {
	if text == word {
		return ""
	}
	return text
}

func listUnless(list []string, word string) []string {
	if len(list) == 1 && list[0] == word {
		return []string{}
	}
	return list
}

func (a *app) keysCreate() *cobra.Command {
	var k keyFlags
	var customer, mode string
	var quiet bool
	c := a.command("create --customer <id, e-mail or external id>", "Make a key; the secret goes to stdout, once", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			if customer == "" {
				return usageError("Whose key? Write: caddy keytoll keys create --customer dev@example.com")
			}
			body, err := k.fields(s)
			if err != nil {
				return err
			}
			body["customer"], body["mode"] = customer, mode
			return s.createKey(ctx, body, quiet)
		})
	k.add(a, c)
	c.Flags().StringVar(&customer, "customer", "", "Its owner: an id, an external id or an e-mail address; a new address makes a customer")
	c.Flags().StringVar(&mode, "mode", "live", "live or test: test keys are never billed")
	c.Flags().BoolVar(&quiet, "quiet", false, "Print only the secret")
	_ = c.RegisterFlagCompletionFunc("customer", a.completeCustomers)
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"live", "test"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) createKey(ctx context.Context, body map[string]any, quiet bool) error {
	api, err := s.api()
	if err != nil {
		return err
	}
	made, err := client.Call[client.NewKey](ctx, api, http.MethodPost, "/v1/keys", nil, body)
	if err != nil {
		return err
	}
	if err := s.showSecret(made); err != nil || quiet || s.json {
		return err
	}
	k := made.Value.Key
	planID := cmp.Or(k.Plan, s.planOf(ctx, k.Customer))
	s.say("Created %s for %s on %s: %s.", k.ID, s.nameOf(ctx, k.Customer), planID, s.limitsOf(ctx, k, planID))
	s.say("The secret is shown only now; only its SHA-256 is stored.")
	return nil
}

// showSecret prints a new secret alone, or the whole answer as JSON.
func (s *session) showSecret(made client.Record[client.NewKey]) error {
	if made.Value.APIKey == "" {
		id := made.Value.ID
		return &failure{Failed, "secret_lost", "The key " + id + " has a new secret, but the answer was lost on its way. Make another: caddy keytoll keys rotate " + id + " --keep-old 0"}
	}
	if s.json {
		return s.printJSON(made)
	}
	return s.printLine(made.Value.APIKey)
}

// planOf returns the plan of a customer; words where it cannot be read.
func (s *session) planOf(ctx context.Context, customerID string) string {
	s.nameOf(ctx, customerID)
	return cmp.Or(s.known[customerID].Plan, "its customer's plan")
}

// limitsOf says what a key may use: its own limits before its plan's.
func (s *session) limitsOf(ctx context.Context, k client.Key, planID string) string {
	var p client.Plan
	if api, err := s.api(); err == nil {
		if found, err := client.Get[client.Plan](ctx, api, "/v1/plans/"+url.PathEscape(planID), nil); err == nil {
			p = found.Value
		} else if k.Quota == nil || k.Rates == nil {
			return "the limits of its plan"
		}
	}
	if k.Quota != nil {
		p.Quotas = []plan.Quota{*k.Quota}
	}
	if k.Rates != nil {
		p.Rates = *k.Rates
	}
	return limits(p.Quotas, p.Rates)
}

func (s *session) printLine(line string) error {
	_, err := s.env.Out.Write([]byte(line + "\n"))
	return err
}

func (a *app) keysShow() *cobra.Command {
	c := a.command("show <id|start|->", "Show a key; - reads a secret from stdin", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			found, err := s.key(ctx, args[0])
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(found) })
			}
			return s.printBlock(s.keyBlock(ctx, found.Value))
		})
	c.ValidArgsFunction = a.completeKeys
	return c
}

// firstOf returns err, or what next returns where err is nil.
func firstOf(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func (s *session) keyBlock(ctx context.Context, k client.Key) block {
	now := s.env.Now()
	planID := cmp.Or(k.Plan, s.planOf(ctx, k.Customer))
	var b block
	b.add("Key", k.ID)
	b.add("Name", k.Name)
	b.add("Customer", s.nameOf(ctx, k.Customer)+" ("+k.Customer+")")
	b.add("Secret", shownStart(k.Start))
	b.add("Mode", k.Mode)
	b.add("Status", k.Status)
	b.add("Plan", planID)
	b.add("Limits", s.limitsOf(ctx, k, planID))
	b.add("Scopes", strings.Join(k.Scopes, ", "))
	b.add("From", strings.Join(k.AllowedIPs, ", "))
	if report, err := s.report(ctx, "/v1/keys/"+k.ID+"/usage"); err == nil {
		b.add("Used", reportText(report))
	}
	b.add("Expires", moment(k.ExpiresAt))
	b.add("Created", moment(k.CreatedAt))
	b.add("Revoked", moment(k.RevokedAt))
	b.add("Last used", age(k.LastUsedAt, now))
	for _, secret := range k.Secrets {
		if !secret.EndsAt.IsZero() {
			b.add("Old secret", shownStart(secret.Start)+", works until "+moment(secret.EndsAt))
		}
	}
	for name, value := range k.Metadata {
		b.add("Metadata", name+"="+string(value))
	}
	return b
}

func shownStart(start string) string {
	if start == "" {
		return "imported"
	}
	return start + "…"
}

func (s *session) report(ctx context.Context, path string) (client.Report, error) {
	api, err := s.api()
	if err != nil {
		return client.Report{}, err
	}
	found, err := client.Get[client.Report](ctx, api, path, nil)
	return found.Value, err
}

// reportText says how much of each quota is used.
func reportText(r client.Report) string {
	if len(r.Quotas) == 0 {
		return number(r.Requests) + " this period"
	}
	parts := make([]string, 0, len(r.Quotas))
	for _, q := range r.Quotas {
		text := number(q.Used) + " of " + limitText(q.Limit) + unitText(q.Unit)
		if q.Limit > 0 {
			text += ", resets " + moment(q.ResetsAt)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func limitText(limit int64) string {
	if limit < 0 || limit > plan.MaxCount {
		return "unlimited"
	}
	return number(limit)
}
