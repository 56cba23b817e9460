// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"

	"github.com/keytoll/keytoll/plugin/plan"
)

// Route is a named method and path of the API.
type Route struct {
	// The name that plans, usage and metrics know it by.
	Name string `json:"name"`

	// The methods it holds for; GET covers HEAD. Default: all
	Methods []string `json:"methods,omitempty"`

	// The path as the client wrote it, decoded and cleaned. A `*` stands for a
	// segment; as the last one, for one or more.
	Path string `json:"path"`

	// What is metered. Default: `requests`
	Unit string `json:"unit,omitempty"`

	// How many units a request costs. Default: 1
	Cost *Cost `json:"cost,omitempty"`

	// The scope that a key must hold. Default: none
	Scope string `json:"scope,omitempty"`

	// Rates of the route, beside the plan's. Default: none
	Rates []plan.Rate `json:"rates,omitempty"`

	// The statuses that are charged, as `404`, `2xx` or `400-499`.
	// Default: all but 408, 429 and 5xx
	ChargeOn []string `json:"charge_on,omitempty"`

	// Needs no key and is not counted. Default: false
	Public bool `json:"public,omitempty"`
}

// Cost says how many units a request costs.
type Cost struct {
	// The cost; where the answer tells it, what is held until then.
	// Default: 1
	Units int64 `json:"units,omitempty"`

	// The header of the upstream's answer that tells it. The client does not
	// see that header. Default: none
	Header string `json:"header,omitempty"`

	// The path in the answer's JSON, or in its server-sent events, that tells
	// it, as `usage.total_tokens`. Default: none
	JSON string `json:"json,omitempty"`
}

// route returns the route as the plan package takes it.
func (r Route) route() (plan.Route, error) {
	out := plan.Route{
		Name: r.Name, Methods: r.Methods, Pattern: r.Path, Unit: r.Unit,
		Scope: r.Scope, Public: r.Public, Rates: r.Rates,
	}
	if r.Cost != nil {
		out.Cost = plan.Cost{Units: r.Cost.Units, Header: r.Cost.Header, JSON: r.Cost.JSON}
	}
	for _, word := range r.ChargeOn {
		s, err := plan.ParseStatusRange(word)
		if err != nil {
			return plan.Route{}, fmt.Errorf("route %s: charge_on: %w", r.Name, err)
		}
		out.ChargeOn = append(out.ChargeOn, s)
	}
	return out, nil
}
