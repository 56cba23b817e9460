// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/plugin/id"
)

// A call is one request that has passed the guard.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	now       time.Time // when it came
	requestID string
	route     *mounted
	actor     token     // zero on public routes
	document  *document // what was sent; empty where nothing was
}

// id returns the id that the path names.
func (c *call) id() string { return c.r.PathValue("id") }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.o.Now()
	seen := &observed{ResponseWriter: w}
	c := &call{w: seen, r: r, now: now, requestID: id.New("req", now)}
	defer func() { s.o.Observe(c.pattern(), cmp.Or(seen.status, http.StatusOK)) }()
	protect(w.Header(), c.requestID)
	if err := s.serve(c); err != nil {
		s.refuse(seen, r, c.requestID, err)
	}
}

// pattern returns that of the call's route; "" where it has none.
func (c *call) pattern() string {
	if c.route == nil {
		return ""
	}
	return c.route.pattern
}

// observed remembers the status of an answer; 0 where none was begun.
type observed struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (o *observed) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (o *observed) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(p)
}

// Unwrap lets an http.ResponseController through.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (s *Server) serve(c *call) error {
	if err := s.admit(c); err != nil {
		return err
	}
	a, err := c.route.handle(c.r.Context(), c)
	if err != nil || a == nil {
		return err
	}
	return a.write(c.w)
}

// protect sets what holds for every answer: nothing of it is to be kept,
// sniffed, framed or followed.
func protect(h http.Header, requestID string) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Request-Id", requestID)
}
