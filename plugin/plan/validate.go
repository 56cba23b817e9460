// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	maxLimits = 16  // rates of a plan, quotas of a plan
	maxList   = 256 // scopes, routes, prices, meters
	maxText   = 500 // characters of a title or a reason
	maxKeys   = 1_000_000
)

// FieldError says which field of a JSON object is wrong, by its path
// (rates[0].count; "" is the object itself), and why.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// Validate returns a *FieldError for the first field that makes no sense.
func (r Rate) Validate() error {
	if problem := UnitProblem(r.Unit); problem != "" {
		return &FieldError{"unit", problem}
	}
	if problem := countProblem(r.Count); problem != "" && !r.Unlimited() {
		return &FieldError{"count", problem}
	}
	if problem := perProblem(r.Per); problem != "" {
		return &FieldError{"per", problem}
	}
	switch problem := countProblem(r.Burst); {
	case r.Unlimited() && r.Burst != 0:
		return &FieldError{"burst", "is nothing beside unlimited"}
	case !r.Unlimited() && problem != "":
		return &FieldError{"burst", problem}
	case !r.Scope.valid():
		return &FieldError{"scope", "is not key or customer"}
	}
	return nil
}

// Validate returns a *FieldError for the first field that makes no sense. An
// empty scope and an empty overage do: see Quota.
func (q Quota) Validate() error {
	if problem := UnitProblem(q.Unit); problem != "" {
		return &FieldError{"unit", problem}
	}
	if problem := countProblem(q.Limit); problem != "" && !q.Unlimited() {
		return &FieldError{"limit", problem}
	}
	switch {
	case !q.Span.valid():
		return &FieldError{"period", "is not hour, day or month"}
	case q.Scope != "" && !q.Scope.valid():
		return &FieldError{"scope", "is not key or customer"}
	case q.Overage != "" && !q.Overage.valid():
		return &FieldError{"overage", "is not block or bill"}
	case q.Overage == Bill && q.Unlimited():
		return &FieldError{"overage", "is nothing beside unlimited"}
	case q.Max != nil && q.Overage != Bill:
		return &FieldError{"max", "is nothing without overage bill"}
	case q.Max != nil && countProblem(*q.Max) != "":
		return &FieldError{"max", countProblem(*q.Max)}
	}
	return nil
}

// Validate returns a *FieldError for the first field that makes no sense.
func (c Concurrency) Validate() error {
	switch {
	case c.Limit != 0 && countProblem(c.Limit) != "":
		return &FieldError{"limit", countProblem(c.Limit)}
	case c.Limit != 0 && !c.Scope.valid():
		return &FieldError{"scope", "is not key or customer"}
	}
	return nil
}

// Validate returns a *FieldError for the first field that makes no sense.
func (o Overrides) Validate() error {
	if o.Rates != nil {
		if err := validateRates(*o.Rates); err != nil {
			return err
		}
	}
	if o.Quota != nil {
		if err := o.Quota.Validate(); err != nil {
			return under("quota", err)
		}
	}
	if o.Concurrency != nil {
		if err := o.Concurrency.Validate(); err != nil {
			return under("concurrency", err)
		}
	}
	return validateText("reason", o.Reason)
}

// Normalize fills in what may be left out: requests, per key, block, and lists
// that are empty, not nil.
func (p *Plan) Normalize() {
	p.Rates, p.Quotas = orEmpty(p.Rates), orEmpty(p.Quotas)
	p.Scopes, p.Routes = orEmpty(p.Scopes), orEmpty(p.Routes)
	p.StripePrices, p.StripeMeters = orEmpty(p.StripePrices), orEmpty(p.StripeMeters)
	for i := range p.Rates {
		r := &p.Rates[i]
		r.Unit, r.Scope = cmp.Or(r.Unit, Requests), cmp.Or(r.Scope, PerKey)
		if !r.Unlimited() {
			r.Burst = cmp.Or(r.Burst, r.Count)
		}
	}
	for i := range p.Quotas {
		q := &p.Quotas[i]
		q.Unit, q.Scope, q.Overage = cmp.Or(q.Unit, Requests), cmp.Or(q.Scope, PerKey), cmp.Or(q.Overage, Block)
	}
	for i := range p.StripeMeters {
		p.StripeMeters[i].Unit = cmp.Or(p.StripeMeters[i].Unit, Requests)
	}
	if p.Concurrency.Limit != 0 {
		p.Concurrency.Scope = cmp.Or(p.Concurrency.Scope, PerKey)
	}
}

// orEmpty copies a list, so that the caller's is not changed.
func orEmpty[T any](list []T) []T { return append([]T{}, list...) }

