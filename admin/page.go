// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keytoll/keytoll/plugin/store"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// list is one page of records, newest first.
type list[T any] struct {
	Data       []T     `json:"data"`
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"` // for the parameter after; null on the last page
}

// paged makes a page of items; cursor names the last of them.
func paged[T any](items []T, more bool, cursor func(T) string) list[T] {
	l := list[T]{Data: items, HasMore: more}
	if l.Data == nil {
		l.Data = []T{}
	}
	if more && len(items) > 0 {
		next := cursor(items[len(items)-1])
		l.NextCursor = &next
	}
	return l
}

// cut makes a page of all there is.
func cut[T any](all []T, p store.PageQuery, cursor func(T) string) list[T] {
	if p.After != "" {
		i := slices.IndexFunc(all, func(item T) bool { return cursor(item) == p.After })
		all = all[i+1:]
	}
	more := len(all) > p.Limit
	return paged(all[:min(len(all), p.Limit)], more, cursor)
}

// query reads the parameters of a call, each at most once; the first that is
// wrong is kept for finish.
type query struct {
	values url.Values
	wrong  error
}

// query returns the parameters of the call, of which only those named may be
// there, beside limit, after and q.
func (c *call) query(names ...string) (*query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, wrongParameter("", "The query of the URL cannot be read.")
	}
	given := make([]string, 0, len(values))
	for name := range values {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		switch {
		case !slices.Contains(names, name) && name != "limit" && name != "after" && name != "q":
			return nil, wrongParameter(join("", strings.ToValidUTF8(name, "")), "There is no such parameter.")
		case len(values[name]) > 1:
			return nil, wrongParameter(name, "It appears twice.")
		case !utf8.ValidString(values[name][0]) || textProblem(values[name][0], 512) != "":
			return nil, wrongParameter(name, "It must be plain text of up to 512 bytes.")
		}
	}
	return &query{values: values}, nil
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) fail(name, detail string) {
	if q.wrong == nil {
		q.wrong = wrongParameter(name, detail)
	}
}

// word reads one of the given words, the first where there is none.
func (q *query) word(name string, words ...string) string {
	value := q.text(name)
	if value == "" {
		return words[0]
	}
	if !slices.Contains(words, value) {
		q.fail(name, "It must be one of "+strings.Trim(strings.Join(words, ", "), ", ")+".")
	}
	return value
}

// when reads a time in RFC 3339; zero where there is none.
func (q *query) when(name string) time.Time {
	value := q.text(name)
	if value == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || at.UTC().Year() < 1970 || at.UTC().Year() > 9999 {
		q.fail(name, "It must be a time in RFC 3339, as 2026-11-30T12:00:00Z.")
	}
	return at.UTC()
}

// page reads limit, after and q, and reports what was wrong with any parameter.
func (q *query) page() (store.PageQuery, error) {
	p := store.PageQuery{Limit: defaultLimit, After: q.text("after"), Prefix: q.text("q")}
	if text := q.text("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			q.fail("limit", fmt.Sprintf("It must be between 1 and %d.", maxLimit))
		}
		p.Limit = n
	}
	return p, q.wrong
}
