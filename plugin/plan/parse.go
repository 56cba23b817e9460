// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strconv"
	"strings"
)

// WordError says which word of a limit is wrong, and why.
type WordError struct {
	Word    string
	Problem string
}

func (e *WordError) Error() string { return "'" + e.Word + "': " + e.Problem }

// ParseRate reads `N [unit]/D [burst B] [per customer|per key]`, split into
// words; modifiers come in any order. `unlimited [unit]/D`, or that word alone,
// gives a Rate whose Count is Unlimited. Its errors are *WordError.
func ParseRate(words []string) (Rate, error) {
	if len(words) == 1 && words[0] == unlimited {
		words = []string{unlimited + "/second"}
	}
	a, rest, err := parseAmount(words, "10/second")
	if err != nil {
		return Rate{}, err
	}
	per, err := ParsePer(a.span)
	if err != nil {
		return Rate{}, err
	}
	r := Rate{Unit: a.unit, Count: a.count, Per: per, Burst: a.count, Scope: PerKey}
	if r.Unlimited() {
		r.Burst = 0
	}
	err = parseModifiers(rest, map[string]modifier{
		"per": scopeModifier(&r.Scope),
		"burst": func(m *modifiers) (err error) {
			if r.Unlimited() {
				return &WordError{"burst", "is nothing beside unlimited"}
			}
			r.Burst, err = m.count()
			return err
		},
	})
	if err != nil {
		return Rate{}, err
	}
	return r, nil
}

// ParseQuota reads `N [unit]/(hour|day|month) [per key|per customer]
// [overage block|bill [max N|max unlimited]]`. `unlimited [unit]/…`, or that
// word alone, gives a Quota whose Limit is Unlimited. Its errors are *WordError.
func ParseQuota(words []string) (Quota, error) {
	if len(words) == 1 && words[0] == unlimited {
		words = []string{unlimited + "/month"}
	}
	a, rest, err := parseAmount(words, "1000/month")
	if err != nil {
		return Quota{}, err
	}
	q := Quota{Unit: a.unit, Limit: a.count, Span: Span(a.span), Scope: PerKey, Overage: Block}
	if !q.Span.valid() {
		return Quota{}, &WordError{a.span, "is not a period: write hour, day or month"}
	}
	err = parseModifiers(rest, map[string]modifier{
		"per": scopeModifier(&q.Scope),
		"overage": func(m *modifiers) error {
			if q.Unlimited() {
				return &WordError{"overage", "is nothing beside unlimited"}
			}
			return parseOverage(m, &q)
		},
	})
	if err != nil {
		return Quota{}, err
	}
	return q, nil
}

func parseOverage(m *modifiers, q *Quota) error {
	word, err := m.word("block or bill")
	if err != nil {
		return err
	}
	q.Overage = Overage(word)
	if !q.Overage.valid() {
		return &WordError{word, "is not an overage: write block or bill"}
	}
	if q.Overage != Bill || len(m.rest) == 0 || m.rest[0] != "max" {
		return nil
	}
	m.rest = m.rest[1:]
	most := int64(MaxCount)
	if len(m.rest) > 0 && m.rest[0] == unlimited {
		m.rest = m.rest[1:]
	} else if most, err = m.countOf("max"); err != nil {
		return err
	}
	q.Max = &most
	return nil
}

// ParseConcurrency reads `N [per key|per customer]`, or `unlimited` (Limit 0).
// Its errors are *WordError.
func ParseConcurrency(words []string) (Concurrency, error) {
	if len(words) == 0 {
		return Concurrency{}, &WordError{"", "a number is missing: write 50, 50 per customer or unlimited"}
	}
	c := Concurrency{Scope: PerKey}
	if words[0] != unlimited {
		n, err := ParseCount(words[0])
		if err != nil {
			return Concurrency{}, err
		}
		c.Limit = n
	}
	err := parseModifiers(words[1:], map[string]modifier{"per": scopeModifier(&c.Scope)})
	if err != nil {
		return Concurrency{}, err
	}
	return c, nil
}

