// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"
)

// checkRoute says what is wrong with a route taken alone.
func checkRoute(r *Route) error {
	wrong := func(word, problem string) error { return &RouteError{r.Name, word, problem} }
	if r.Name == DefaultRoute {
		return wrong(r.Name, "is reserved for requests that no route matches")
	}
	if problem := NameProblem(r.Name); problem != "" {
		return wrong(r.Name, problem)
	}
	for i, method := range r.Methods {
		if problem := methodProblem(method); problem != "" {
			return wrong(method, problem)
		}
		if slices.Contains(r.Methods[:i], method) {
			return wrong(method, "is said twice")
		}
	}
	if problem := patternProblem(r.Pattern); problem != "" {
		return wrong(r.Pattern, problem)
	}
	if r.Unit != "" {
		if problem := UnitProblem(r.Unit); problem != "" {
			return wrong(r.Unit, problem)
		}
	}
	if r.Scope != "" {
		if problem := ScopeProblem(r.Scope); problem != "" {
			return wrong(r.Scope, problem)
		}
	}
	if r.Public && (r.FromAnswer() || r.Cost.Units > 1 || r.Scope != "" || len(r.Rates) > 0 || len(r.ChargeOn) > 0) {
		return wrong("public", "a public route is not counted: it has no cost, scope, rate or charge_on")
	}
	if word, problem := r.Cost.problem(); problem != "" {
		return wrong(word, problem)
	}
	for _, rate := range r.Rates {
		if err := rate.Validate(); err != nil {
			return wrong(rate.String(), err.Error())
		}
	}
	for _, s := range r.ChargeOn {
		if s.From < 100 || s.To > 599 || s.From > s.To {
			return wrong(s.String(), "is not a range of status codes")
		}
	}
	return nil
}

// checkPair says what two routes must not have in common.
func checkPair(before, r *Route) error {
	if before.Name == r.Name {
		return &RouteError{r.Name, r.Name, "is the name of two routes"}
	}
	if trimSlash(before.Pattern) != trimSlash(r.Pattern) {
		return nil
	}
	for _, method := range r.Methods {
		if slices.Contains(before.Methods, method) {
			return &RouteError{r.Name, method + " " + r.Pattern, "is that of route " + before.Name + " already"}
		}
	}
	if len(r.Methods) == 0 && len(before.Methods) == 0 {
		return &RouteError{r.Name, r.Pattern, "is that of route " + before.Name + " already"}
	}
	return nil
}

func methodProblem(method string) string {
	switch {
	case method == "CONNECT" || method == "TRACE":
		return "is never served"
	case method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "":
		return "is not a method: write GET or GET,POST"
	}
	return ""
}

// patternProblem says what is wrong with a path pattern: it is written decoded
// and clean, since that is how paths are compared with it.
func patternProblem(p string) string {
	segments, ok := strings.CutPrefix(p, "/")
	if !ok {
		return "is not a path: it begins with /"
	}
	if len(p) > maxPattern {
		return "is too long"
	}
	if i := strings.IndexFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("%?#;\\\ufffd", r) }); i >= 0 {
		return "a pattern has none of % ? # ; \\ and no control characters: write characters as they are, unescaped"
	}
	parts := strings.Split(segments, "/")
	for i, part := range parts {
		switch {
		case part == "" && i < len(parts)-1:
			return "has an empty segment"
		case part == "." || part == "..":
			return "has a dot segment"
		case part != "*" && strings.Contains(part, "*"):
			return "* stands for a whole segment, not for a part of one"
		}
	}
	return ""
}

const maxPattern = 1024

func (c Cost) problem() (word, problem string) {
	switch {
	case c.Units < 0 || c.Units > MaxCount:
		return formatCount(c.Units), "is not a cost: write 1 to 9007199254740992"
	case c.Header != "" && c.JSON != "":
		return c.JSON, "a cost comes from a header or from the body, not from both"
	case c.Header != "" && !consistsOf(c.Header, 256, letter+digit+"!#$%&'*+-.^_`|~"):
		return c.Header, "is not the name of a header"
	case c.JSON != "" && slices.Contains(strings.Split(c.JSON, "."), ""):
		return c.JSON, "is not a path: write names with a dot between, as usage.total_tokens"
	case len(c.JSON) > maxPattern:
		return c.JSON, "is too long"
	}
	return "", ""
}