// Validate returns a *FieldError for the first field that makes no sense.
func (p *Plan) Validate() error {
	if problem := NameProblem(p.ID); problem != "" {
		return &FieldError{"id", problem}
	}
	if err := validateText("title", p.Title); err != nil {
		return err
	}
	if err := validateRates(p.Rates); err != nil {
		return err
	}
	if err := validateQuotas(p.Quotas); err != nil {
		return err
	}
	if err := p.Concurrency.Validate(); err != nil {
		return under("concurrency", err)
	}
	if p.MaxKeys < 0 || p.MaxKeys > maxKeys {
		return &FieldError{"max_keys", "is not a number from 0 to " + strconv.Itoa(maxKeys)}
	}
	if err := validateList("scopes", p.Scopes, ScopeProblem); err != nil {
		return err
	}
	if err := validateList("routes", p.Routes, NameProblem); err != nil {
		return err
	}
	if err := validateList("stripe_prices", p.StripePrices, priceProblem); err != nil {
		return err
	}
	return validateMeters(p.StripeMeters)
}

func validateRates(rates []Rate) error {
	if len(rates) > maxLimits {
		return &FieldError{"rates", "are more than " + strconv.Itoa(maxLimits)}
	}
	for i, r := range rates {
		if err := r.Validate(); err != nil {
			return under(at("rates", i), err)
		}
		for _, before := range rates[:i] {
			same := before.Unit == r.Unit && before.Scope == r.Scope
			if before == r {
				return &FieldError{at("rates", i), "is said twice"}
			}
			if same && (before.Unlimited() || r.Unlimited()) {
				return &FieldError{at("rates", i), "contradicts another rate that is unlimited"}
			}
		}
	}
	return nil
}

func validateQuotas(quotas []Quota) error {
	if len(quotas) > maxLimits {
		return &FieldError{"quotas", "are more than " + strconv.Itoa(maxLimits)}
	}
	for i, q := range quotas {
		if err := q.Validate(); err != nil {
			return under(at("quotas", i), err)
		}
		if q.Scope == "" {
			return &FieldError{at("quotas", i) + ".scope", "is not key or customer"}
		}
		if q.Overage == "" {
			return &FieldError{at("quotas", i) + ".overage", "is not block or bill"}
		}
		for _, before := range quotas[:i] {
			same := before.Unit == q.Unit && before.Scope == q.Scope
			if same && before.Span == q.Span {
				return &FieldError{at("quotas", i), "is a second quota of " + q.Unit + " a " + string(q.Span) + " per " + string(q.Scope)}
			}
			if same && (before.Unlimited() || q.Unlimited()) {
				return &FieldError{at("quotas", i), "contradicts another quota that is unlimited"}
			}
		}
	}
	return nil
}

func validateMeters(meters []StripeMeter) error {
	if len(meters) > maxList {
		return &FieldError{"stripe_meters", "are more than " + strconv.Itoa(maxList)}
	}
	for i, m := range meters {
		if problem := eventProblem(m.Event); problem != "" {
			return &FieldError{at("stripe_meters", i) + ".event", problem}
		}
		if problem := UnitProblem(m.Unit); problem != "" {
			return &FieldError{at("stripe_meters", i) + ".unit", problem}
		}
		if slices.ContainsFunc(meters[:i], func(before StripeMeter) bool { return before.Event == m.Event }) {
			return &FieldError{at("stripe_meters", i) + ".event", "is that of two meters"}
		}
	}
	return nil
}

func validateList(field string, list []string, problem func(string) string) error {
	if len(list) > maxList {
		return &FieldError{field, "are more than " + strconv.Itoa(maxList)}
	}
	for i, word := range list {
		if problem := problem(word); problem != "" {
			return &FieldError{at(field, i), problem}
		}
		if slices.Contains(list[:i], word) {
			return &FieldError{at(field, i), "is said twice"}
		}
	}
	return nil
}

func validateText(field, text string) error {
	switch {
	case !utf8.ValidString(text):
		return &FieldError{field, "is not UTF-8"}
	case utf8.RuneCountInString(text) > maxText:
		return &FieldError{field, "is longer than " + strconv.Itoa(maxText) + " characters"}
	}
	return nil
}

func countProblem(n int64) string {
	switch {
	case n < 1:
		return "is less than 1"
	case n > MaxCount:
		return "is more than " + strconv.FormatInt(MaxCount, 10)
	}
	return ""
}

func priceProblem(price string) string {
	if !consistsOf(price, 255, letter+digit+"_-") {
		return "is not the id of a Stripe price"
	}
	return ""
}

func at(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
