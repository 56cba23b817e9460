// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// Plan is a named set of limits and prices.
type Plan struct {
	// The name that customers hold it by: 1 to 64 lower-case letters, digits,
	// `_` or `-`.
	ID string `json:"id"`

	// What people see. Default: the id
	Title string `json:"title,omitempty"`

	// How many units at which pace, for example
	// `{"count": 10, "per": "1s", "burst": 20}`. All must allow a request.
	// Default: no bound
	Rates []plan.Rate `json:"rates,omitempty"`

	// How many units in an hour, day or month, for example
	// `{"limit": 1000, "period": "month"}`. Default: no bound
	Quotas []plan.Quota `json:"quotas,omitempty"`

	// How many requests at once. Default: no bound
	Concurrency *plan.Concurrency `json:"concurrency,omitempty"`

	// How many live keys a customer may have. Default: no bound
	MaxKeys int `json:"max_keys,omitempty"`

	// The scopes that keys of this plan may hold. Default: any
	Scopes []string `json:"scopes,omitempty"`

	// The names of the routes that keys of this plan may call. Default: all
	Routes []string `json:"routes,omitempty"`

	// The Stripe prices that put a customer on this plan. Default: none
	StripePrices []string `json:"stripe_prices,omitempty"`

	// The Stripe meters that are told of use. Default: none
	StripeMeters []plan.StripeMeter `json:"stripe_meters,omitempty"`

	// Served, but not offered to those who do not have it. Default: false
	NotForSale bool `json:"not_for_sale,omitempty"`
}

// plan returns the plan as the gate takes it.
func (p Plan) plan() plan.Plan {
	out := plan.Plan{
		ID: p.ID, Title: p.Title, Rates: p.Rates, Quotas: p.Quotas, MaxKeys: p.MaxKeys,
		Scopes: p.Scopes, Routes: p.Routes, StripePrices: p.StripePrices, StripeMeters: p.StripeMeters,
		NotForSale: p.NotForSale, Source: plan.FromConfig,
	}
	if p.Concurrency != nil {
		out.Concurrency = *p.Concurrency
	}
	return out
}

// Retention says how long things are kept. Usage that was billed, customers
// and keys are kept for 400 days or for ever, whatever is said here.
type Retention struct {
	// Usage by hour. Default: `35d`
	Hours caddy.Duration `json:"hours,omitempty"`
	// Usage by day. Default: `400d`
	Days caddy.Duration `json:"days,omitempty"`
	// Who did what through the admin API. Default: `400d`
	Audit caddy.Duration `json:"audit,omitempty"`
	// Events that came from Stripe. Default: `45d`
	Events caddy.Duration `json:"events,omitempty"`
}

const day = 24 * time.Hour

// or returns r with every length set.
func (r *Retention) or() Retention {
	out := Retention{Hours: caddy.Duration(35 * day), Days: caddy.Duration(400 * day), Audit: caddy.Duration(400 * day), Events: caddy.Duration(45 * day)}
	if r == nil {
		return out
	}
	for _, f := range []struct{ from, to *caddy.Duration }{
		{&r.Hours, &out.Hours}, {&r.Days, &out.Days}, {&r.Audit, &out.Audit}, {&r.Events, &out.Events},
	} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	return out
}

// Metrics chooses metrics beside the usual ones.
type Metrics struct {
	// Customers, by id, whose requests are counted under their own label.
	// Default: none
	Customers []string `json:"customers,omitempty"`
	// Or how many of the busiest customers are. Default: 0
	Top int `json:"top,omitempty"`
}

// check refuses what cannot be served.
func (a *App) check() error {
	if !apikey.ValidPrefix(a.keyPrefix) {
		return fmt.Errorf("key_prefix '%s': it takes 1 to 16 letters, digits or underscores, a letter first and no underscore last", a.keyPrefix)
	}
	seen := map[string]bool{}
	for _, p := range a.settings.Plans {
		if seen[p.ID] {
			return fmt.Errorf("plan %s: there are two of that name", p.ID)
		}
		seen[p.ID] = true
		if err := p.Validate(); err != nil {
			return fmt.Errorf("plan %s: %w", p.ID, err)
		}
	}
	if d := a.settings.DefaultPlan; d != "" && !seen[d] {
		return fmt.Errorf("default_plan: there is no plan '%s'", d)
	}
	if f := a.settings.FallbackPlan; f != "" && !seen[f] {
		return fmt.Errorf("fallback_plan: there is no plan '%s'", f)
	}
	if r := a.Retention; r != nil && min(r.Hours, r.Days, r.Audit, r.Events) < 0 {
		return fmt.Errorf("retention: a length is negative")
	}
	if m := a.Metrics; m != nil && (m.Top < 0 || m.Top > maxTop || m.Top > 0 && len(m.Customers) > 0) {
		return fmt.Errorf("metrics: take either customers or top, from 1 to %d", maxTop)
	}
	return a.checkUpgradeURL()
}

func (a *App) checkUpgradeURL() error {
	if a.settings.UpgradeURL == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(a.settings.UpgradeURL, "{customer}", "x"))
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return fmt.Errorf("upgrade_url '%s': it takes a whole URL", a.UpgradeURL)
	}
	return nil
}

// loopback reports whether host is this machine and no other.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// appendNew appends word, or refuses one that is there already.
func appendNew(list []string, what, word string) ([]string, error) {
	if slices.Contains(list, word) {
		return nil, fmt.Errorf("%s '%s' is given twice", what, word)
	}
	return append(list, word), nil
}
