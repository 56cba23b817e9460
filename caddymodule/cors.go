// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/http"
	"slices"
	"strings"
)

// cors lets pages of some origins call the API.
type cors struct {
	any     bool
	origins []string
	expose  string // what pages may read of an answer's header
}

// compileCORS returns nil where no origin is allowed.
func compileCORS(origins []string, fields fieldSets) *cors {
	if len(origins) == 0 {
		return nil
	}
	expose := append(fields.names(), "Retry-After", "X-Should-Retry", "WWW-Authenticate")
	return &cors{any: slices.Contains(origins, "*"), origins: origins, expose: strings.Join(expose, ", ")}
}

// preflight reports whether r is a browser's question whether a page may call.
// Source: https://fetch.spec.whatwg.org/#cors-preflight-request
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// answers answers a preflight from an allowed origin, and reports whether it did.
func (c *cors) answers(w http.ResponseWriter, r *http.Request) bool {
	if !preflight(r) {
		return false
	}
	origin := c.allowed(r)
	if origin == "" {
		return false
	}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	if names := r.Header.Values("Access-Control-Request-Headers"); len(names) > 0 {
		header.Set("Access-Control-Allow-Headers", strings.Join(names, ", "))
	}
	header.Set("Access-Control-Max-Age", "600")
	header.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// allow lets the page that sent r read the answer and its rate headers.
func (c *cors) allow(header http.Header, r *http.Request) {
	if !c.any {
		addVary(header)
	}
	origin := c.allowed(r)
	if origin == "" {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if theirs := header.Values("Access-Control-Expose-Headers"); len(theirs) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(theirs, ", ")+", "+c.expose)
		return
	}
	header.Set("Access-Control-Expose-Headers", c.expose)
}

// allowed returns what to say to the origin of r; "" where it is not allowed.
func (c *cors) allowed(r *http.Request) string {
	origins := r.Header["Origin"]
	switch {
	case len(origins) != 1:
		return ""
	case c.any:
		return "*"
	case slices.Contains(c.origins, origins[0]):
		return origins[0]
	}
	return ""
}

// addVary tells caches that the answer differs by origin.
func addVary(header http.Header) {
	for _, value := range header["Vary"] {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "Origin") {
				return
			}
		}
	}
	header.Add("Vary", "Origin")
}
