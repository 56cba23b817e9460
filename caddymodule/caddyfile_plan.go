// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keytoll/keytoll/plugin/plan"
)

// maxKeysAllowed bounds max_keys.
const maxKeysAllowed = 1_000_000

// parsePlan reads `plan <id> { … }`.
func (a *App) parsePlan(d *caddyfile.Dispenser) error {
	id, err := oneWord(d, "plan free { … }")
	if err != nil {
		return err
	}
	if problem := plan.NameProblem(id); problem != "" {
		return d.Errf("plan '%s' %s", id, problem)
	}
	if slices.ContainsFunc(a.Plans, func(p Plan) bool { return p.ID == id }) {
		return d.Errf("plan '%s' is given twice", id)
	}
	at := here(d)
	p := Plan{ID: id}
	err = options{
		"title":        text(&p.Title, `title "Pro"`),
		"rate":         rates(&p.Rates),
		"quota":        {parse: quotas(&p.Quotas), many: true},
		"concurrency":  {parse: p.parseConcurrency},
		"max_keys":     {parse: p.parseMaxKeys},
		"scope":        list(&p.Scopes, "scope", "scope chat images", plan.ScopeProblem),
		"routes":       list(&p.Routes, "route", "routes chat images", plan.NameProblem),
		"stripe_price": list(&p.StripePrices, "stripe_price", "stripe_price price_…", nil),
		"stripe_meter": {parse: p.parseStripeMeter, many: true},
		"not_for_sale": mark(&p.NotForSale, "not_for_sale"),
	}.parse(d, "plan "+id)
	if err != nil {
		return err
	}
	for _, other := range a.Plans {
		for _, price := range p.StripePrices {
			if slices.Contains(other.StripePrices, price) {
				return at.Errf("plan '%s': stripe_price '%s' is that of plan '%s' already", id, price, other.ID)
			}
		}
	}
	compiled := p.plan()
	if err := compiled.Validate(); err != nil {
		return at.Errf("plan '%s': %v", id, err)
	}
	a.Plans = append(a.Plans, p)
	return nil
}

// rates is the option that adds a rate. `rate unlimited` stands alone.
func rates(to *[]plan.Rate) option {
	var alone bool
	return option{many: true, parse: func(d *caddyfile.Dispenser) error {
		r, err := plan.ParseRate(d.RemainingArgs())
		if err != nil {
			return d.WrapErr(err)
		}
		if alone || r.Count == plan.Unlimited && len(*to) > 0 {
			return d.Err("'unlimited' stands beside another rate")
		}
		if alone = r.Count == plan.Unlimited; !alone {
			*to = append(*to, r)
		}
		return nil
	}}
}

// quotas reads a quota. `quota unlimited` stands alone.
func quotas(to *[]plan.Quota) func(d *caddyfile.Dispenser) error {
	var alone bool
	return func(d *caddyfile.Dispenser) error {
		q, err := plan.ParseQuota(d.RemainingArgs())
		if err != nil {
			return d.WrapErr(err)
		}
		if alone || q.Limit == plan.Unlimited && len(*to) > 0 {
			return d.Err("'unlimited' stands beside another quota")
		}
		if alone = q.Limit == plan.Unlimited; alone {
			return nil
		}
		for _, other := range *to {
			if other.Unit == q.Unit && other.Span == q.Span && other.Scope == q.Scope {
				return d.Errf("there is a quota of %s in a %s per %s already", q.Unit, q.Span, q.Scope)
			}
		}
		*to = append(*to, q)
		return nil
	}
}

func (p *Plan) parseConcurrency(d *caddyfile.Dispenser) error {
	c, err := plan.ParseConcurrency(d.RemainingArgs())
	if err != nil {
		return d.WrapErr(err)
	}
	if c.Limit > 0 {
		p.Concurrency = &c
	}
	return nil
}

