// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

// MarshalJSON writes r in the form its type documents.
func (r Rate) MarshalJSON() ([]byte, error) {
	out := struct {
		Unit  string `json:"unit"`
		Count count  `json:"count"`
		Per   string `json:"per"`
		Burst *int64 `json:"burst"`
		Scope Scope  `json:"scope"`
	}{Unit: r.Unit, Count: count(r.Count), Per: formatDuration(r.Per), Scope: r.Scope}
	if !r.Unlimited() {
		out.Burst = &r.Burst
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes and fills in what was left out:
// requests, a burst of Count, per key. Its errors are *FieldError. What it
// read is not checked for sense: see Validate.
func (r *Rate) UnmarshalJSON(data []byte) error {
	var read struct {
		unit, scope string
		count       count
		per         duration
		burst       *int64
	}
	err := decodeFields(data, map[string]any{
		"unit": &read.unit, "count": &read.count, "per": &read.per, "burst": &read.burst, "scope": &read.scope,
	})
	if err != nil {
		return err
	}
	*r = Rate{
		Unit: cmp.Or(read.unit, Requests), Count: int64(read.count), Per: time.Duration(read.per),
		Scope: cmp.Or(Scope(read.scope), PerKey),
	}
	switch {
	case read.burst != nil:
		r.Burst = *read.burst
	case !r.Unlimited():
		r.Burst = r.Count
	}
	if r.Unlimited() && r.Per == 0 {
		r.Per = second
	}
	return nil
}

// MarshalJSON writes q in the form its type documents.
func (q Quota) MarshalJSON() ([]byte, error) {
	out := struct {
		Unit    string  `json:"unit"`
		Limit   count   `json:"limit"`
		Span    Span    `json:"period"`
		Scope   Scope   `json:"scope,omitempty"`
		Overage Overage `json:"overage,omitempty"`
		Max     *count  `json:"max"`
	}{Unit: q.Unit, Limit: count(q.Limit), Span: q.Span, Scope: q.Scope, Overage: q.Overage}
	if q.Max != nil {
		most := count(*q.Max)
		if most == MaxCount {
			most = count(Unlimited)
		}
		out.Max = &most
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes and fills in what was left out:
// requests. A bare number is that many requests a month. Scope and overage stay
// empty where they were left out. Its errors are *FieldError. What it read is
// not checked for sense: see Validate.
func (q *Quota) UnmarshalJSON(data []byte) error {
	var limit int64
	if json.Unmarshal(data, &limit) == nil && string(data) != "null" {
		*q = Quota{Unit: Requests, Limit: limit, Span: Month}
		return nil
	}
	var read struct {
		unit, span, scope, overage string
		limit                      count
		max                        *count
	}
	err := decodeFields(data, map[string]any{
		"unit": &read.unit, "limit": &read.limit, "period": &read.span,
		"scope": &read.scope, "overage": &read.overage, "max": &read.max,
	})
	if err != nil {
		return err
	}
	*q = Quota{
		Unit: cmp.Or(read.unit, Requests), Limit: int64(read.limit), Span: Span(read.span),
		Scope: Scope(read.scope), Overage: Overage(read.overage),
	}
	if read.max != nil {
		most := int64(*read.max)
		if most == Unlimited {
			most = MaxCount
		}
		q.Max = &most
	}
	return nil
}

// MarshalJSON writes {"limit":50,"scope":"key"}.
func (c Concurrency) MarshalJSON() ([]byte, error) {
	limit := c.Limit
	if limit == 0 {
		limit = Unlimited
	}
	return json.Marshal(struct {
		Limit count `json:"limit"`
		Scope Scope `json:"scope"`
	}{count(limit), cmp.Or(c.Scope, PerKey)})
}

// UnmarshalJSON reads what MarshalJSON writes; scope may be left out. A bare
// number is that many per key. Its errors are *FieldError.
func (c *Concurrency) UnmarshalJSON(data []byte) error {
	var limit int64
	if json.Unmarshal(data, &limit) == nil && string(data) != "null" {
		*c = Concurrency{Limit: limit, Scope: PerKey}
		return nil
	}
	var read struct {
		limit count
		scope string
	}
	if err := decodeFields(data, map[string]any{"limit": &read.limit, "scope": &read.scope}); err != nil {
		return err
	}
	*c = Concurrency{Limit: int64(read.limit), Scope: cmp.Or(Scope(read.scope), PerKey)}
	if c.Limit == Unlimited {
		c.Limit = 0
	}
	return nil
}

// UnmarshalJSON reads overrides. Its errors are *FieldError, with the path of
// the field: rates[0].count.
func (o *Overrides) UnmarshalJSON(data []byte) error {
	*o = Overrides{}
	var rates *[]json.RawMessage
	err := decodeFields(data, map[string]any{
		"rates": &rates, "quota": &o.Quota, "concurrency": &o.Concurrency, "until": &o.Until, "reason": &o.Reason,
	})
	if err != nil || rates == nil {
		return err
	}
	list := make([]Rate, len(*rates))
	for i, raw := range *rates {
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			return under("rates["+strconv.Itoa(i)+"]", err)
		}
	}
	o.Rates = &list
	return nil
}

// decodeFields reads an object into the variables that known names. Fields
// that are null or left out stay as they are.
func decodeFields(data []byte, known map[string]any) error {
	if string(data) == "null" {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return &FieldError{Problem: "is not an object"}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		target, ok := known[name]
		if !ok {
			return &FieldError{name, "is not a field here"}
		}
		if string(fields[name]) == "null" {
			continue
		}
		if err := json.Unmarshal(fields[name], target); err != nil {
			return under(name, err)
		}
	}
	return nil
}

// under puts the name of a field before the path of an error.
func under(name string, err error) error {
	var field *FieldError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &field) && field.Field == "":
		return &FieldError{name, field.Problem}
	case errors.As(err, &field):
		return &FieldError{name + "." + field.Field, field.Problem}
	case errors.As(err, &typed):
		return &FieldError{name, "is a " + typed.Value + ", not " + article(typed.Type.Kind().String())}
	}
	return &FieldError{name, err.Error()}
}

func article(kind string) string {
	switch kind {
	case "string":
		return "a text"
	case "int64":
		return "a whole number"
	case "slice":
		return "a list"
	}
	return "a " + kind
}

// count is an int64 that JSON shows as a number or as "unlimited".
type count int64

// MarshalJSON writes a number or the word.
func (c count) MarshalJSON() ([]byte, error) {
	if int64(c) == Unlimited {
		return []byte(`"` + unlimited + `"`), nil
	}
	return strconv.AppendInt(nil, int64(c), 10), nil
}

// UnmarshalJSON reads a whole number that is not negative, or the word.
func (c *count) UnmarshalJSON(data []byte) error {
	if string(data) == `"`+unlimited+`"` {
		*c = count(Unlimited)
		return nil
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || n < 0 {
		return &FieldError{Problem: `is not a whole number from 1 to 9007199254740992, or "unlimited"`}
	}
	*c = count(n)
	return nil
}

// duration is one that JSON shows as text.
type duration time.Duration

// UnmarshalJSON reads what ParsePer reads.
func (d *duration) UnmarshalJSON(data []byte) error {
	var word string
	if err := json.Unmarshal(data, &word); err != nil {
		return &FieldError{Problem: `is not a text like "1s"`}
	}
	parsed, err := ParsePer(word)
	if err != nil {
		return &FieldError{Problem: err.Error()}
	}
	*d = duration(parsed)
	return nil
}
