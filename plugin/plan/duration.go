// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"time"
)

const (
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour

	// minPer and maxPer bound Rate.Per.
	minPer = time.Millisecond
	maxPer = 365 * day

	// maxRetention bounds how long anything may be kept.
	maxRetention = 100 * 365 * day
)

// ParsePer reads second, minute, hour, day or a Go duration, from a
// millisecond to 365 days. Its errors are *WordError.
func ParsePer(word string) (time.Duration, error) {
	switch word {
	case "second":
		return second, nil
	case "minute":
		return minute, nil
	case "hour":
		return hour, nil
	case "day":
		return day, nil
	}
	d, err := time.ParseDuration(word)
	if err != nil {
		return 0, &WordError{word, "is not a time: write second, minute, hour, day or a duration as 250ms"}
	}
	if problem := perProblem(d); problem != "" {
		return 0, &WordError{word, problem}
	}
	return d, nil
}

func perProblem(d time.Duration) string {
	switch {
	case d < minPer:
		return "is shorter than 1ms"
	case d > maxPer:
		return "is longer than 365 days"
	}
	return ""
}

// FormatPer writes what ParsePer reads: second, minute, hour, day or the
// duration, as in 250ms, 1m30s or 2h.
func FormatPer(d time.Duration) string {
	switch d {
	case second:
		return "second"
	case minute:
		return "minute"
	case hour:
		return "hour"
	case day:
		return "day"
	}
	return formatDuration(d)
}

// formatDuration is d.String without the zeros at its end: 2h, not 2h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if trimmed, ok := strings.CutSuffix(s, "m0s"); ok {
		s = trimmed + "m"
	}
	if trimmed, ok := strings.CutSuffix(s, "h0m"); ok {
		s = trimmed + "h"
	}
	return s
}

// ParseRetention reads a Go duration or days, as in 35d: more than nothing, at
// most 100 years. Its errors are *WordError.
func ParseRetention(word string) (time.Duration, error) {
	var d time.Duration
	if digits, ok := strings.CutSuffix(word, "d"); ok {
		n, ok := parseDigits(digits)
		if !ok {
			return 0, &WordError{word, "is not a number of days: write 35d"}
		}
		d = time.Duration(min(n, int64(maxRetention/day)+1)) * day
	} else {
		parsed, err := time.ParseDuration(word)
		if err != nil {
			return 0, &WordError{word, "is not a duration: write 35d or 12h"}
		}
		d = parsed
	}
	switch {
	case d <= 0:
		return 0, &WordError{word, "is not more than nothing"}
	case d > maxRetention:
		return 0, &WordError{word, "is longer than 100 years"}
	}
	return d, nil
}
