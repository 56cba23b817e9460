// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/keytoll/keytoll/plugin/store"
)

// body says what a route takes.
type body int

const (
	noBody   body = iota
	inJSON        // one object of up to maxBody bytes, or nothing
	inNDJSON      // a stream that the handler reads itself
)

const maxBody = 64 << 10

// admit lets a call through, or says why not: first what a browser could have
// been tricked into, then who calls, then whether they may, then the body.
func (s *Server) admit(c *call) error {
	if err := s.hosts.check(c.r); err != nil {
		return err
	}
	if err := checkOrigin(c.r); err != nil {
		return err
	}
	found, err := s.find(c.r)
	c.route = found
	if found == nil || found.roles != public {
		actor, denied := s.authenticate(c.r.Context(), c)
		if denied != nil {
			return denied
		}
		c.actor = actor
	}
	if err != nil {
		return err
	}
	if found.roles != public && !found.roles.allow(c.actor.Role) {
		return forbidden("insufficient_role", "A token of the role "+string(c.actor.Role)+" may not make this call.")
	}
	return s.readBody(c)
}

// hosts are the Host names a request may name. A page that rebinds its own name
// to a loopback address (DNS rebinding) still sends that name, and is refused.
type hosts map[string]bool

func newHosts(more []string) hosts {
	h := hosts{"localhost": true}
	for _, name := range more {
		h[strings.ToLower(strings.TrimSuffix(name, "."))] = true
	}
	return h
}

func (h hosts) check(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local != nil && local.Network() == "unix" {
		return nil // no browser gets there; who forwards to it has matched a name
	}
	name, isIP, okay := splitHost(r.Host)
	switch {
	case !okay:
	case !isIP.IsValid():
		if h[name] {
			return nil
		}
	case isIP.IsLoopback() || h[name] || !onLoopback(local):
		return nil // an address cannot be rebound
	}
	return forbidden("host_not_allowed", "This Host name is not accepted here. Name it in the option hosts of admin.")
}

// splitHost returns the name of a Host field in lower case and without port,
// and the address where it is one.
func splitHost(host string) (name string, ip netip.Addr, okay bool) {
	name = host
	if h, port, err := net.SplitHostPort(host); err == nil {
		for _, c := range []byte(port) {
			if c < '0' || c > '9' {
				return "", ip, false
			}
		}
		name = h
	} else if inner, found := strings.CutPrefix(host, "["); found {
		if name, found = strings.CutSuffix(inner, "]"); !found {
			return "", ip, false
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	ip, err := netip.ParseAddr(name)
	if err == nil {
		ip = ip.Unmap()
	}
	return name, ip, name != ""
}

// onLoopback reports whether the connection came in on a loopback address.
// What is not known counts as loopback, where less is accepted.
func onLoopback(local net.Addr) bool {
	if local == nil {
		return true
	}
	at, err := netip.ParseAddrPort(local.String())
	return err != nil || at.Addr().Unmap().IsLoopback()
}

// checkOrigin refuses what a page of another origin has sent. Programs send
// neither field.
func checkOrigin(r *http.Request) error {
	crossSite := forbidden("cross_site", "Pages of other sites may not call this API.")
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return crossSite
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !sameOrigin(origin, r) {
			return crossSite
		}
	}
	return nil
}

func sameOrigin(origin string, r *http.Request) bool {
	at, err := url.Parse(origin)
	if err != nil || at.Host == "" || at.User != nil || at.Path != "" || at.RawQuery != "" || at.ForceQuery || at.Fragment != "" || at.Opaque != "" {
		return false
	}
	return (at.Scheme == "https" || at.Scheme == "http" && r.TLS == nil) && strings.EqualFold(at.Host, r.Host)
}

// find returns the route of a request, or a problem: 404 or 405. Paths that
// are not clean have none.
func (s *Server) find(r *http.Request) (*mounted, error) {
	escaped := r.URL.EscapedPath()
	if escaped == "" || escaped[0] != '/' || path.Clean(escaped) != escaped {
		return nil, noSuchCall()
	}
	h, pattern := s.mux.Handler(r)
	if found, is := h.(*mounted); is && pattern != "" {
		if found.segment > 0 {
			ref, err := url.PathUnescape(strings.Split(escaped, "/")[found.segment])
			if err != nil || ref == "" {
				return nil, noSuchCall()
			}
			r.SetPathValue("id", ref)
		}
		return found, nil
	}
	answer := headerOnly{}
	h.ServeHTTP(answer, r)
	if allow := answer.Header().Get("Allow"); allow != "" {
		return nil, methodNotAllowed(allow)
	}
	return nil, noSuchCall()
}

// headerOnly keeps the header of what the mux says where it has no route.
type headerOnly http.Header

// Header implements http.ResponseWriter.
func (h headerOnly) Header() http.Header { return http.Header(h) }

// Write implements http.ResponseWriter.
func (h headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (h headerOnly) WriteHeader(int) {}

// authenticate returns who calls.
func (s *Server) authenticate(ctx context.Context, c *call) (token, error) {
	shown := c.r.Header.Values("Authorization")
	if len(shown) == 0 {
		return token{}, unauthorized("Send the admin token in the header: Authorization: Bearer TOKEN.")
	}
	scheme, secret, _ := strings.Cut(shown[0], " ")
	if len(shown) == 1 && strings.EqualFold(scheme, "Bearer") {
		t, err := s.holder(ctx, strings.TrimSpace(secret), c.now)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return t, err
		}
	}
	if wait := s.attempts.failed(remote(c.r), c.now); wait > 0 {
		return token{}, tooManyAttempts(wait)
	}
	return token{}, unauthorized("This admin token is not known, or has expired.")
}

// remote returns the address a request came from, without port.
func remote(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "local"
	}
	return at.Addr().Unmap().WithZone("").String()
}

// readBody reads what the route takes.
func (s *Server) readBody(c *call) error {
	c.document = emptyDocument()
	want := "application/json"
	switch c.route.body {
	case noBody:
		return nil
	case inNDJSON:
		want = "application/x-ndjson"
	}
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	suits := err == nil && (kind == "application/json" ||
		kind == "application/merge-patch+json" && c.r.Method == http.MethodPatch ||
		kind == "application/x-ndjson" && c.route.body == inNDJSON)
	if c.route.body == inNDJSON {
		if !suits {
			return wrongContentType(want)
		}
		return nil
	}
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return bodyTooLarge(maxBody)
	}
	if err != nil {
		return wrongBody("The body ended too early.")
	}
	if len(raw) == 0 {
		return nil
	}
	if !suits {
		return wrongContentType(want)
	}
	c.document, err = parseDocument(raw)
	return err
}
