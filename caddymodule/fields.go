// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// fieldSets are the sets of header fields that tell a caller what is left.
type fieldSets uint8

// The sets.
const (
	standardFields fieldSets = 1 << iota // draft-ietf-httpapi-ratelimit-headers-10
	legacyFields
	quotaFields
	openaiFields
)

// headerSets are the words for the sets, and the one for none.
var headerSets = []string{"standard", "legacy", "quota", "openai", "off"}

func checkHeaderSets(sets []string) error {
	for _, word := range sets {
		if !slices.Contains(headerSets, word) {
			return unknownWord("set of headers", word, headerSets...)
		}
	}
	if len(sets) > 1 && slices.Contains(sets, "off") {
		return errors.New("headers: 'off' stands beside another set")
	}
	return nil
}

func compileHeaderSets(sets []string) (f fieldSets) {
	if len(sets) == 0 {
		return standardFields
	}
	for i, word := range headerSets[:4] {
		if slices.Contains(sets, word) {
			f |= 1 << i
		}
	}
	return f
}

// names returns the fields of the sets, as a browser is told of them.
func (f fieldSets) names() []string {
	var names []string
	for _, set := range []struct {
		in    fieldSets
		names []string
	}{
		{standardFields, []string{"RateLimit", "RateLimit-Policy"}},
		{legacyFields, []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}},
		{quotaFields, []string{"X-Quota-Limit", "X-Quota-Used", "X-Quota-Remaining", "X-Quota-Reset"}},
		{openaiFields, []string{
			"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
			"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
		}},
	} {
		if f&set.in != 0 {
			names = append(names, set.names...)
		}
	}
	return names
}

// write puts the fields into an answer's header, over those of the upstream.
func (f fieldSets) write(header http.Header, x *exchange) {
	if f == 0 {
		return
	}
	x.windows = x.ticket.Windows(x.windows[:0])
	if f&standardFields != 0 {
		x.writeStandard(header)
	}
	if f&legacyFields != 0 {
		writeLegacy(header, x.windows)
	}
	if f&quotaFields != 0 {
		writeQuota(header, x.windows)
	}
	if f&openaiFields != 0 {
		writeOpenAI(header, x.windows, plan.Requests)
		writeOpenAI(header, x.windows, "tokens")
	}
}

// writeStandard writes RateLimit-Policy and RateLimit by direct assignment:
// this is done for every request.
func (x *exchange) writeStandard(header http.Header) {
	policy := x.ticket.PolicyField()
	delete(header, "Ratelimit")
	delete(header, "Ratelimit-Policy")
	if policy == "" {
		return
	}
	text := x.text[:0]
	for i := range x.windows {
		w := &x.windows[i]
		if w.Unit != plan.Requests {
			continue
		}
		if len(text) > 0 {
			text = append(text, ", "...)
		}
		text = append(append(append(text, '"'), w.Name...), `";r=`...)
		text = strconv.AppendInt(text, w.Remaining, 10)
		text = append(text, ";t="...)
		text = strconv.AppendInt(text, seconds(w.Reset), 10)
	}
	x.text = text
	values := &x.told.fields
	values[0], values[1] = policy, string(text)
	header["Ratelimit-Policy"], header["Ratelimit"] = values[0:1:1], values[1:2:2]
}

// writeLegacy tells of the rate that leaves the least.
func writeLegacy(header http.Header, windows []gate.Window) {
	w := tightest(windows, plan.Requests, false)
	if w == nil {
		header.Del("X-RateLimit-Limit")
		header.Del("X-RateLimit-Remaining")
		header.Del("X-RateLimit-Reset")
		return
	}
	header.Set("X-RateLimit-Limit", strconv.FormatInt(w.Limit, 10))
	header.Set("X-RateLimit-Remaining", strconv.FormatInt(w.Remaining, 10))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(seconds(w.Reset), 10))
}

// writeQuota tells of the quota that leaves the least.
func writeQuota(header http.Header, windows []gate.Window) {
	w := tightest(windows, "", true)
	if w == nil {
		for _, name := range []string{"X-Quota-Limit", "X-Quota-Used", "X-Quota-Remaining", "X-Quota-Reset"} {
			header.Del(name)
		}
		return
	}
	header.Set("X-Quota-Limit", strconv.FormatInt(w.Limit, 10))
	header.Set("X-Quota-Used", strconv.FormatInt(w.Used, 10))
	header.Set("X-Quota-Remaining", strconv.FormatInt(w.Remaining, 10))
	header.Set("X-Quota-Reset", w.Ends.UTC().Format(time.RFC3339))
}

// writeOpenAI tells of the tightest rate of a unit, or of its quota where it
// has no rate, in the words of OpenAI's API.
func writeOpenAI(header http.Header, windows []gate.Window, unit string) {
	w := tightest(windows, unit, false)
	if w == nil {
		w = tightest(windows, unit, true)
	}
	limit, remaining, reset := "X-Ratelimit-Limit-"+title(unit), "X-Ratelimit-Remaining-"+title(unit), "X-Ratelimit-Reset-"+title(unit)
	if w == nil {
		delete(header, limit)
		delete(header, remaining)
		delete(header, reset)
		return
	}
	header[limit] = []string{strconv.FormatInt(w.Limit, 10)}
	header[remaining] = []string{strconv.FormatInt(w.Remaining, 10)}
	header[reset] = []string{(time.Duration(seconds(w.Reset)) * time.Second).String()}
}

func title(unit string) string { return http.CanonicalHeaderKey(unit) }

// tightest returns the window of that unit ("" for any) that leaves the least;
// nil where there is none.
func tightest(windows []gate.Window, unit string, quota bool) *gate.Window {
	var found *gate.Window
	for i := range windows {
		w := &windows[i]
		if w.Quota != quota || unit != "" && w.Unit != unit {
			continue
		}
		if found == nil || w.Remaining < found.Remaining {
			found = w
		}
	}
	return found
}

// seconds rounds a time to wait up to whole seconds.
func seconds(d time.Duration) int64 {
	return int64((max(d, 0) + time.Second - 1) / time.Second)
}
