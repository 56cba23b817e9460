// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// Handler is the gate before an API: a request passes with a key whose rates
// and quotas allow it, and what it has used is counted.
type Handler struct {
	// Where the secret is looked for, in this order.
	// Default: the header `X-API-Key`, then `Authorization: Bearer`
	KeyFrom []KeySource `json:"key_from,omitempty"`

	// The routes of the API that have a name, a cost, a scope or rates of
	// their own, or are public. Default: all requests are of the route
	// `default` and cost 1
	Routes []Route `json:"routes,omitempty"`

	// Requests that no route matches are answered with 404 `unknown_route`.
	// Default: false
	RoutesOnly bool `json:"routes_only,omitempty"`

	// The origins whose pages may call the API and read refusals and rate
	// headers: their preflights are answered here. `*` is any. Default: none
	CORS []string `json:"cors,omitempty"`

	// Which header fields tell a caller what is left: `standard` (RateLimit
	// and RateLimit-Policy), `legacy` (X-RateLimit-*), `quota` (X-Quota-*),
	// `openai` (x-ratelimit-*-requests and -tokens), or `off`.
	// Default: `standard`
	Headers []string `json:"headers,omitempty"`

	// `problem`: refusals are answered with problem+json. `handle_errors`:
	// they are handed to Caddy's error routes, with the code in
	// `{keytoll.outcome}` and the words in `{keytoll.detail}`.
	// Default: `problem`
	Errors string `json:"errors,omitempty"`

	// `pass`: a CORS preflight needs no key. `check`: it is a request like
	// any other. Default: `pass`
	Preflight string `json:"preflight,omitempty"`

	// The status of an invalid or expired key: 403 or 401. Default: 403
	InvalidKeyStatus int `json:"invalid_key_status,omitempty"`

	// Every request passes, also without a key: use and would-be refusals are
	// recorded, and nothing is sent to Stripe. Default: false
	Shadow bool `json:"shadow,omitempty"`

	app     *App
	routes  *plan.Routes
	sources []source
	fields  fieldSets
	cors    *cors
	series  *handlerSeries
}

// What errors and preflight may be.
const (
	errorsProblem  = "problem"
	errorsRoutes   = "handle_errors"
	preflightPass  = "pass"
	preflightCheck = "check"
)

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.keytoll", New: func() caddy.Module { return new(Handler) }}
}

// Provision prepares everything that a request reads.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.prepare(); err != nil {
		return err
	}
	app, err := ctx.App(appID) // made with every default where it is not configured
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.app.handlers = append(h.app.handlers, h)
	h.series = h.app.tenancy.engine.metrics.handler(h.routes.All())
	h.app.warnUnfilteredLogs(ctx, h.sources)
	return nil
}

// prepare checks the configuration and compiles it.
func (h *Handler) prepare() error {
	routes, err := compileRoutes(h.Routes)
	if err != nil {
		return err
	}
	if h.routes, err = plan.CompileRoutes(routes, h.RoutesOnly); err != nil {
		return err
	}
	if h.sources, err = compileSources(h.KeyFrom); err != nil {
		return err
	}
	if err := checkHeaderSets(h.Headers); err != nil {
		return err
	}
	h.fields = compileHeaderSets(h.Headers)
	for _, origin := range h.CORS {
		if problem := originProblem(origin); problem != "" {
			return fmt.Errorf("cors '%s': %s", origin, problem)
		}
	}
	h.cors = compileCORS(h.CORS, h.fields)
	if h.Errors != "" && h.Errors != errorsProblem && h.Errors != errorsRoutes {
		return unknownWord("kind of errors", h.Errors, errorsProblem, errorsRoutes)
	}
	if h.Preflight != "" && h.Preflight != preflightPass && h.Preflight != preflightCheck {
		return unknownWord("preflight", h.Preflight, preflightPass, preflightCheck)
	}
	if h.InvalidKeyStatus == 0 {
		h.InvalidKeyStatus = http.StatusForbidden
	}
	if !validInvalidKeyStatus(h.InvalidKeyStatus) {
		return errors.New("invalid_key_status: it is 401 or 403")
	}
	return nil
}

// ServeHTTP admits the request and hands it on, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.cors != nil && h.cors.answers(w, r) {
		return nil
	}
	if h.Preflight != preflightCheck && preflight(r) {
		protect(r)
		return next.ServeHTTP(w, r)
	}
	x := newExchange(h, w, r)
	defer x.end()
	route, reason := h.route(x)
	if reason == "" && route != nil && route.Public {
		hideSecrets(r, h.sources)
		protect(r)
		return h.servePublic(x, route, next)
	}
	if err := x.enter(); err != nil {
		return x.refuse(unavailable(err))
	}
	if reason != "" {
		return x.deny(reason)
	}
	return h.serve(x, next)
}

// serve decides the request and, where it passes, has it answered.
func (h *Handler) serve(x *exchange, next caddyhttp.Handler) error {
	found := find(x.r, h.sources)
	x.call.Secret, x.call.Ambiguous = found.secret, found.ambiguous
	refusal, fault := x.gate.Admit(x.r.Context(), &x.call, &x.ticket)
	x.decided = time.Now()
	h.app.tenancy.engine.metrics.decision.observe(x.decided.Sub(x.call.Now))
	switch {
	case fault != nil:
		return x.refuse(unavailable(fault))
	case refusal != nil:
		return x.refuse(h.problemOf(refusal, x))
	}
	if !h.Shadow || x.ticket.Key != nil {
		found.hide(x.r, h.sources)
	}
	x.body = protect(x.r)
	if x.ticket.Key != nil {
		x.identify()
	}
	return x.forward(next)
}

// servePublic hands on a request that needs no key.
func (h *Handler) servePublic(x *exchange, route *plan.Route, next caddyhttp.Handler) error {
	x.told.route, x.told.outcome = route.Name, gate.Allowed
	h.series.of(route).of(noPlan).count(gate.Allowed)
	if h.cors != nil {
		h.cors.allow(x.w.Header(), x.r)
	}
	return next.ServeHTTP(x.w, x.r)
}

// route finds the request's route; reason says why it is not even looked at.
func (h *Handler) route(x *exchange) (*plan.Route, gate.Reason) {
	r := x.r
	method, url := original(r)
	switch {
	case extendedConnect(r):
		method = http.MethodGet
	case method == http.MethodConnect || method == http.MethodTrace:
		return nil, gate.MethodNotAllowed
	case upgradesTo(r, "h2c"):
		return nil, gate.UpgradeRefused
	}
	route, err := h.routes.Match(method, url.EscapedPath())
	if err != nil {
		return nil, gate.AmbiguousPath
	}
	x.call.Route = route
	return route, ""
}

// original returns method and URL as the client sent them, before any rewrite.
func original(r *http.Request) (method string, url *url.URL) {
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && o.URL != nil {
		return o.Method, o.URL
	}
	return r.Method, r.URL
}

// clientIP returns the address that Caddy takes for the client's; the zero
// Addr where there is none.
func clientIP(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if text == "" || text == "@" { // over a socket
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

// compileRoutes translates the configured routes.
func compileRoutes(routes []Route) ([]plan.Route, error) {
	compiled := make([]plan.Route, 0, len(routes))
	for _, r := range routes {
		one, err := r.route()
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, one)
	}
	return compiled, nil
}

func validInvalidKeyStatus(status int) bool {
	return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, status)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
