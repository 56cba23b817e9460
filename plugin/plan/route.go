// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// A Route is a named method and path pattern of the sold API.
type Route struct {
	Name     string
	Methods  []string // empty: all; GET covers HEAD
	Pattern  string
	Unit     string // default Requests
	Cost     Cost
	Scope    string        // that a key must hold; "" for none
	Public   bool          // no key, no count
	Rates    []Rate        // of the route, beside the plan's
	ChargeOn []StatusRange // empty: all but 408, 429 and 5xx
}

// Cost says how many units of the route's unit a call costs.
type Cost struct {
	Units  int64  // fixed, or held at admission until the answer tells; default 1
	Header string // of the upstream's answer that carries the units
	JSON   string // path in the answer's body that carries them
}

// StatusRange is an inclusive range of status codes.
type StatusRange struct{ From, To int }

// DefaultRoute is what a request that no route matches belongs to.
const DefaultRoute = "default"

// ErrAmbiguousPath says that two readings of the path lead to different routes.
var ErrAmbiguousPath = errors.New("path can be read in two ways")

// RouteError says what is wrong with a route.
type RouteError struct{ Route, Word, Problem string }

func (e *RouteError) Error() string { return "route " + e.Route + ": '" + e.Word + "': " + e.Problem }

// FromAnswer reports whether the cost is known only from the answer.
func (r *Route) FromAnswer() bool { return r.Cost.Header != "" || r.Cost.JSON != "" }

// Charges reports whether an answer with that status is charged.
func (r *Route) Charges(status int) bool {
	if len(r.ChargeOn) == 0 {
		return status != 408 && status != 429 && status < 500
	}
	return slices.ContainsFunc(r.ChargeOn, func(s StatusRange) bool {
		return s.From <= status && status <= s.To
	})
}

// Routes finds the route of a request. It never changes, so it may be used
// concurrently.
type Routes struct {
	all      []*Route // as declared, the default one last
	fallback *Route   // nil where only routes are served
	byMethod map[string][]candidate
	anyOther []candidate // for methods that no route names
}

// candidate is a route that takes a method.
type candidate struct {
	pattern
	route  *Route
	weight int // exactly the method, a method that covers it, any method
}

// The weights of candidates, the best first.
const (
	namesMethod = iota
	coversMethod
	takesAny
)

// CompileRoutes checks the routes and prepares them for Match. With only,
// requests that no route matches have none; else they have DefaultRoute.
// The routes are copied; an empty Unit becomes Requests and a cost of 0 becomes 1.
// Its errors are *RouteError.
func CompileRoutes(routes []Route, only bool) (*Routes, error) {
	compiled := &Routes{byMethod: map[string][]candidate{}}
	for i := range routes {
		route := routes[i]
		if err := checkRoute(&route); err != nil {
			return nil, err
		}
		for _, before := range compiled.all {
			if err := checkPair(before, &route); err != nil {
				return nil, err
			}
		}
		route.Unit = cmp.Or(route.Unit, Requests)
		route.Cost.Units = cmp.Or(route.Cost.Units, 1)
		compiled.all = append(compiled.all, &route)
		for _, method := range route.Methods {
			compiled.byMethod[method] = nil
		}
	}
	if _, ok := compiled.byMethod["GET"]; ok {
		compiled.byMethod["HEAD"] = nil
	}
	for method := range compiled.byMethod {
		compiled.byMethod[method] = compiled.candidates(method)
	}
	compiled.anyOther = compiled.candidates("")
	if !only {
		compiled.fallback = &Route{Name: DefaultRoute, Unit: Requests, Cost: Cost{Units: 1}}
		compiled.all = append(compiled.all, compiled.fallback)
	}
	return compiled, nil
}

// candidates returns the routes that take method, in the order they are tried:
// most literal characters, then who names the method, then as declared.
func (r *Routes) candidates(method string) []candidate {
	var found []candidate
	for _, route := range r.all {
		c := candidate{pattern: compilePattern(route.Pattern), route: route}
		switch {
		case len(route.Methods) == 0:
			c.weight = takesAny
		case slices.Contains(route.Methods, method):
			c.weight = namesMethod
		case method == "HEAD" && slices.Contains(route.Methods, "GET"):
			c.weight = coversMethod
		default:
			continue
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.literal, a.literal), cmp.Compare(a.weight, b.weight))
	})
	return found
}

// All returns the routes, the default one (if any) last.
func (r *Routes) All() []*Route { return slices.Clone(r.all) }

// Match returns the route of a request by its method and its path as the
// client escaped it; nil where there is none. ErrAmbiguousPath where another
// reading of the path (an escaped slash or dot, an empty segment, …) would
// find another route. It allocates nothing for a path that needs no cleaning.
func (r *Routes) Match(method, escapedPath string) (*Route, error) {
	candidates, named := r.byMethod[method]
	if !named {
		candidates = r.anyOther
	}
	switch {
	case len(candidates) == 0 || escapedPath == "*":
		return r.fallback, nil
	case escapedPath == "":
		escapedPath = "/" // as in http://host: RFC 9110, 4.2.3
	case plain(escapedPath):
		return r.find(candidates, escapedPath), nil
	}
	var route *Route
	first := true
	for reading := range readings(escapedPath) {
		found := r.find(candidates, reading)
		if !first && found != route {
			return nil, ErrAmbiguousPath
		}
		route, first = found, false
	}
	if first {
		return nil, ErrAmbiguousPath
	}
	return route, nil
}

func (r *Routes) find(candidates []candidate, path string) *Route {
	for i := range candidates {
		if candidates[i].matches(path) {
			return candidates[i].route
		}
	}
	return r.fallback
}

// pattern is a compiled path pattern: the literal text before, between and
// after its wildcards.
type pattern struct {
	literals []string
	rest     bool // ends with a wildcard that takes the rest
	literal  int  // characters that are no wildcard
}

func compilePattern(text string) pattern {
	text = trimSlash(text)
	p := pattern{literal: len(text)}
	text, p.rest = strings.CutSuffix(text, "/*")
	if p.rest {
		text += "/"
	}
	segments := strings.SplitAfter(text, "/*")
	for i, s := range segments {
		if i < len(segments)-1 {
			s = strings.TrimSuffix(s, "*")
		}
		p.literals = append(p.literals, s)
	}
	p.literal -= len(segments) - 1
	if p.rest {
		p.literal--
	}
	return p
}

func (p *pattern) matches(path string) bool {
	last := len(p.literals) - 1
	for _, literal := range p.literals[:last] {
		if !strings.HasPrefix(path, literal) {
			return false
		}
		path = path[len(literal):]
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if end == 0 {
			return false // an empty segment is none
		}
		path = path[end:]
	}
	if p.rest {
		return strings.HasPrefix(path, p.literals[last])
	}
	return trimSlash(path) == p.literals[last]
}

// trimSlash removes one slash from the end, of patterns and of paths: few
// servers tell /x/ from /x, so it must not buy another price.
func trimSlash(s string) string {
	if n := len(s) - 1; n > 0 && s[n] == '/' {
		return s[:n]
	}
	return s
}
