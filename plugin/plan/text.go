// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strconv"
	"strings"
)

// String writes r as ParseRate reads it: `100/second burst 200 per customer`.
func (r Rate) String() string {
	if r == (Rate{Unit: Requests, Count: Unlimited, Per: second, Scope: PerKey}) {
		return unlimited
	}
	s := formatAmount(r.Count, r.Unit, FormatPer(r.Per))
	if r.Burst != r.Count && !r.Unlimited() {
		s += " burst " + strconv.FormatInt(r.Burst, 10)
	}
	return s + formatScope(r.Scope)
}

// String writes q as ParseQuota reads it: `1000/month per customer overage bill max 5000`.
func (q Quota) String() string {
	if q.Unlimited() && q.Unit == Requests && q.Span == Month && q.Scope == PerKey {
		return unlimited
	}
	s := formatAmount(q.Limit, q.Unit, string(q.Span)) + formatScope(q.Scope)
	if q.Overage != Bill {
		return s
	}
	s += " overage bill"
	switch {
	case q.Max == nil:
		return s
	case *q.Max == MaxCount:
		return s + " max " + unlimited
	}
	return s + " max " + strconv.FormatInt(*q.Max, 10)
}

// String writes c as ParseConcurrency reads it: `50 per customer`.
func (c Concurrency) String() string {
	if c.Limit == 0 {
		return unlimited
	}
	return strconv.FormatInt(c.Limit, 10) + formatScope(c.Scope)
}

// String writes m as ParseStripeMeter reads it: `api_tokens tokens all`.
func (m StripeMeter) String() string {
	words := []string{m.Event, m.Unit}
	if m.All {
		words = append(words, "all")
	}
	return strings.Join(words, " ")
}

// String writes s as ParseStatusRange reads it: 404, 2xx or 400-450.
func (s StatusRange) String() string {
	switch {
	case s.From == s.To:
		return strconv.Itoa(s.From)
	case s.From%100 == 0 && s.To == s.From+99:
		return strconv.Itoa(s.From/100) + "xx"
	}
	return strconv.Itoa(s.From) + "-" + strconv.Itoa(s.To)
}

func formatAmount(count int64, unit, span string) string {
	s := formatCount(count)
	if unit != Requests {
		s += " " + unit
	}
	return s + "/" + span
}

func formatScope(s Scope) string {
	if s == PerCustomer {
		return " per customer"
	}
	return ""
}
