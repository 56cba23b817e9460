// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/keytoll/keytoll/plugin/apikey"
)

// KeySource is a place in a request where a secret may be.
type KeySource struct {
	// `header`, `bearer` (Authorization: Bearer) or `query`.
	In string `json:"in"`
	// The name of the header or of the query parameter.
	Name string `json:"name,omitempty"`
}

// Where a secret may be.
const (
	inHeader = "header"
	inBearer = "bearer"
	inQuery  = "query"
)

// reservedHeaders have another meaning than to carry a secret.
var reservedHeaders = []string{
	"Authorization", "Connection", "Content-Length", "Content-Type", "Cookie", "Host", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// check says what is wrong with s.
func (s KeySource) check() error {
	switch s.In {
	case inBearer:
		if s.Name != "" {
			return errors.New("key_from bearer takes no name: '" + s.Name + "' is one word too many")
		}
	case inQuery:
		if s.Name == "" {
			return errors.New("key_from query takes the name of a parameter: key_from query api_key")
		}
	case inHeader:
		switch canonical := textproto.CanonicalMIMEHeaderKey(s.Name); {
		case s.Name == "":
			return errors.New("key_from header takes a name: key_from header X-API-Key")
		case !httpguts.ValidHeaderFieldName(s.Name):
			return errors.New("key_from header '" + s.Name + "': this is not the name of a header")
		case canonical == "Authorization":
			return errors.New("key_from header 'Authorization': write key_from bearer")
		case slices.Contains(reservedHeaders, canonical) || strings.HasPrefix(canonical, identityPrefix):
			return errors.New("key_from header '" + s.Name + "': this header has another meaning")
		}
	default:
		return unknownWord("key_from", s.In, inHeader, inBearer, inQuery)
	}
	return nil
}

func (s KeySource) same(other KeySource) bool {
	return s.In == other.In && (s.Name == other.Name || s.In == inHeader && strings.EqualFold(s.Name, other.Name))
}

// A source is a KeySource as requests need it.
type source struct {
	in   string
	name string // canonical where it is a header
}

// defaultSources are looked at where nothing is configured.
var defaultSources = []source{{inHeader, "X-Api-Key"}, {inBearer, "Authorization"}}

func compileSources(from []KeySource) ([]source, error) {
	if len(from) == 0 {
		return defaultSources, nil
	}
	var out []source
	for _, s := range from {
		if err := s.check(); err != nil {
			return nil, err
		}
		switch s.In {
		case inHeader:
			out = append(out, source{inHeader, textproto.CanonicalMIMEHeaderKey(s.Name)})
		case inBearer:
			out = append(out, source{inBearer, "Authorization"})
		default:
			out = append(out, source{inQuery, s.Name})
		}
	}
	return out, nil
}

// read returns the secret at the source, "" where there is none. repeated:
// there is more than one, equal or not.
func (s source) read(r *http.Request) (secret string, repeated bool) {
	if s.in == inQuery {
		return s.readQuery(r.URL.RawQuery)
	}
	values := r.Header[s.name]
	if len(values) == 0 {
		return "", false
	}
	secret = textproto.TrimString(values[0])
	if s.in == inBearer {
		secret = bearer(secret)
	}
	return secret, len(values) > 1
}

// bearer returns the credentials of an Authorization of the scheme Bearer.
func bearer(value string) string {
	const scheme = "Bearer"
	if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) || value[len(scheme)] != ' ' {
		return ""
	}
	return textproto.TrimString(value[len(scheme):])
}

func (s source) readQuery(raw string) (secret string, repeated bool) {
	seen := false
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		if !s.named(name) {
			continue
		}
		if repeated = seen; repeated {
			return secret, true
		}
		seen = true
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		secret = value
	}
	return secret, false
}

// named reports whether an escaped parameter name is the source's.
func (s source) named(escaped string) bool {
	if escaped == s.name {
		return true
	}
	if !strings.ContainsAny(escaped, "%+") {
		return false
	}
	decoded, err := url.QueryUnescape(escaped)
	return err == nil && decoded == s.name
}

// remove takes the source's credential from the request.
func (s source) remove(r *http.Request) {
	if s.in != inQuery {
		delete(r.Header, s.name)
		return
	}
	if r.URL.RawQuery == "" {
		return
	}
	kept := strings.Split(r.URL.RawQuery, "&")
	kept = slices.DeleteFunc(kept, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return s.named(name)
	})
	r.URL.RawQuery = strings.Join(kept, "&")
	r.RequestURI = r.URL.RequestURI()
}

// A finding is what was found of credentials in a request.
type finding struct {
	secret    string
	from      int  // the source it was found at
	ambiguous bool // which secret is meant cannot be told
}

// find looks at all sources. The first that holds a secret wins. A second
// secret of our form that differs makes it ambiguous, as does any repetition.
func find(r *http.Request, sources []source) finding {
	f := finding{from: -1}
	for i, s := range sources {
		secret, repeated := s.read(r)
		switch {
		case repeated:
			f.ambiguous = true
		case secret == "":
		case f.from < 0:
			f.secret, f.from = secret, i
		case secret != f.secret && ours(secret) && ours(f.secret):
			f.ambiguous = true
		}
	}
	return f
}

// ours reports whether secret has the form of one that was minted here.
func ours(secret string) bool { return apikey.Inspect(secret) != apikey.Foreign }

// hide removes the credential that was used, and any other of our form or
// equal to it, so that the upstream sees no secret.
func (f finding) hide(r *http.Request, sources []source) {
	for i, s := range sources {
		if i == f.from {
			s.remove(r)
			continue
		}
		if secret, _ := s.read(r); secret != "" && (secret == f.secret || ours(secret)) {
			s.remove(r)
		}
	}
}

// hideSecrets removes secrets of our form from a request that needs none.
func hideSecrets(r *http.Request, sources []source) { finding{from: -1}.hide(r, sources) }

// urlNames are the parameters in which callers put a key by mistake.
var urlNames = []string{"api_key", "apikey", "api-key", "x-api-key", "key", "token", "access_token"}

// inURL reports whether a key seems to be in the query of r.
func inURL(r *http.Request) bool {
	for name, values := range r.URL.Query() {
		if slices.Contains(urlNames, strings.ToLower(name)) || slices.ContainsFunc(values, ours) {
			return true
		}
	}
	return false
}
