// SPDX-License-Identifier: Apache-2.0

package plan

import "errors"

// A Route is a named method and path pattern of the sold API.
type Route struct {
	Name     string
	Methods  []string // empty: all
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
	Units  int64  // fixed, or held at admission until the answer tells
	Header string // of the upstream's answer that carries the units
	JSON   string // path in the answer's body that carries them
}

// StatusRange is an inclusive range of status codes.
type StatusRange struct{ From, To int }

// DefaultRoute is what a request that no route matches belongs to.
const DefaultRoute = "default"

// ErrAmbiguousPath: two readings of the path lead to different routes.
var ErrAmbiguousPath = errors.New("path can be read in two ways")

// Routes finds the route of a request.
type Routes struct{}

// CompileRoutes checks the routes and prepares them for Match. With only,
// requests that no route matches have none; else they have DefaultRoute.
// Its errors are *RouteError.
func CompileRoutes(routes []Route, only bool) (*Routes, error) { panic("stub") }

// Match returns the route of a request by its method and its path as the
// client escaped it; nil where there is none. ErrAmbiguousPath where another
// reading of the path (an escaped slash or dot, an empty segment) would find a
// route of another price, scope or publicity. It allocates nothing for
// a path that needs no cleaning.
func (r *Routes) Match(method, escapedPath string) (*Route, error) { panic("stub") }

// All returns the routes, the default one (if any) last.
func (r *Routes) All() []*Route { panic("stub") }

// Charges reports whether an answer with that status is charged.
func (r *Route) Charges(status int) bool { panic("stub") }

// FromAnswer reports whether the cost is known only from the answer.
func (r *Route) FromAnswer() bool { return r.Cost.Header != "" || r.Cost.JSON != "" }

// RouteError says what is wrong with a route.
type RouteError struct{ Route, Word, Problem string }

func (e *RouteError) Error() string { return "route " + e.Route + ": " + e.Word + ": " + e.Problem }
