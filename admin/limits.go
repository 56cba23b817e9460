// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/keytoll/keytoll/plugin/plan"
)

// limit is what package plan reads from JSON and checks by itself.
type limit interface{ Validate() error }

// readLimit reads a member as package plan does; nil where it is absent.
func readLimit[T limit](f *fields, name string) *T {
	value := f.member(name)
	if value == nil {
		return nil
	}
	limit := new(T)
	raw, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(raw, limit)
	}
	if err == nil {
		err = (*limit).Validate()
	}
	if err != nil {
		f.failLimit(name, err)
		return nil
	}
	return limit
}

// failLimit keeps an error of package plan, under its path in the member; with
// no name, in f itself.
func (f *fields) failLimit(name string, err error) {
	var field *plan.FieldError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &field) && name == "":
		f.fail(field.Field, sentence("it "+field.Problem))
	case errors.As(err, &field) && field.Field == "":
		f.fail(name, sentence("it "+field.Problem))
	case errors.As(err, &field):
		f.fail(name+"."+field.Field, sentence("it "+field.Problem))
	case errors.As(err, &typed):
		f.fail(name, "It is a "+typed.Value+", which is not what belongs here.")
	default:
		f.fail(name, "It cannot be read.")
	}
}

// readQuota reads a quota: an object, a number of requests a month, or the word
// unlimited. nil where it is absent.
func readQuota(f *fields, name string) *plan.Quota {
	switch f.member(name).(type) {
	case json.Number, string:
		return &plan.Quota{Unit: plan.Requests, Limit: f.count(name), Span: plan.Month}
	}
	return readLimit[plan.Quota](f, name)
}

// shownQuota returns an override's quota with what it leaves open filled in from
// the first quota of its unit, and scope where it has one, of the plan.
func (s *Server) shownQuota(q *plan.Quota, planID string) *plan.Quota {
	if q == nil || q.Overage != "" && q.Scope != "" {
		return q
	}
	var replaced plan.Quota
	if p, known := s.o.Gate.Plan(planID); known {
		for _, of := range slices.Backward(p.Quotas) {
			if of.Unit == q.Unit && (q.Scope == "" || of.Scope == q.Scope) {
				replaced = of
			}
		}
	}
	whole := q.Inherit(replaced)
	return &whole
}

// readConcurrency reads a bound on requests in flight: an object, a number per
// key, or the word unlimited. nil where it is absent.
func readConcurrency(f *fields, name string) *plan.Concurrency {
	switch value := f.member(name).(type) {
	case json.Number, string:
		return &plan.Concurrency{Limit: max(f.count(name), 0), Scope: plan.PerKey}
	case map[string]any:
		if limit, is := value["limit"].(json.Number); value["limit"] == nil || is && limit.String() == "0" {
			f.fail(name+".limit", "It must be a number from 1 up, or the word unlimited.")
		}
	}
	return readLimit[plan.Concurrency](f, name)
}

// readRates reads a list of rates; nil where it is absent.
func readRates(f *fields) *[]plan.Rate {
	values, is := f.list("rates", maxList)
	if !is {
		return nil
	}
	rates := make([]plan.Rate, 0, len(values))
	for i, value := range values {
		name := at("rates", i)
		one := &fields{path: f.path, members: map[string]any{name: value}, asked: map[string]bool{}, wrong: f.wrong}
		rate := readLimit[plan.Rate](one, name)
		if rate == nil {
			f.fail(name, "It must be an object.")
			return nil
		}
		rates = append(rates, *rate)
	}
	if err := (plan.Overrides{Rates: &rates}).Validate(); err != nil {
		f.failLimit("", err)
	}
	return &rates
}

// readKeyLimits reads the overrides of a key: all of them hold for that key
// alone.
func readKeyLimits(f *fields) plan.Overrides {
	o := plan.Overrides{
		Rates: readRates(f), Quota: readQuota(f, "quota"), Concurrency: readConcurrency(f, "concurrency"),
		Until: f.when("overrides_until"), Reason: f.text("overrides_reason", maxReason),
	}
	const onlyKey = "Limits of a key hold for that key alone: its scope is key."
	if o.Rates != nil {
		for i, r := range *o.Rates {
			if r.Scope != plan.PerKey {
				f.fail(at("rates", i)+".scope", onlyKey)
			}
		}
	}
	if o.Quota != nil {
		if o.Quota.Scope == plan.PerCustomer {
			f.fail("quota.scope", onlyKey)
		}
		o.Quota.Scope = plan.PerKey
	}
	if o.Concurrency != nil && o.Concurrency.Scope == plan.PerCustomer {
		f.fail("concurrency.scope", onlyKey)
	}
	return o
}

// unlessZero returns a pointer to v, or nil where v is zero.
func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
