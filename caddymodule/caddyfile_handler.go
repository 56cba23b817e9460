// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keytoll/keytoll/plugin/plan"
)

// UnmarshalCaddyfile reads the directive. Syntax:
//
//	keytoll [<matcher>] {
//		key_from header <name> | bearer | query <name>
//		route <name> [<method>[,<method>]] <path> {
//			unit <unit>
//			cost <n> | header <name> [reserve <n>] | json <path> [reserve <n>]
//			scope <scope>
//			rate <rate>
//			charge_on <status...>
//			public
//		}
//		routes only
//		cors <origin...>
//		headers standard|legacy|quota|openai|off...
//		errors problem|handle_errors
//		preflight pass|check
//		invalid_key_status 401|403
//		enforce on|off
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if _, err := words(d, 0, 0, "keytoll { … }"); err != nil {
		return err
	}
	var enforce, routes string
	err := options{
		"key_from":           {parse: h.parseKeyFrom, many: true},
		"route":              {parse: h.parseRoute, many: true},
		"routes":             choice(&routes, "word", "routes only", "only"),
		"cors":               list(&h.CORS, "origin", "cors https://app.example.com", originProblem),
		"headers":            {parse: h.parseHeaders},
		"errors":             choice(&h.Errors, "kind of errors", "errors problem, or errors handle_errors", errorsProblem, errorsRoutes),
		"preflight":          choice(&h.Preflight, "word", "preflight pass, or preflight check", preflightPass, preflightCheck),
		"enforce":            choice(&enforce, "word", "enforce on, or enforce off", "on", "off"),
		"invalid_key_status": {parse: h.parseInvalidKeyStatus},
	}.parse(d, "keytoll")
	h.RoutesOnly, h.Shadow = routes == "only", enforce == "off"
	return err
}

func (h *Handler) parseKeyFrom(d *caddyfile.Dispenser) error {
	const usage = "key_from header X-API-Key, key_from bearer or key_from query api_key"
	args, err := words(d, 1, 2, usage)
	if err != nil {
		return err
	}
	s := KeySource{In: args[0]}
	if len(args) > 1 {
		s.Name = args[1]
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	if slices.ContainsFunc(h.KeyFrom, func(other KeySource) bool { return other.same(s) }) {
		return d.Errf("key_from %s is given twice", strings.Join(args, " "))
	}
	h.KeyFrom = append(h.KeyFrom, s)
	return nil
}

func (h *Handler) parseHeaders(d *caddyfile.Dispenser) error {
	const usage = "headers standard, and any of legacy quota openai, or headers off"
	args, err := words(d, 1, 0, usage)
	if err != nil {
		return err
	}
	for _, word := range args {
		if !slices.Contains(headerSets, word) {
			return d.WrapErr(unknownWord("set of headers", word, headerSets...))
		}
		if h.Headers, err = appendNew(h.Headers, "headers", word); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := checkHeaderSets(h.Headers); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (h *Handler) parseInvalidKeyStatus(d *caddyfile.Dispenser) error {
	word, err := oneWord(d, "invalid_key_status 403, or 401")
	if err != nil {
		return err
	}
	h.InvalidKeyStatus, err = strconv.Atoi(word)
	if err != nil || !validInvalidKeyStatus(h.InvalidKeyStatus) {
		return d.Errf("invalid_key_status '%s': write 401 or 403", word)
	}
	return nil
}

// parseRoute reads `route <name> [<methods>] <path> { … }`.
func (h *Handler) parseRoute(d *caddyfile.Dispenser) error {
	args, err := words(d, 2, 3, "route chat POST /v1/chat/completions { … }")
	if err != nil {
		return err
	}
	at := here(d)
	r := Route{Name: args[0], Path: args[len(args)-1]}
	if len(args) == 3 {
		r.Methods = strings.Split(args[1], ",")
	}
	err = options{
		"unit":      text(&r.Unit, "unit tokens"),
		"cost":      {parse: r.parseCost},
		"scope":     text(&r.Scope, "scope chat"),
		"rate":      rates(&r.Rates),
		"charge_on": list(&r.ChargeOn, "status", "charge_on 2xx 404", statusProblem),
		"public":    mark(&r.Public, "public"),
	}.parse(d, "route "+r.Name)
	if err != nil {
		return err
	}
	h.Routes = append(h.Routes, r)
	compiled, err := compileRoutes(h.Routes)
	if err == nil {
		_, err = plan.CompileRoutes(compiled, false)
	}
	if err != nil {
		return at.WrapErr(err)
	}
	return nil
}

// parseCost reads `cost 20`, `cost header NAME [reserve N]` or
// `cost json PATH [reserve N]`.
func (r *Route) parseCost(d *caddyfile.Dispenser) error {
	const usage = "cost 20, cost header X-Usage-Units [reserve 100] or cost json usage.total_tokens [reserve 4000]"
	args, err := words(d, 1, 4, usage)
	if err != nil {
		return err
	}
	r.Cost = new(Cost)
	kind := args[0]
	if kind != "header" && kind != "json" {
		if len(args) > 1 {
			return d.Errf("'%s' is one word too many: write %s", args[1], usage)
		}
		if r.Cost.Units, err = plan.ParseCount(kind); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
	if len(args) < 2 || args[1] == "" || args[1] == "reserve" {
		return d.Errf("a word is missing after '%s': write %s", kind, usage)
	}
	if kind == "header" {
		r.Cost.Header = args[1]
	} else {
		r.Cost.JSON = args[1]
	}
	switch {
	case len(args) == 2:
		return nil
	case len(args) == 3 || args[2] != "reserve":
		return d.Errf("'%s': write %s", args[2], usage)
	}
	if r.Cost.Units, err = plan.ParseCount(args[3]); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func statusProblem(word string) string {
	if _, err := plan.ParseStatusRange(word); err != nil {
		return "write 404, 2xx or 400-499"
	}
	return ""
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