// ParseStripeMeter reads `<event> [unit] [all]`. Its errors are *WordError.
func ParseStripeMeter(words []string) (StripeMeter, error) {
	if len(words) == 0 {
		return StripeMeter{}, &WordError{"", "the name of a meter event is missing"}
	}
	m := StripeMeter{Event: words[0], Unit: Requests}
	if problem := eventProblem(m.Event); problem != "" {
		return StripeMeter{}, &WordError{m.Event, problem}
	}
	rest := words[1:]
	if len(rest) > 0 && rest[0] != "all" {
		m.Unit, rest = rest[0], rest[1:]
		if problem := UnitProblem(m.Unit); problem != "" {
			return StripeMeter{}, &WordError{m.Unit, problem}
		}
	}
	if len(rest) > 0 && rest[0] == "all" {
		m.All, rest = true, rest[1:]
	}
	if len(rest) > 0 {
		return StripeMeter{}, &WordError{rest[0], "is one word too many: write <event> [unit] [all]"}
	}
	return m, nil
}

// ParseStatusRange reads 404, 2xx or 400-499. Its errors are *WordError.
func ParseStatusRange(word string) (StatusRange, error) {
	if len(word) == 3 && strings.HasSuffix(word, "xx") && word[0] >= '1' && word[0] <= '5' {
		from := int(word[0]-'0') * 100
		return StatusRange{from, from + 99}, nil
	}
	low, high, isRange := strings.Cut(word, "-")
	if !isRange {
		high = low
	}
	from, fromOK := parseStatus(low)
	to, toOK := parseStatus(high)
	if !fromOK || !toOK || from > to {
		return StatusRange{}, &WordError{word, "is not a status: write 404, 2xx or 400-499"}
	}
	return StatusRange{from, to}, nil
}

func parseStatus(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && len(s) == 3 && n >= 100 && n <= 599
}

// amount is `N [unit]/D`.
type amount struct {
	count      int64
	unit, span string
}

func parseAmount(words []string, example string) (a amount, rest []string, err error) {
	if len(words) == 0 {
		return a, nil, &WordError{"", "a limit is missing: write " + example + " or unlimited"}
	}
	number, span, found := strings.Cut(words[0], "/")
	a, rest = amount{count: Unlimited, unit: Requests, span: span}, words[1:]
	if number != unlimited {
		if a.count, err = ParseCount(number); err != nil {
			return a, nil, err
		}
	}
	if found {
		return a, rest, nil
	}
	if len(rest) == 0 {
		return a, nil, &WordError{number, "for how long? Write " + example}
	}
	if a.unit, a.span, found = strings.Cut(rest[0], "/"); !found {
		return a, nil, &WordError{rest[0], "for how long? Write " + example}
	}
	if problem := UnitProblem(a.unit); problem != "" {
		return a, nil, &WordError{a.unit, problem}
	}
	return a, rest[1:], nil
}

// modifier reads what follows its word.
type modifier func(m *modifiers) error

// modifiers are the words after a limit.
type modifiers struct {
	name string // of the one being read
	rest []string
}

func parseModifiers(words []string, known map[string]modifier) error {
	seen := map[string]bool{}
	m := modifiers{rest: words}
	for len(m.rest) > 0 {
		m.name, m.rest = m.rest[0], m.rest[1:]
		read, ok := known[m.name]
		switch {
		case !ok && m.name == "max":
			return &WordError{m.name, "stands after overage bill"}
		case !ok:
			return &WordError{m.name, "is not known here"}
		case seen[m.name]:
			return &WordError{m.name, "is said twice"}
		}
		seen[m.name] = true
		if err := read(&m); err != nil {
			return err
		}
	}
	return nil
}

func (m *modifiers) word(what string) (string, error) {
	if len(m.rest) == 0 {
		return "", &WordError{m.name, what + " is missing after it"}
	}
	word := m.rest[0]
	m.rest = m.rest[1:]
	return word, nil
}

func (m *modifiers) count() (int64, error) { return m.countOf(m.name) }

func (m *modifiers) countOf(name string) (int64, error) {
	m.name = name
	word, err := m.word("a number")
	if err != nil {
		return 0, err
	}
	return ParseCount(word)
}

func scopeModifier(to *Scope) modifier {
	return func(m *modifiers) error {
		word, err := m.word("key or customer")
		if err != nil {
			return err
		}
		if *to = Scope(word); !to.valid() {
			return &WordError{word, "is not a scope: write per key or per customer"}
		}
		return nil
	}
}
