// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Stripe says how plans are paid for.
type Stripe struct {
	// The secret key of the account, best a placeholder such as
	// `{env.STRIPE_SECRET_KEY}`: what is written here shows in Caddy's /config/.
	SecretKey string `json:"secret_key,omitempty"`

	// The signing secrets of the webhook; two or three while one is rolled.
	WebhookSecrets []string `json:"webhook_secrets,omitempty"`

	// Where the API is, for a mock or a proxy; https unless on loopback.
	// Default: `https://api.stripe.com`
	APIBase string `json:"api_base,omitempty"`

	// The plan of those whose subscription has ended or is unpaid. Default:
	// none, they get 402
	FallbackPlan string `json:"fallback_plan,omitempty"`

	// How long a subscription that is past due still has access. Default: `7d`
	Grace *caddy.Duration `json:"grace,omitempty"`

	// Usage is sealed and shown, but not sent. Default: false
	Hold bool `json:"hold,omitempty"`

	// Units used before are never sent. Default: all are
	BillFrom *time.Time `json:"bill_from,omitempty"`

	secretKey      string
	webhookSecrets []string
	apiBase        string
}

const defaultGrace = 7 * day

func (s *Stripe) grace() time.Duration {
	if s.Grace == nil {
		return defaultGrace
	}
	return time.Duration(*s.Grace)
}

// resolve reads the secrets into private fields. Its errors name placeholders,
// never what they stand for.
func (s *Stripe) resolve(repl *caddy.Replacer) error {
	var err error
	if s.secretKey, err = repl.ReplaceOrErr(s.SecretKey, true, true); err != nil {
		return fmt.Errorf("secret_key: %w", err)
	}
	if s.secretKey == "" {
		return errors.New("secret_key is missing")
	}
	if len(s.WebhookSecrets) > maxWebhookSecrets {
		return fmt.Errorf("webhook_secret: at most %d at once", maxWebhookSecrets)
	}
	for _, w := range s.WebhookSecrets {
		secret, err := repl.ReplaceOrErr(w, true, true)
		if err != nil {
			return fmt.Errorf("webhook_secret: %w", err)
		}
		if secret == "" {
			return errors.New("webhook_secret is empty")
		}
		s.webhookSecrets = append(s.webhookSecrets, secret)
	}
	if s.grace() < 0 {
		return errors.New("grace is negative")
	}
	if s.apiBase, err = repl.ReplaceOrErr(s.APIBase, true, true); err != nil {
		return fmt.Errorf("api_base: %w", err)
	}
	return checkAPIBase(s.apiBase)
}

const maxWebhookSecrets = 3

func checkAPIBase(base string) error {
	if base == "" {
		return nil
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "":
		return errors.New("api_base: it takes a whole URL")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("api_base: it takes https, unless on loopback")
}

// StripeWebhook takes Stripe's events. It answers 404 until Stripe is configured.
type StripeWebhook struct{}

// CaddyModule returns the Caddy module information.
func (*StripeWebhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.keytoll_stripe_webhook", New: func() caddy.Module { return new(StripeWebhook) }}
}

// ServeHTTP answers 404 until Stripe is configured.
func (*StripeWebhook) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return notConfigured(w, r, "Stripe is not connected.")
}

// Portal is where customers see their usage and keys. It answers 404 until
// Stripe is configured.
type Portal struct{}

// CaddyModule returns the Caddy module information.
func (*Portal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.keytoll_portal", New: func() caddy.Module { return new(Portal) }}
}

// ServeHTTP answers 404 until Stripe is configured.
func (*Portal) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return notConfigured(w, r, "There is no customer portal here.")
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*StripeWebhook)(nil)
	_ caddyhttp.MiddlewareHandler = (*Portal)(nil)
)
