// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// problemType begins the type of every problem; its code follows.
const problemType = "urn:keytoll:problem:"

// A problem is an answer that says what is wrong with a call (RFC 9457).
type problem struct {
	status int
	code   string
	title  string
	detail string
	field  string        // path of the wrong field, or name of the parameter
	retry  time.Duration // 0: Retry-After is not sent
	allow  string        // of 405
	cause  error         // for the log, never shown
}

func (p *problem) Error() string {
	text := p.code + ": " + p.detail
	if p.field != "" {
		text = p.field + ": " + text
	}
	if p.cause != nil {
		text += ": " + p.cause.Error()
	}
	return text
}

func (p *problem) Unwrap() error { return p.cause }

// problemBody is how a problem looks on the wire.
type problemBody struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Field     string `json:"field,omitempty"`
	RequestID string `json:"request_id"`
}

// wrongField: 400, naming the field by its path.
func wrongField(field, detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_field", title: "Invalid field", field: field, detail: detail}
}

// wrongBody: 400, the body as a whole cannot be read.
func wrongBody(detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_body", title: "Invalid body", detail: detail}
}

// wrongParameter: 400, naming a parameter of the query or a header.
func wrongParameter(name, detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_parameter", title: "Invalid parameter", field: name, detail: detail}
}

func planRequired() *problem {
	return &problem{
		status: http.StatusBadRequest, code: "plan_required", title: "Plan required", field: "plan",
		detail: "The customer has no plan and there is no default plan. Name a plan.",
	}
}

func unauthorized(detail string) *problem {
	return &problem{status: http.StatusUnauthorized, code: "unauthorized", title: "Admin token required", detail: detail}
}

func tooManyAttempts(retry time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "too_many_attempts", title: "Too many attempts", retry: retry,
		detail: "Too many wrong admin tokens came from this address.",
	}
}

func forbidden(code, detail string) *problem {
	return &problem{status: http.StatusForbidden, code: code, title: "Forbidden", detail: detail}
}

func notFound(what, ref string) *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", title: "Not found", detail: fmt.Sprintf("There is no %s %s.", what, quoted(ref))}
}

func noSuchCall() *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", title: "Not found", detail: "There is no such call. /openapi.json lists all of them."}
}

func methodNotAllowed(allow string) *problem {
	return &problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed", title: "Method not allowed", allow: allow, detail: "This path takes " + allow + "."}
}

// conflict: 409, the state of what is there forbids it.
func conflict(code, detail string) *problem {
	return &problem{status: http.StatusConflict, code: code, title: "Conflict", detail: detail}
}

func duplicate(field, id string) *problem {
	p := conflict("duplicate", field+" is taken by "+id+".")
	p.field = field
	return p
}

// gone: 410, the answer held personal data that has been erased since.
func gone() *problem {
	return &problem{status: http.StatusGone, code: "erased", title: "Erased", detail: "The answer to this call was erased together with its customer."}
}

func bodyTooLarge(limit int64) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: "body_too_large", title: "Body too large", detail: fmt.Sprintf("A body may have up to %d bytes.", limit)}
}

func wrongContentType(want string) *problem {
	return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", title: "Unsupported media type", detail: "Send the body as Content-Type: " + want + "."}
}

func idempotencyMismatch() *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "idempotency_mismatch", title: "Idempotency key used before", field: "Idempotency-Key",
		detail: "This Idempotency-Key came with another call or body before.",
	}
}

// unavailable: 503, nothing was changed or it is not known whether it was.
func unavailable(cause error) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: "unavailable", title: "Unavailable", retry: time.Second, cause: cause,
		detail: "The call could not be finished. The log says why, under this request_id.",
	}
}

// problemOf translates what a handler has returned.
func problemOf(err error) *problem {
	var p *problem
	var taken *store.DuplicateError
	var field *plan.FieldError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &taken):
		return duplicate(taken.Field, taken.ID)
	case errors.As(err, &field):
		return wrongField(field.Field, sentence(field.Problem))
	case errors.Is(err, store.ErrTooManyKeys):
		return conflict("max_keys", "The customer has as many live keys as its plan allows.")
	case errors.Is(err, store.ErrConflict):
		return conflict("changed", "It was changed by somebody else at the same time. Try again.")
	default:
		return unavailable(err)
	}
}

// refuse writes the problem that err stands for. What the caller cannot have
// caused is logged, once.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	p := problemOf(err)
	if p.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.o.Logger.Error("admin call failed", slog.String("request_id", requestID),
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	h := w.Header()
	switch p.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="keytoll admin"`)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", p.allow)
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retry+time.Second-1)/time.Second), 10))
	}
	body, _ := json.Marshal(problemBody{ // strings and integers: it cannot fail
		Type: problemType + p.code, Title: p.title, Status: p.status, Detail: p.detail,
		Code: p.code, Field: p.field, RequestID: requestID,
	})
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.status)
	_, _ = w.Write(append(body, '\n'))
}

// An answer is what a call that succeeded gives back.
type answer struct {
	status int
	body   any // as JSON
}

func ok(body any) *answer      { return &answer{http.StatusOK, body} }
func created(body any) *answer { return &answer{http.StatusCreated, body} }

// write writes a as JSON.
func (a *answer) write(w http.ResponseWriter) error {
	body, err := json.Marshal(a.body)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(a.status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// quoted shows a reference that a caller sent, cut where it is long.
func quoted(s string) string {
	const longest = 100
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strconv.Quote(s)
}

// sentence makes a sentence of a part of one.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		s = string(c-'a'+'A') + s[1:]
	}
	if s[len(s)-1] != '.' {
		s += "."
	}
	return s
}
