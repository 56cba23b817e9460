// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/plan"
)

// An exchange is one request and its answer on their way through the gate. It
// is used by the goroutine that serves the request, and again by a later one.
type exchange struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	tenancy *tenancy // that was entered; nil before
	gate    *gate.Gate
	call    gate.Call
	ticket  gate.Ticket
	decided time.Time
	told    *told
	windows []gate.Window
	text    []byte
	body    *requestBody // nil where the client sends none
	rec     recorder
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.rec.x = x
	x.call.RequestID = x.requestID
	return x
}}

// newExchange begins an exchange. The caller ends it.
func newExchange(h *Handler, w http.ResponseWriter, r *http.Request) *exchange {
	x := exchanges.Get().(*exchange)
	x.h, x.w, x.r, x.told = h, w, r, new(told)
	method, url := original(r)
	x.call = gate.Call{
		ClientIP: clientIP(r), Now: time.Now(), Shadow: h.Shadow,
		Method: method, Path: url.Path, RequestID: x.call.RequestID,
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(x.told.placeholder)
	}
	return x
}

// enter makes sure that the engine stays open, and waits until it is.
func (x *exchange) enter() (err error) {
	x.tenancy, x.gate, err = x.h.app.tenancy.enter(x.r.Context())
	return err
}

// end gives back what the exchange holds.
func (x *exchange) end() {
	if x.tenancy != nil {
		x.tenancy.leave()
	}
	if !x.rec.reset() {
		return // a timer still looks at it
	}
	x.h, x.w, x.r, x.tenancy, x.gate, x.told, x.body = nil, nil, nil, nil, nil, nil, nil
	x.ticket = gate.Ticket{}
	x.call = gate.Call{RequestID: x.call.RequestID}
	x.windows = x.windows[:0]
	exchanges.Put(x)
}

// requestID returns the identifier that refusals show; the access log has it
// too. Requests that pass have none, since making one costs.
func (x *exchange) requestID() string {
	if x.told.requestID == "" {
		x.told.requestID = id.New("req", x.call.Now)
		if extra, ok := x.r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
			extra.Set(zap.String("request_id", x.told.requestID))
		}
	}
	return x.told.requestID
}

// identify tells the upstream, other directives and logs whose key it is.
func (x *exchange) identify() {
	t, said := &x.ticket, x.told
	said.identity = [4]string{t.Key.ID, t.Key.Customer, "", string(t.Key.Mode)}
	header, values := x.r.Header, &said.identity
	header[keyIDHeader] = values[0:1:1]
	header[customerIDHeader] = values[1:2:2]
	header[modeHeader] = values[3:4:4]
	if t.Plan != nil {
		values[2] = t.Plan.ID
		header[planHeader] = values[2:3:3]
	}
}

// forward has the admitted request answered, and settles it whatever happens.
func (x *exchange) forward(next caddyhttp.Handler) error {
	route := x.ticket.Route
	if route == nil { // enforcement is off
		route = unnamed
	}
	x.told.route, x.told.cost = route.Name, x.ticket.Cost
	if route.Cost.JSON != "" {
		delete(x.r.Header, "Accept-Encoding") // so that the answer can be read
	}
	x.rec.begin(x.w, route)
	defer x.rec.abandon()
	err := next.ServeHTTP(&x.rec, x.r)
	x.rec.answered(err)
	return err
}

// unnamed stands for the route of what no route matches.
var unnamed = new(plan.Route)

// settle tells the gate what became of the request, and counts it.
func (x *exchange) settle(a gate.Answer) {
	x.ticket.Settle(a)
	if a.Pending {
		return
	}
	outcome := x.ticket.Outcome()
	x.told.outcome = outcome
	x.told.cost = x.ticket.Usage()
	s := x.h.series.of(x.ticket.Route).of(x.planLabel())
	s.count(outcome)
	x.countCustomer(false)
	if x.ticket.Key != nil && x.ticket.Key.Mode == apikey.Live {
		s.use(x.told.cost)
	}
}

// countCustomer counts the request for its customer, where that was asked for.
func (x *exchange) countCustomer(denied bool) {
	if x.ticket.Customer != nil {
		x.h.app.tenancy.engine.metrics.called(x.ticket.Customer.ID, denied)
	}
}

func (x *exchange) planLabel() string {
	if x.ticket.Plan == nil {
		return noPlan
	}
	return x.ticket.Plan.ID
}

// tell puts what the caller is told about its limits into the answer's header.
func (x *exchange) tell(header http.Header) {
	x.h.fields.write(header, x)
	if x.h.cors != nil {
		x.h.cors.allow(header, x.r)
	}
}

// deny refuses a request that is not even looked at.
func (x *exchange) deny(reason gate.Reason) error {
	return x.refuse(x.h.problemOf(x.gate.Deny(&x.call, reason), x))
}

// refuse answers with a problem, or hands it to Caddy's error routes.
func (x *exchange) refuse(p problem) error {
	x.told.outcome, x.told.detail = string(p.code), p.detail
	if x.call.Route != nil {
		x.told.route = x.call.Route.Name
	}
	x.h.series.of(x.call.Route).of(x.planLabel()).count(string(p.code))
	x.countCustomer(true)
	header := x.w.Header()
	if p.limited {
		x.h.fields.write(header, x)
	}
	if x.h.cors != nil {
		x.h.cors.allow(header, x.r)
	}
	p.setHeader(header)
	if p.fault != nil && x.r.Context().Err() == nil {
		x.h.app.logger.Error("request could not be decided", "error", p.fault, "request_id", x.requestID())
	}
	if x.h.Errors == errorsRoutes {
		_ = x.requestID() // for its placeholder
		return caddyhttp.Error(p.status, errors.New(p.detail))
	}
	return p.write(x.w, x.requestID())
}
