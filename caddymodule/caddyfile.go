// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// registerDirectives makes the words of the Caddyfile known. `keytoll` comes
// after `encode`, so that it sees answers before they are compressed, and after
// the directives that answer by themselves and need no gate.
func registerDirectives() {
	httpcaddyfile.RegisterGlobalOption(appID, parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("keytoll", parseHandler[*Handler])
	httpcaddyfile.RegisterHandlerDirective("keytoll_usage", parseHandler[*UsageHandler])
	httpcaddyfile.RegisterHandlerDirective("keytoll_stripe_webhook", parseHandler[*StripeWebhook])
	httpcaddyfile.RegisterHandlerDirective("keytoll_portal", parseHandler[*Portal])
	httpcaddyfile.RegisterDirectiveOrder("keytoll", httpcaddyfile.After, "encode")
	for _, answering := range []string{"keytoll_usage", "keytoll_stripe_webhook", "keytoll_portal"} {
		httpcaddyfile.RegisterDirectiveOrder(answering, httpcaddyfile.After, "encode") // before keytoll
	}
}

// parseHandler reads one of the directives.
func parseHandler[H interface {
	caddyhttp.MiddlewareHandler
	caddyfile.Unmarshaler
}](h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	var handler H
	module, err := caddy.GetModule(string(any(handler).(caddy.Module).CaddyModule().ID))
	if err != nil {
		return nil, err
	}
	handler = module.New().(H)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// parseGlobal reads the global option.
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next()
	if existing != nil {
		return nil, d.Err("the global option 'keytoll' is given twice")
	}
	d.Reset()
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: appID, Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the global option. Syntax:
//
//	keytoll {
//		storage bbolt [<dir>] { lock_wait <duration> } | memory
//		admin <address> { token <token>; hosts <name...>; tls <cert> <key>; plaintext } | off
//		key_prefix <prefix>
//		default_plan <plan>
//		plan <plan> { … }
//		upgrade_url <url>
//		retention { hours|days|audit|events <duration> }
//		stripe { … }
//		metrics { customers <id...> | top <n> }
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	var defaultAt *caddyfile.Dispenser
	var fallbackAt *caddyfile.Dispenser
	opts := options{
		"storage":     {parse: a.parseStorage},
		"admin":       {parse: a.parseAdmin},
		"key_prefix":  {parse: a.parseKeyPrefix},
		"plan":        {parse: a.parsePlan, many: true},
		"upgrade_url": text(&a.UpgradeURL, "upgrade_url https://example.com/pricing"),
		"retention":   {parse: a.parseRetention},
		"stripe": {parse: func(d *caddyfile.Dispenser) (err error) {
			fallbackAt, err = a.parseStripe(d)
			return err
		}},
		"metrics": {parse: a.parseMetrics},
		"default_plan": {parse: func(d *caddyfile.Dispenser) (err error) {
			a.DefaultPlan, err = oneWord(d, "default_plan free")
			defaultAt = here(d)
			return err
		}},
	}
	if _, err := words(d, 0, 0, "keytoll { … }"); err != nil {
		return err
	}
	if err := opts.parse(d, "keytoll"); err != nil {
		return err
	}
	if defaultAt != nil && !a.hasPlan(a.DefaultPlan) {
		return defaultAt.WrapErr(unknownWord("plan", a.DefaultPlan, a.planIDs()...))
	}
	if fallbackAt != nil && !a.hasPlan(a.Stripe.FallbackPlan) {
		return fallbackAt.WrapErr(unknownWord("plan", a.Stripe.FallbackPlan, a.planIDs()...))
	}
	return nil
}

// planIDs returns the names of the plans that there will be.
func (a *App) planIDs() (ids []string) {
	if len(a.Plans) == 0 {
		for _, p := range plan.Defaults() {
			ids = append(ids, p.ID)
		}
	}
	for _, p := range a.Plans {
		ids = append(ids, p.ID)
	}
	return ids
}

func (a *App) hasPlan(id string) bool {
	return slices.Contains(a.planIDs(), id)
}

func (a *App) parseKeyPrefix(d *caddyfile.Dispenser) (err error) {
	if a.KeyPrefix, err = oneWord(d, "key_prefix sk"); err != nil {
		return err
	}
	if !hasPlaceholder(a.KeyPrefix) && !apikey.ValidPrefix(a.KeyPrefix) {
		return d.Errf("key_prefix '%s': it takes 1 to 16 letters, digits or underscores, a letter first and no underscore last", a.KeyPrefix)
	}
	return nil
}

func (a *App) parseStorage(d *caddyfile.Dispenser) error {
	const usage = "storage bbolt ./keytoll-data, or storage memory"
	args, err := words(d, 1, 2, usage)
	if err != nil {
		return err
	}
	s := &Storage{Engine: args[0]}
	if err := checkEngine(s.Engine); err != nil {
		return d.WrapErr(err)
	}
	opts := options{}
	switch {
	case s.memory() && len(args) > 1:
		return d.Errf("'%s' is one word too many: memory is nowhere on disk", args[1])
	case len(args) > 1 && args[1] == "":
		return d.Errf("the directory is empty: write %s", usage)
	case len(args) > 1:
		s.Directory = args[1]
	}
	if !s.memory() {
		opts["lock_wait"] = duration(&s.LockWait, "lock_wait 5s")
	}
	a.Storage = s
	return opts.parse(d, "storage "+s.Engine)
}

func (a *App) parseRetention(d *caddyfile.Dispenser) error {
	if _, err := words(d, 0, 0, "retention { … }"); err != nil {
		return err
	}
	r := new(Retention)
	a.Retention = r
	return options{
		"hours":  retention(&r.Hours, "hours 35d"),
		"days":   retention(&r.Days, "days 400d"),
		"audit":  retention(&r.Audit, "audit 400d"),
		"events": retention(&r.Events, "events 45d"),
	}.parse(d, "retention")
}

func (a *App) parseMetrics(d *caddyfile.Dispenser) error {
	if _, err := words(d, 0, 0, "metrics { … }"); err != nil {
		return err
	}
	m := new(Metrics)
	a.Metrics = m
	err := options{
		"customers": list(&m.Customers, "customer", "customers cust_…", nil),
		"top": {parse: func(d *caddyfile.Dispenser) error {
			word, err := oneWord(d, "top 20")
			if err != nil {
				return err
			}
			if m.Top, err = strconv.Atoi(word); err != nil || m.Top < 1 || m.Top > maxTop {
				return d.Errf("top '%s': write a number from 1 to %d", word, maxTop)
			}
			return nil
		}},
	}.parse(d, "metrics")
	if err == nil && m.Top > 0 && len(m.Customers) > 0 {
		return d.Err("metrics: take either customers or top")
	}
	return err
}

// maxTop bounds how many customers have a label of their own.
const maxTop = 100

// duration is the option that sets a length of time, zero included.
func duration(to *caddy.Duration, usage string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		word, err := oneWord(d, usage)
		if err != nil {
			return err
		}
		length, err := caddy.ParseDuration(word)
		if err != nil || length < 0 {
			return d.Errf("'%s' is not a length of time: write %s", word, usage)
		}
		*to = caddy.Duration(length)
		return nil
	}}
}

// retention is the option that sets how long something is kept.
func retention(to *caddy.Duration, usage string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		word, err := oneWord(d, usage)
		if err != nil {
			return err
		}
		length, err := plan.ParseRetention(word)
		if err != nil {
			return d.WrapErr(fmt.Errorf("%w: write %s", err, usage))
		}
		*to = caddy.Duration(length)
		return nil
	}}
}

// UnmarshalCaddyfile reads `keytoll_stripe_webhook`, which has no options.
func (*StripeWebhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return bare(d) }

// UnmarshalCaddyfile reads `keytoll_portal`, which has no options.
func (*Portal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return bare(d) }

// bare reads a directive that has no options.
func bare(d *caddyfile.Dispenser) error {
	d.Next()
	name := d.Val()
	if _, err := words(d, 0, 0, name); err != nil {
		return err
	}
	return options{}.parse(d, name)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*StripeWebhook)(nil)
	_ caddyfile.Unmarshaler = (*Portal)(nil)
)
