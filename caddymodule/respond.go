// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
)

// The types of problems: one for what is over a limit, registered with IANA by
// draft-ietf-httpapi-ratelimit-headers, and one for each other code.
const (
	limitType   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	problemType = "urn:keytoll:problem:"
)

// A problem is a refusal, or a fault, as a caller sees it.
type problem struct {
	status     int
	code       gate.Reason
	title      string
	detail     string
	kind       string // of the OpenAI style error
	limited    bool   // the fields of the limits are told
	window     *gate.Window
	limit      int64 // where there is no window
	retry      time.Duration
	final      bool   // trying again does not help before the period's end
	challenge  string // WWW-Authenticate
	allow      string // Allow
	upgradeURL string
	fault      error
}

// problemBody is the JSON of a problem: RFC 9457, the members of the rate limit
// draft, and an error object as OpenAI's libraries read it.
type problemBody struct {
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	Detail     string      `json:"detail"`
	Code       gate.Reason `json:"code"`
	Violated   []string    `json:"violated-policies,omitempty"`
	Limit      *int64      `json:"limit,omitempty"`
	Used       *int64      `json:"used,omitempty"`
	Reset      *int64      `json:"reset,omitempty"` // seconds
	UpgradeURL string      `json:"upgrade_url,omitempty"`
	RequestID  string      `json:"request_id"`
	Error      errorBody   `json:"error"`
}

type errorBody struct {
	Message string      `json:"message"`
	Type    string      `json:"type"`
	Code    gate.Reason `json:"code"`
}

// kinds of the OpenAI style error.
const (
	badRequest     = "invalid_request_error"
	authentication = "authentication_error"
	permission     = "permission_error"
	rateLimit      = "rate_limit_error"
	noQuota        = "insufficient_quota"
	apiError       = "api_error"
)

// statuses says status, title and kind of every reason.
var statuses = map[gate.Reason]problem{
	gate.MissingKey:           {status: http.StatusUnauthorized, title: "API key required", kind: authentication, challenge: `Bearer realm="keytoll"`},
	gate.InvalidKey:           {title: "Invalid API key", kind: authentication},
	gate.ExpiredKey:           {title: "Expired API key", kind: authentication},
	gate.AmbiguousKey:         {status: http.StatusBadRequest, title: "More than one API key", kind: badRequest},
	gate.TooManyAttempts:      {status: http.StatusTooManyRequests, title: "Too many attempts", kind: rateLimit},
	gate.InsufficientScope:    {status: http.StatusForbidden, title: "Scope missing", kind: permission},
	gate.RouteNotInPlan:       {status: http.StatusForbidden, title: "Not in the plan", kind: permission},
	gate.IPNotAllowed:         {status: http.StatusForbidden, title: "Address not allowed", kind: permission},
	gate.PaymentRequired:      {status: http.StatusPaymentRequired, title: "Payment required", kind: permission},
	gate.RateLimited:          {status: http.StatusTooManyRequests, title: "Too many requests", kind: rateLimit, limited: true},
	gate.ConcurrencyLimited:   {status: http.StatusTooManyRequests, title: "Too many requests at once", kind: rateLimit, limited: true},
	gate.QuotaExceeded:        {status: http.StatusTooManyRequests, title: "Quota used up", kind: noQuota, limited: true, final: true},
	gate.OverageLimitExceeded: {status: http.StatusTooManyRequests, title: "Overage used up", kind: noQuota, limited: true, final: true},
	gate.UnknownRoute:         {status: http.StatusNotFound, title: "Not found", kind: badRequest},
	gate.AmbiguousPath:        {status: http.StatusBadRequest, title: "Ambiguous path", kind: badRequest},
	gate.UpgradeRefused:       {status: http.StatusBadRequest, title: "Upgrade refused", kind: badRequest},
	gate.MethodNotAllowed:     {status: http.StatusMethodNotAllowed, title: "Method not allowed", kind: badRequest, allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	gate.Unavailable:          {status: http.StatusServiceUnavailable, title: "Unavailable", kind: apiError, retry: time.Second},
}

// problemOf returns what the caller of x sees of a refusal.
func (h *Handler) problemOf(r *gate.Refusal, x *exchange) problem {
	p := statuses[r.Reason]
	p.code, p.window, p.limit, p.upgradeURL = r.Reason, r.Violated, r.Limit, r.UpgradeURL
	p.retry = max(p.retry, r.RetryAfter)
	if p.status == 0 { // of a key that does not open
		p.status = h.InvalidKeyStatus
		if p.status == http.StatusUnauthorized {
			p.challenge = `Bearer realm="keytoll", error="invalid_token"`
		}
	}
	if r.Reason == gate.ConcurrencyLimited {
		p.retry = time.Second
	}
	p.detail = detailOf(r, x)
	return p
}

// unavailable returns what a caller sees of a fault.
func unavailable(fault error) problem {
	p := statuses[gate.Unavailable]
	p.code, p.fault = gate.Unavailable, fault
	p.detail = "The request cannot be checked right now. Try again in 1 s."
	return p
}

// setHeader puts into an answer's header what its body says too.
func (p *problem) setHeader(header http.Header) {
	if p.challenge != "" {
		header.Set("WWW-Authenticate", p.challenge)
	}
	if p.allow != "" {
		header.Set("Allow", p.allow)
	}
	if p.retry > 0 {
		header.Set("Retry-After", strconv.FormatInt(seconds(p.retry), 10))
	}
	if p.final {
		header.Set("X-Should-Retry", "false")
	}
}

// write writes the problem; net/http sends a HEAD no body.
func (p *problem) write(w http.ResponseWriter, requestID string) error {
	body := problemBody{
		Type: problemType + string(p.code), Title: p.title, Status: p.status, Detail: p.detail, Code: p.code,
		UpgradeURL: p.upgradeURL, RequestID: requestID,
		Error: errorBody{Message: p.detail, Type: p.kind, Code: p.code},
	}
	if p.limited {
		// All of a concurrency is in use, and may not be at the next try.
		name, limit, used, reset := "concurrency", p.limit, p.limit, seconds(p.retry)
		if w := p.window; w != nil {
			name, limit, used, reset = w.Name, w.Limit, w.Used, seconds(w.Reset)
		}
		body.Type, body.Violated, body.Limit, body.Used, body.Reset = limitType, []string{name}, &limit, &used, &reset
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(p.status)
	_, _ = w.Write(text) // who hangs up, or asked by HEAD, gets none
	return nil
}

// notConfigured answers for a handler that has nothing to do yet.
func notConfigured(w http.ResponseWriter, _ *http.Request, detail string) error {
	p := problem{status: http.StatusNotFound, code: "not_configured", title: "Not found", detail: detail, kind: badRequest}
	return p.write(w, id.New("req", time.Now()))
}