func (p *Plan) parseMaxKeys(d *caddyfile.Dispenser) error {
	word, err := oneWord(d, "max_keys 2")
	if err != nil {
		return err
	}
	if word == "unlimited" {
		p.MaxKeys = 0
		return nil
	}
	if p.MaxKeys, err = strconv.Atoi(word); err != nil || p.MaxKeys < 1 || p.MaxKeys > maxKeysAllowed {
		return d.Errf("max_keys '%s': write a number from 1 to %d, or unlimited", word, maxKeysAllowed)
	}
	return nil
}

func (p *Plan) parseStripeMeter(d *caddyfile.Dispenser) error {
	m, err := plan.ParseStripeMeter(d.RemainingArgs())
	if err != nil {
		return d.WrapErr(err)
	}
	if slices.Contains(p.StripeMeters, m) {
		return d.Errf("stripe_meter '%s' is given twice", m.Event)
	}
	p.StripeMeters = append(p.StripeMeters, m)
	return nil
}

// parseStripe reads `stripe { … }` and returns where the fallback plan stands.
func (a *App) parseStripe(d *caddyfile.Dispenser) (fallbackAt *caddyfile.Dispenser, err error) {
	if _, err := words(d, 0, 0, "stripe { … }"); err != nil {
		return nil, err
	}
	at := here(d)
	s := new(Stripe)
	a.Stripe = s
	err = options{
		"secret_key":     secret(&s.SecretKey, "secret_key {env.STRIPE_SECRET_KEY}"),
		"webhook_secret": {parse: s.parseWebhookSecret, many: true},
		"api_base":       {parse: s.parseAPIBase},
		"grace":          {parse: s.parseGrace},
		"hold":           mark(&s.Hold, "hold"),
		"bill_from":      {parse: s.parseBillFrom},
		"fallback_plan": {parse: func(d *caddyfile.Dispenser) (err error) {
			s.FallbackPlan, err = oneWord(d, "fallback_plan free")
			fallbackAt = here(d)
			return err
		}},
	}.parse(d, "stripe")
	if err == nil && s.SecretKey == "" {
		return nil, at.Err("stripe: secret_key is missing")
	}
	return fallbackAt, err
}

func (s *Stripe) parseWebhookSecret(d *caddyfile.Dispenser) error {
	var one string
	if err := secret(&one, "webhook_secret {env.STRIPE_WEBHOOK_SECRET}").parse(d); err != nil {
		return err
	}
	if slices.Contains(s.WebhookSecrets, one) {
		return d.Err("this webhook_secret is given twice")
	}
	if len(s.WebhookSecrets) == maxWebhookSecrets {
		return d.Errf("webhook_secret: at most %d at once", maxWebhookSecrets)
	}
	s.WebhookSecrets = append(s.WebhookSecrets, one)
	return nil
}

func (s *Stripe) parseAPIBase(d *caddyfile.Dispenser) (err error) {
	if s.APIBase, err = oneWord(d, "api_base https://…"); err != nil {
		return err
	}
	if hasPlaceholder(s.APIBase) {
		return nil
	}
	if err := checkAPIBase(s.APIBase); err != nil {
		return d.Errf("'%s': %v", s.APIBase, err)
	}
	return nil
}

func (s *Stripe) parseGrace(d *caddyfile.Dispenser) error {
	s.Grace = new(caddy.Duration)
	return duration(s.Grace, "grace 7d").parse(d)
}

func (s *Stripe) parseBillFrom(d *caddyfile.Dispenser) error {
	word, err := oneWord(d, "bill_from 2026-12-01T00:00:00Z")
	if err != nil {
		return err
	}
	from, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return d.Errf("'%s' is not a time: write bill_from 2026-12-01T00:00:00Z", word)
	}
	s.BillFrom = &from
	return nil
}

// hasPlaceholder reports whether s is known only when the configuration is loaded.
func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// originProblem says why origin cannot be that of a web page.
func originProblem(origin string) string {
	if origin == "*" {
		return ""
	}
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.String() != u.Scheme+"://"+u.Host {
		return "it takes scheme and host, as https://app.example.com, or *"
	}
	return ""
}
