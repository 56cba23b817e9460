// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// identityPrefix begins the headers that only the gate may set.
const identityPrefix = "Keytoll-"

// The headers by which the upstream knows who calls.
const (
	keyIDHeader      = "Keytoll-Key-Id"
	customerIDHeader = "Keytoll-Customer-Id"
	planHeader       = "Keytoll-Plan"
	modeHeader       = "Keytoll-Mode"
)

// protect removes from a request what would pass for the gate's own words:
// Keytoll-* headers, declared and actual trailers of that name, and mentions
// of them in Connection, by which a proxy would strip what the gate sets. It
// returns the body that it guards from now on; nil where there is none.
func protect(r *http.Request) *requestBody {
	for name := range r.Header {
		if isIdentity(name) {
			delete(r.Header, name)
		}
	}
	if values, ok := r.Header["Connection"]; ok && slices.ContainsFunc(values, mentionsIdentity) {
		strikeIdentity(r.Header, values)
	}
	for name := range r.Trailer {
		if isIdentity(name) {
			delete(r.Trailer, name)
		}
	}
	return guardBody(r)
}

// isIdentity reports whether a header is one that only the gate may set.
func isIdentity(name string) bool {
	return len(name) >= len(identityPrefix) && strings.EqualFold(name[:len(identityPrefix)], identityPrefix)
}

func mentionsIdentity(value string) bool {
	return strings.Contains(strings.ToLower(value), strings.ToLower(identityPrefix))
}

// strikeIdentity leaves in Connection only the tokens that name no identity header.
func strikeIdentity(header http.Header, values []string) {
	var kept []string
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if token = textproto.TrimString(token); token != "" && !isIdentity(token) {
				kept = append(kept, token)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, "Connection")
		return
	}
	header["Connection"] = []string{strings.Join(kept, ", ")}
}

// upgradesTo reports whether r asks to switch to protocol.
func upgradesTo(r *http.Request, protocol string) bool {
	values, ok := r.Header["Upgrade"]
	return ok && httpguts.HeaderValuesContainsToken(values, protocol)
}

// extendedConnect reports whether r opens a WebSocket over HTTP/2 or HTTP/3.
// Source: RFC 8441, RFC 9220.
func extendedConnect(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	return r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" || r.ProtoMajor == 3 && r.Proto == "websocket"
}
