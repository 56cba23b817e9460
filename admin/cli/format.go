// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// number writes 1284 as 1,284.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}

// age writes how long ago at was: 12 s ago.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	ago := now.Sub(at)
	if ago < 0 {
		return "in " + span(-ago)
	}
	return span(ago) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case d < 48*time.Hour:
		return strconv.FormatInt(int64(d/time.Hour), 10) + " h"
	}
	return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + " d"
}

// moment writes a time for people; "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 Jan 2006, 15:04 UTC")
}

// stamp writes a time for lines that sort; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// share writes used of limit: 104,211  104%.
func share(used, limit int64) string {
	if limit <= 0 {
		return number(used)
	}
	return number(used) + "  " + strconv.FormatInt(percent(used, limit), 10) + "%"
}

func percent(used, limit int64) int64 {
	if used > 1<<53 {
		return int64(float64(used) / float64(limit) * 100)
	}
	return used * 100 / limit
}

// bar draws value of most with up to width characters.
func bar(value, most int64, width int) string {
	if value <= 0 || most <= 0 {
		return ""
	}
	n := int(float64(min(value, most)) / float64(most) * float64(width))
	return strings.Repeat("▇", max(n, 1))
}

// limits writes quotas and rates as people say them: 100,000 a month, 50 a second.
func limits(quotas []plan.Quota, rates []plan.Rate) string {
	var parts []string
	for _, q := range quotas {
		parts = append(parts, quotaText(q))
	}
	for _, r := range rates {
		parts = append(parts, rateText(r))
	}
	if len(parts) == 0 {
		return "unlimited"
	}
	return strings.Join(parts, ", ")
}

func quotaText(q plan.Quota) string {
	if q.Unlimited() {
		return "unlimited" + unitText(q.Unit)
	}
	article := " a "
	if q.Span == plan.Hour {
		article = " an "
	}
	text := number(q.Limit) + unitText(q.Unit) + article + string(q.Span)
	if q.Scope == plan.PerCustomer {
		text += " per customer"
	}
	return text
}

func rateText(r plan.Rate) string {
	text := number(r.Count) + unitText(r.Unit)
	if r.Unlimited() {
		return "unlimited" + unitText(r.Unit)
	}
	text += perText(plan.FormatPer(r.Per))
	if r.Scope == plan.PerCustomer {
		text += " per customer"
	}
	return text
}

// perText writes what plan.FormatPer does for people: a second, in 250ms.
func perText(per string) string {
	switch per {
	case "second", "minute", "day":
		return " a " + per
	case "hour":
		return " an hour"
	}
	return " in " + per
}

func unitText(unit string) string {
	if unit == plan.Requests {
		return ""
	}
	return " " + unit
}
