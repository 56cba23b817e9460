// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestPeriodsOfUTC(t *testing.T) {
	for _, c := range []struct {
		calendar        Calendar
		now, start, end string
	}{
		{Hours, "2026-11-23T12:59:59Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"},
		{Hours, "2026-11-23T13:00:00Z", "2026-11-23T13:00:00Z", "2026-11-23T14:00:00Z"},
		{Hours, "2026-11-23T12:30:00+05:30", "2026-11-23T07:00:00Z", "2026-11-23T08:00:00Z"},
		{Days, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"},
		{Days, "2026-11-23T23:30:00-05:00", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"},
		{Days, "2028-02-29T10:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		{Months, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{Months, "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"},
		{Months, "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{Months, "2026-11-30T20:00:00-05:00", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{Hours, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"},
		{Days, "1969-12-31T23:30:00Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
	} {
		p := c.calendar.At(at(c.now))
		if !p.Start.Equal(at(c.start)) || !p.End.Equal(at(c.end)) {
			t.Errorf("%v at %s: got [%v, %v), want [%s, %s)", c.calendar, c.now, p.Start, p.End, c.start, c.end)
		}
		if p.Start.Location() != time.UTC || p.End.Location() != time.UTC {
			t.Errorf("%v at %s: bounds are not in UTC", c.calendar, c.now)
		}
	}
}

func TestAnAnchorOnThe31stNeverDrifts(t *testing.T) {
	calendar := MonthsFrom(at("2027-01-31T10:30:00Z"))
	want := []string{
		"2027-01-31T10:30:00Z", "2027-02-28T10:30:00Z", "2027-03-31T10:30:00Z", "2027-04-30T10:30:00Z",
		"2027-05-31T10:30:00Z", "2027-06-30T10:30:00Z", "2027-07-31T10:30:00Z", "2027-08-31T10:30:00Z",
		"2027-09-30T10:30:00Z", "2027-10-31T10:30:00Z", "2027-11-30T10:30:00Z", "2027-12-31T10:30:00Z",
		"2028-01-31T10:30:00Z", "2028-02-29T10:30:00Z", "2028-03-31T10:30:00Z",
	}
	for i := range want[1:] {
		start, end := at(want[i]), at(want[i+1])
		for _, now := range []time.Time{start, end.Add(-time.Nanosecond), start.Add(end.Sub(start) / 2)} {
			p := calendar.At(now)
			if p.Ordinal != int64(i) || !p.Start.Equal(start) || !p.End.Equal(end) {
				t.Errorf("at %v: got %d [%v, %v), want %d [%v, %v)", now, p.Ordinal, p.Start, p.End, i, start, end)
			}
		}
	}
}

func TestAnAnchorOnALeapDayComesBackToIt(t *testing.T) {
	calendar := MonthsFrom(at("2028-02-29T00:00:00Z"))
	for ordinal, want := range map[int64]string{
		1: "2028-03-29T00:00:00Z", 12: "2029-02-28T00:00:00Z", 13: "2029-03-29T00:00:00Z", 48: "2032-02-29T00:00:00Z",
	} {
		if got := calendar.Period(ordinal).Start; !got.Equal(at(want)) {
			t.Errorf("period %d begins at %v, want %s", ordinal, got, want)
		}
	}
}

func TestTimesBeforeTheAnchorHavePeriodsToo(t *testing.T) {
	calendar := MonthsFrom(at("2027-01-31T00:00:00Z"))
	p := calendar.At(at("2026-12-30T23:00:00Z"))
	if p.Ordinal != -2 || !p.Start.Equal(at("2026-11-30T00:00:00Z")) || !p.End.Equal(at("2026-12-31T00:00:00Z")) {
		t.Errorf("got %d [%v, %v)", p.Ordinal, p.Start, p.End)
	}
}

func TestAnAnchorAtTheBeginningOfTimeIsAnAnchor(t *testing.T) {
	if p := MonthsFrom(time.Unix(0, 0)).At(at("2026-11-23T00:00:00Z")); !p.Start.Equal(at("2026-11-01T00:00:00Z")) {
		t.Errorf("got %v", p)
	}
}

func FuzzPeriodsTileTime(f *testing.F) {
	f.Add(int64(1_801_391_400), int64(1_830_000_000))
	f.Add(int64(0), int64(-5))
	f.Add(int64(1_709_164_800), int64(1_709_164_799))
	f.Fuzz(func(t *testing.T, anchor, seconds int64) {
		const century = 100 * 365 * 86400
		if max(anchor, -anchor) > century || max(seconds, -seconds) > century || anchor == -1<<63 || seconds == -1<<63 {
			return
		}
		now := time.Unix(seconds, 0)
		for _, calendar := range []Calendar{Hours, Days, Months, MonthsFrom(time.Unix(anchor, 0))} {
			p := calendar.At(now)
			if now.Before(p.Start) || !now.Before(p.End) {
				t.Fatalf("%v at %v: got [%v, %v)", calendar, now.UTC(), p.Start, p.End)
			}
			if next := calendar.At(p.End); next.Ordinal != p.Ordinal+1 || !next.Start.Equal(p.End) {
				t.Fatalf("%v: behind %v comes %v", calendar, p, next)
			}
			if before := calendar.At(p.Start.Add(-1)); before.Ordinal != p.Ordinal-1 || !before.End.Equal(p.Start) {
				t.Fatalf("%v: before %v comes %v", calendar, p, before)
			}
			if calendar.Ordinal(p.Start) != p.Ordinal || calendar.Period(p.Ordinal) != p {
				t.Fatalf("%v: %v is not found again by its ordinal", calendar, p)
			}
		}
	})
}
