// SPDX-License-Identifier: Apache-2.0

// Package caddymodule translates between Caddy and Keytoll: the Caddyfile and
// Caddy's JSON into plans, routes and settings; requests into calls of the
// gate, and its decisions into answers.
//
// The modules:
//
//   - keytoll (app.go): the app; the global option of the Caddyfile
//   - http.handlers.keytoll (handler.go): the gate before an API
//   - http.handlers.keytoll_usage (usage.go): what a caller has used
//   - http.handlers.keytoll_stripe_webhook, http.handlers.keytoll_portal (stripe.go)
//
// What outlives a reload (store, meter, gate, metrics) is in engine.go.
package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(UsageHandler))
	caddy.RegisterModule(new(StripeWebhook))
	caddy.RegisterModule(new(Portal))
	caddy.RegisterModule(new(LazyEncoder))
	registerDirectives()
}

// appID is the app's name among Caddy's apps, and that of the global option.
const appID = "keytoll"

// startTime bounds how long opening a store and its counters may take.
const startTime = 10 * time.Minute

// App sells an API: it keeps customers, keys, plans and exact usage, and
// serves the admin API. The handler `keytoll` asks it about each request.
type App struct {
	// Where customers, keys, plans and usage are kept.
	// Default: bbolt in the directory `keytoll` of Caddy's data directory.
	Storage *Storage `json:"storage,omitempty"`

	// The admin API, for the command line and your own backend.
	// Default: on 127.0.0.1:2021 with a token made at the first start.
	Admin *Admin `json:"admin,omitempty"`

	// What every secret begins with: sk gives sk_live_… and sk_test_….
	// 1 to 16 letters, digits or underscores. Default: `sk`
	KeyPrefix string `json:"key_prefix,omitempty"`

	// The plan of customers that were given no other. Default: none, unless
	// there are no plans here: then `free`.
	DefaultPlan string `json:"default_plan,omitempty"`

	// What is sold. Default: `free` (10 requests a second, 1000 a month) and
	// `pro` (100 a second, 100000 a month).
	Plans []Plan `json:"plans,omitempty"`

	// Where a caller can get more; shown in refusals by a quota and for want
	// of payment. `{customer}` is replaced by the customer's id. Default: none
	UpgradeURL string `json:"upgrade_url,omitempty"`

	// How long things are kept.
	Retention *Retention `json:"retention,omitempty"`

	// How plans are paid for. Default: Stripe is not connected
	Stripe *Stripe `json:"stripe,omitempty"`

	// Which metrics exist beside the usual ones.
	Metrics *Metrics `json:"metrics,omitempty"`

	settings  gate.Settings
	keyPrefix string
	tenancy   *tenancy
	admin     *adminEndpoint // nil where it is off
	logger    *slog.Logger
	warned    map[string]bool // of unfiltered logs
	handlers  []*Handler      // of this configuration, for what must be said about all of them
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: appID, New: func() caddy.Module { return new(App) }}
}

// Provision resolves and checks the configuration and takes a reference to the
// engine of its storage. It opens nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Slogger()
	if err := a.resolve(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	var err error
	if a.admin, err = a.Admin.endpoint(a.logger); err != nil {
		return err
	}
	if a.tenancy, err = rent(a.Storage.place()); err != nil {
		return err
	}
	if err := a.tenancy.engine.metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// resolve replaces placeholders and fills in what was left out.
func (a *App) resolve() error {
	repl := caddy.NewReplacer()
	if a.Storage == nil {
		a.Storage = new(Storage)
	}
	if err := a.Storage.resolve(repl); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if a.Admin == nil {
		a.Admin = new(Admin)
	}
	if err := a.Admin.resolve(repl, a.Storage); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if a.Stripe != nil {
		if err := a.Stripe.resolve(repl); err != nil {
			return fmt.Errorf("stripe: %w", err)
		}
	}
	var err error
	a.settings.UpgradeURL = repl.ReplaceKnown(a.UpgradeURL, "")
	if a.keyPrefix, err = repl.ReplaceOrErr(a.KeyPrefix, true, true); err != nil {
		return fmt.Errorf("key_prefix: %w", err)
	}
	if a.keyPrefix == "" {
		a.keyPrefix = "sk"
	}
	a.settings.DefaultPlan = a.DefaultPlan
	for _, p := range a.Plans {
		a.settings.Plans = append(a.settings.Plans, p.plan())
	}
	if len(a.Plans) == 0 {
		a.settings.Plans = plan.Defaults()
		if a.DefaultPlan == "" {
			a.settings.DefaultPlan = a.settings.Plans[0].ID
		}
	}
	if a.Stripe != nil {
		a.settings.FallbackPlan = a.Stripe.FallbackPlan
	}
	return nil
}

// Start opens the engine, puts the settings in force and serves the admin API.
// If any of that does not work, it undoes the rest.
func (a *App) Start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	e := a.tenancy.engine
	if err := e.open(ctx, a.Storage); err != nil {
		return err
	}
	if err := e.apply(ctx, a); err != nil {
		return err
	}
	if err := a.admin.start(ctx, a); err != nil {
		return errors.Join(err, e.withdraw(ctx, a))
	}
	a.warnUnknownRoutes()
	return nil
}

// Stop takes back this configuration's settings and its admin API. The engine
// and requests in flight go on.
func (a *App) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	return errors.Join(a.admin.stop(), a.tenancy.engine.withdraw(ctx, a))
}

// Cleanup gives up this configuration's hold on the engine. The last one to
// leave closes it: this, or a request that is still in flight.
func (a *App) Cleanup() error {
	if a.tenancy == nil {
		return nil
	}
	return a.tenancy.end()
}

// warnUnknownRoutes tells of plans that allow a route which no handler has:
// most likely a name written in two ways.
func (a *App) warnUnknownRoutes() {
	known := map[string]bool{plan.DefaultRoute: true}
	for _, h := range a.handlers {
		for _, r := range h.routes.All() {
			known[r.Name] = true
		}
	}
	for _, p := range a.settings.Plans {
		for _, name := range p.Routes {
			if !known[name] && len(a.handlers) > 0 {
				a.logger.Warn("plan allows a route that no handler has", "plan", p.ID, "route", name)
			}
		}
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
