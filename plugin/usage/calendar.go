// SPDX-License-Identifier: Apache-2.0

// Package usage holds the periods usage is counted in, and reads from an
// answer how much was used.
package usage

import (
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// A Calendar divides time into periods: UTC hours, days or months, or the
// months of a subscription from its anchor. It is comparable and never
// changes: with an ordinal it names a period for ever.
type Calendar struct {
	Span plan.Span
	// Anchor, in Unix seconds, is where the first month of a subscription
	// begins; 0 for the calendar of UTC.
	Anchor int64
}

// The calendars of UTC.
var (
	Hours  = Calendar{Span: plan.Hour}
	Days   = Calendar{Span: plan.Day}
	Months = Calendar{Span: plan.Month}
)

// MonthsFrom returns the calendar whose months begin at anchor: on its day of
// the month, or the month's last where that has fewer days.
func MonthsFrom(anchor time.Time) Calendar {
	return Calendar{Span: plan.Month, Anchor: anchor.Unix()}
}

// A Period is half-open: [Start, End), in UTC.
type Period struct {
	Ordinal    int64 // counts the calendar's periods; the next one's is one more
	Start, End time.Time
}

// At returns the period that now is in.
func (c Calendar) At(now time.Time) Period {
	return c.Period(c.Ordinal(now))
}

// Ordinal returns the ordinal of the period that now is in.
func (c Calendar) Ordinal(now time.Time) int64 {
	seconds := now.Unix()
	switch c.Span {
	case plan.Hour:
		return floorDiv(seconds, 3600)
	case plan.Day:
		return floorDiv(seconds, 86400)
	}
	now = now.UTC()
	ordinal := int64(now.Year())*12 + int64(now.Month()) - 1
	if c.Anchor == 0 {
		return ordinal
	}
	anchor := time.Unix(c.Anchor, 0).UTC()
	ordinal -= int64(anchor.Year())*12 + int64(anchor.Month()) - 1
	if now.Before(c.start(ordinal)) {
		ordinal--
	}
	return ordinal
}

// Period returns the period of that ordinal.
func (c Calendar) Period(ordinal int64) Period {
	return Period{Ordinal: ordinal, Start: c.start(ordinal), End: c.start(ordinal + 1)}
}

func (c Calendar) start(ordinal int64) time.Time {
	switch c.Span {
	case plan.Hour:
		return time.Unix(ordinal*3600, 0).UTC()
	case plan.Day:
		return time.Unix(ordinal*86400, 0).UTC()
	}
	if c.Anchor == 0 {
		return time.Date(0, time.Month(ordinal+1), 1, 0, 0, 0, 0, time.UTC)
	}
	anchor := time.Unix(c.Anchor, 0).UTC()
	first := time.Date(anchor.Year(), anchor.Month()+time.Month(ordinal), 1,
		anchor.Hour(), anchor.Minute(), anchor.Second(), 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(anchor.Day(), last)-1)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
