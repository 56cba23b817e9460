// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
)

// parseSpan reads 90s, 24h, 7d or 2 weeks' worth as 14d.
func parseSpan(flag, text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	d, err := plan.ParseRetention(text)
	if err != nil {
		return 0, usageError("--%s is a duration as 90s, 24h or 7d, not %q.", flag, text)
	}
	return d, nil
}

// parseTime reads RFC 3339, a date, a duration before now (10m) or words (2 days ago).
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	words := strings.Fields(text)
	switch {
	case text == "now":
		return now.UTC(), nil
	case text == "today" || text == "yesterday":
		today := now.UTC().Truncate(24 * time.Hour)
		if text == "yesterday" {
			today = today.AddDate(0, 0, -1)
		}
		return today, nil
	case len(words) == 3 && words[2] == "ago":
		if t, ok := before(now, words[0], words[1]); ok {
			return t.UTC(), nil
		}
	case len(words) == 1:
		if d, err := plan.ParseRetention(text); err == nil {
			return now.Add(-d).UTC(), nil
		}
	}
	return time.Time{}, usageError("--%s is a time as 2026-11-30T12:00:00Z, 2026-11-30, 10m or \"2 days ago\", not %q.", flag, text)
}

func before(now time.Time, count, unit string) (time.Time, bool) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1_000_000 {
		return time.Time{}, false
	}
	switch strings.TrimSuffix(unit, "s") {
	case "second":
		return now.Add(-time.Duration(n) * time.Second), true
	case "minute":
		return now.Add(-time.Duration(n) * time.Minute), true
	case "hour":
		return now.Add(-time.Duration(n) * time.Hour), true
	case "day":
		return now.AddDate(0, 0, -n), true
	case "week":
		return now.AddDate(0, 0, -7*n), true
	case "month":
		return now.AddDate(0, -n, 0), true
	case "year":
		return now.AddDate(-n, 0, 0), true
	}
	return time.Time{}, false
}

// parseEnd reads when something ends: never, a time, or a duration from now.
func parseEnd(flag, text string, now time.Time) (any, error) {
	if text == "never" {
		return nil, nil
	}
	if d, err := plan.ParseRetention(text); err == nil {
		return now.Add(d).UTC().Format(time.RFC3339), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t.UTC().Format(time.RFC3339), nil
		}
	}
	return nil, usageError("--%s is never, a duration as 90d, or a time as 2027-01-31, not %q.", flag, text)
}

// shortPer lets people write 50/s.
var shortPer = map[string]string{"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day"}

func longPer(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		if head, per, ok := strings.Cut(word, "/"); ok && shortPer[per] != "" {
			words[i] = head + "/" + shortPer[per]
		}
	}
	return strings.Join(words, " ")
}

// parseRates reads --rate; the word plan stands for those of the plan, none for
// no rate at all.
func parseRates(texts []string, burst string) (any, error) {
	if len(texts) == 1 && texts[0] == "plan" {
		return nil, nil
	}
	rates := []plan.Rate{}
	if len(texts) == 1 && (texts[0] == "none" || texts[0] == "unlimited") {
		return rates, nil
	}
	for _, text := range texts {
		r, err := plan.ParseRate(strings.Fields(longPer(text)))
		if err != nil {
			return nil, usageError("--rate is as 50/second or \"50/second burst 100\": %s.", err)
		}
		rates = append(rates, r)
	}
	if burst != "" {
		if len(rates) != 1 {
			return nil, usageError("--burst belongs to one --rate. Of several, write each as \"50/second burst 100\".")
		}
		n, err := plan.ParseCount(burst)
		if err != nil {
			return nil, usageError("--burst is a count: %s.", err)
		}
		rates[0].Burst = n
	}
	return rates, nil
}

// parseQuota reads --quota: a count a month, or the Caddyfile's words.
func parseQuota(text string) (any, error) {
	if text == "plan" {
		return nil, nil
	}
	if n, err := plan.ParseCount(text); err == nil {
		return plan.Quota{Unit: plan.Requests, Limit: n, Span: plan.Month}, nil
	}
	q, err := plan.ParseQuota(strings.Fields(text))
	if err != nil {
		return nil, usageError("--quota is a count a month as 100k, or as \"10k tokens/day\", plan or unlimited: %s.", err)
	}
	return q, nil
}

// parseMetadata reads k=v, where v is JSON or text.
func parseMetadata(pairs []string) (map[string]any, error) {
	m := map[string]any{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usageError("--meta is name=value, not %q.", pair)
		}
		m[name] = value
		if value == "" {
			m[name] = nil
		} else if json.Valid([]byte(value)) {
			m[name] = json.RawMessage(value)
		}
	}
	return m, nil
}

// maxInput is how long a secret on stdin may be.
const maxInput = 4096

// readSecret reads one line of stdin.
func (s *session) readSecret() (string, error) {
	if s.env.InTerminal {
		s.say("Paste the secret, then press Enter:")
	}
	line, err := bufio.NewReader(io.LimitReader(s.env.In, maxInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	secret := strings.TrimSpace(line)
	if secret == "" {
		return "", usageError("There is no secret on stdin.")
	}
	return secret, nil
}

// noSecret refuses an argument that is a secret: the shell has kept it by now.
func noSecret(arg string) error {
	long := len(arg) >= 40 && (strings.Contains(arg, "_live_") || strings.Contains(arg, "_test_"))
	if apikey.Inspect(arg) == apikey.Foreign && !long {
		return nil
	}
	return usageError("A secret is no argument: the shell's history and ps show it. Write - and give it on stdin. If it is in use, rotate it.")
}

// confirm asks before something is destroyed.
func (s *session) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !s.env.InTerminal {
		return usageError("%s Nobody is there to answer: say --yes.", question)
	}
	fmt.Fprint(s.env.Err, question+" [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(s.env.In, maxInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return cancelled()
}
