// SPDX-License-Identifier: Apache-2.0

package admin

import (
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
	c := &call{w: w, r: r, now: now, requestID: id.New("req", now)}
	protect(w.Header(), c.requestID)
	if err := s.serve(c); err != nil {
		s.refuse(w, r, c.requestID, err)
	}
}

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
