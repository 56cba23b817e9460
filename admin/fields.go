// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/keytoll/keytoll/plugin/plan"
)

// fields reads the members of one object, each by its name and kind. The first
// thing that is wrong is kept for finish, so that readers need not ask after
// each field. A member that is absent or null reads as zero.
type fields struct {
	path    string
	members map[string]any
	sent    map[string]any // what of members the body named: also nulls
	asked   map[string]bool
	wrong   *error // shared with the objects inside
}

// reading begins to read the document as a new record is made from it: null
// stands for absent.
func (d *document) reading() *fields { return d.patching(nil) }

// patching begins to read a record, given as the document that would make it,
// with d merged into it.
func (d *document) patching(record map[string]any) *fields {
	return &fields{members: merged(record, d.members), sent: d.members, asked: map[string]bool{}, wrong: new(error)}
}

// finish returns the first thing that was wrong, be it a member that nobody
// asked for.
func (f *fields) finish() error {
	f.close()
	return *f.wrong
}

// close is finish for an object inside: the outermost one tells.
func (f *fields) close() {
	names := []string{}
	for name := range f.members {
		names = append(names, name)
	}
	for name := range f.sent { // a null has gone from members
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !f.asked[name] {
			f.fail(name, "There is no such field.")
		}
	}
}

// fail keeps what is wrong with the member, if nothing was wrong before.
func (f *fields) fail(name, detail string) {
	if *f.wrong == nil {
		*f.wrong = wrongField(join(f.path, name), detail)
	}
}

// member returns the value of a member; nil where it is absent.
func (f *fields) member(name string) any {
	f.asked[name] = true
	return f.members[name]
}

// has reports whether the member is there.
func (f *fields) has(name string) bool { return f.member(name) != nil }

// text reads a string of up to longest bytes without control characters.
func (f *fields) text(name string, longest int) string {
	switch value := f.member(name).(type) {
	case nil:
	case string:
		if problem := textProblem(value, longest); problem != "" {
			f.fail(name, problem)
			return ""
		}
		return value
	default:
		f.fail(name, "It must be a string.")
	}
	return ""
}

func textProblem(s string, longest int) string {
	switch {
	case len(s) > longest:
		return fmt.Sprintf("It may have up to %d bytes.", longest)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "It must not have control characters."
	case strings.ContainsRune(s, unicode.ReplacementChar):
		return "It is not valid Unicode."
	}
	return ""
}

// flag reads a boolean.
func (f *fields) flag(name string) bool {
	value, is := f.member(name).(bool)
	if !is && f.has(name) {
		f.fail(name, "It must be true or false.")
	}
	return value
}

// when reads a time in RFC 3339, as UTC.
func (f *fields) when(name string) time.Time {
	text := f.text(name, 64)
	if text == "" {
		if f.has(name) {
			f.fail(name, "It must be a time in RFC 3339, as 2026-11-30T12:00:00Z.")
		}
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.UTC().Year() < 1970 || at.UTC().Year() > 9999 {
		f.fail(name, "It must be a time in RFC 3339, as 2026-11-30T12:00:00Z.")
		return time.Time{}
	}
	return at.UTC()
}

// integer reads a whole number between least and most.
func (f *fields) integer(name string, least, most int64) int64 {
	value, is := f.member(name).(json.Number)
	if !is {
		if f.has(name) {
			f.fail(name, "It must be a whole number.")
		}
		return 0
	}
	if strings.ContainsAny(value.String(), ".eE") {
		f.fail(name, "It must be a whole number.")
		return 0
	}
	n, err := strconv.ParseInt(value.String(), 10, 64)
	if err != nil || n < least || n > most {
		f.fail(name, fmt.Sprintf("It must be between %d and %d.", least, most))
		return 0
	}
	return n
}

// count reads a count of units, or the word unlimited as plan.Unlimited.
func (f *fields) count(name string) int64 {
	if word, is := f.member(name).(string); is {
		if word != "unlimited" {
			f.fail(name, `It must be a whole number or "unlimited".`)
		}
		return plan.Unlimited
	}
	return f.integer(name, 1, plan.MaxCount)
}

// word reads one of the given words; "" where it is absent.
func (f *fields) word(name string, words ...string) string {
	value := f.text(name, 100)
	if f.has(name) && !slices.Contains(words, value) {
		f.fail(name, "It must be one of "+strings.Join(words, ", ")+".")
		return ""
	}
	return value
}

// texts reads a list of up to most different strings; problem says what is
// wrong with one of them, or is empty.
func (f *fields) texts(name string, most int, problem func(string) string) []string {
	values, is := f.list(name, most)
	if !is {
		return nil
	}
	list := make([]string, 0, len(values))
	for i, value := range values {
		text, is := value.(string)
		switch {
		case !is:
			f.fail(at(name, i), "It must be a string.")
		case problem(text) != "":
			f.fail(at(name, i), sentence("it "+problem(text)))
		case slices.Contains(list, text):
			f.fail(at(name, i), "It appears twice.")
		}
		list = append(list, text)
	}
	return list
}

func (f *fields) list(name string, most int) ([]any, bool) {
	values, is := f.member(name).([]any)
	switch {
	case !is && f.has(name):
		f.fail(name, "It must be a list.")
	case len(values) > most:
		f.fail(name, fmt.Sprintf("It may have up to %d entries.", most))
		return nil, false
	}
	return values, is
}

// objects reads a list of up to most objects; nil where it is absent.
func (f *fields) objects(name string, most int) ([]*fields, bool) {
	values, is := f.list(name, most)
	if !is {
		return nil, false
	}
	list := make([]*fields, 0, len(values))
	for i, value := range values {
		members, is := value.(map[string]any)
		if !is {
			f.fail(at(name, i), "It must be an object.")
			continue
		}
		list = append(list, f.inner(at(name, i), members))
	}
	return list, true
}

// object reads an object; nil where it is absent. Who reads it calls close.
func (f *fields) object(name string) *fields {
	members, is := f.member(name).(map[string]any)
	if !is {
		if f.has(name) {
			f.fail(name, "It must be an object.")
		}
		return nil
	}
	return f.inner(name, members)
}

func (f *fields) inner(name string, members map[string]any) *fields {
	sent, _ := f.sent[name].(map[string]any)
	return &fields{path: join(f.path, name), members: members, sent: sent, asked: map[string]bool{}, wrong: f.wrong}
}

func at(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }
