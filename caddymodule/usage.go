// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keytoll/keytoll/plugin/gate"
)

// UsageHandler tells a caller what its own key has used: the JSON that
// `GET /v1/keys/{id}/usage` of the admin API gives. Asking is not counted, and
// takes nothing of a rate.
type UsageHandler struct {
	// Where the secret is looked for, in this order.
	// Default: the header `X-API-Key`, then `Authorization: Bearer`
	KeyFrom []KeySource `json:"key_from,omitempty"`

	// The origins whose pages may ask. Default: none
	CORS []string `json:"cors,omitempty"`

	// The status of an invalid or expired key: 403 or 401. Default: 403
	InvalidKeyStatus int `json:"invalid_key_status,omitempty"`

	handler Handler
}

// CaddyModule returns the Caddy module information.
func (*UsageHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.keytoll_usage", New: func() caddy.Module { return new(UsageHandler) }}
}

// Provision prepares everything that a request reads.
func (u *UsageHandler) Provision(ctx caddy.Context) error {
	u.handler = Handler{KeyFrom: u.KeyFrom, CORS: u.CORS, InvalidKeyStatus: u.InvalidKeyStatus}
	if err := u.handler.prepare(); err != nil {
		return err
	}
	app, err := ctx.App(appID)
	if err != nil {
		return err
	}
	u.handler.app = app.(*App)
	u.handler.series = u.handler.app.tenancy.engine.metrics.handler(nil)
	u.handler.app.warnUnfilteredLogs(ctx, u.handler.sources)
	return nil
}

// UnmarshalCaddyfile reads the directive. Syntax:
//
//	keytoll_usage [<matcher>] {
//		key_from header <name> | bearer | query <name>
//		cors <origin...>
//		invalid_key_status 401|403
//	}
func (u *UsageHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if _, err := words(d, 0, 0, "keytoll_usage { … }"); err != nil {
		return err
	}
	var h Handler
	err := options{
		"key_from":           {parse: h.parseKeyFrom, many: true},
		"cors":               list(&h.CORS, "origin", "cors https://app.example.com", originProblem),
		"invalid_key_status": {parse: h.parseInvalidKeyStatus},
	}.parse(d, "keytoll_usage")
	u.KeyFrom, u.CORS, u.InvalidKeyStatus = h.KeyFrom, h.CORS, h.InvalidKeyStatus
	return err
}

// ServeHTTP answers with the usage of the caller's key.
func (u *UsageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h := &u.handler
	if h.cors != nil && h.cors.answers(w, r) {
		return nil
	}
	x := newExchange(h, w, r)
	defer x.end()
	if err := x.enter(); err != nil {
		return x.refuse(unavailable(err))
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		p := h.problemOf(x.gate.Deny(&x.call, gate.MethodNotAllowed), x)
		p.allow = "GET, HEAD"
		return x.refuse(p)
	}
	found := find(r, h.sources)
	x.call.Secret, x.call.Ambiguous = found.secret, found.ambiguous
	refusal, fault := x.gate.Identify(r.Context(), &x.call, &x.ticket)
	switch {
	case fault != nil:
		return x.refuse(unavailable(fault))
	case refusal != nil:
		return x.refuse(h.problemOf(refusal, x))
	}
	report, err := x.gate.KeyUsage(r.Context(), x.ticket.Key.ID)
	if err != nil {
		return x.refuse(unavailable(err))
	}
	x.identify()
	return writeReport(w, report, h.cors, r)
}

// writeReport writes a usage report as JSON.
func writeReport(w http.ResponseWriter, report *gate.UsageReport, cors *cors, r *http.Request) error {
	text, err := json.Marshal(report)
	if err != nil {
		return errors.Join(errors.New("writing the usage"), err)
	}
	header := w.Header()
	if cors != nil {
		cors.allow(header, r)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(text)+1))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(text, '\n'))
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*UsageHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*UsageHandler)(nil)
	_ caddyfile.Unmarshaler       = (*UsageHandler)(nil)
)
