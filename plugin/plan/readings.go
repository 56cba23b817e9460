// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"iter"
	"math/bits"
	"strings"
	"unicode/utf8"
)

const (
	// maxSuspicious and maxTraits bound the work of comparing readings: who
	// sends more than that has his path refused.
	maxSuspicious = 4096
	maxTraits     = 5

	// separated stands in a reading for a slash that separates nothing. No
	// pattern contains this byte: it is not UTF-8.
	separated = 0xff
)

// plain reports whether there is only one way to read an escaped path: no
// escapes, no empty or dot segments, no parameters, nothing that some servers
// take for a slash.
func plain(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		c := path[i]
		if c == '%' || c == ';' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return false
		}
		if c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.' && dotsLead(path[i+1:])) {
			return false
		}
	}
	return true
}

// dotsLead reports whether s begins with a segment of one or two dots.
func dotsLead(s string) bool {
	s = strings.TrimPrefix(s, ".")
	s = strings.TrimPrefix(s, ".")
	return s == "" || s[0] == '/'
}

// trait is one thing in a path that servers read in two ways.
type trait uint

// The traits of a path, each with its strict and its lax reading.
const (
	escapedTwice trait = 1 << iota // %252F: decoded once, or twice
	escapedSlash                   // %2F: a character, or a separator
	overlong                       // %C0%AF: bytes, or the ASCII character a lax decoder sees
	backslash                      // a character, or a separator
	zeroByte                       // a character, or the end
	parameters                     // /x;y=1/: a part of the segment, or dropped
	emptyFirst                     // //: a segment, or none
	dotSegments                    // /../: a segment, or resolved
	emptyLast                      // // once dots are resolved
	noTrait
)

// readings yields each way in which a server may read the escaped path,
// decoded. It yields none for a path that is not to be read at all: a broken
// escape, or too much to compare.
func readings(escaped string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if escaped == "" || escaped[0] != '/' || !validEscapes(escaped) {
			return
		}
		present := traits(escaped)
		if present != 0 && (len(escaped) > maxSuspicious || bits.OnesCount(uint(present)) > maxTraits) {
			return
		}
		for lax := range noTrait {
			if lax&^present == 0 && !yield(read(escaped, lax)) {
				return
			}
		}
	}
}

// traits returns those the path has in any reading.
func traits(escaped string) (present trait) {
	add := func(t trait, found bool) {
		if found {
			present |= t
		}
	}
	once := decode(escaped, '/')
	// The laxest reading has every character that any reading has.
	all := decode(once, '/')
	add(escapedTwice, all != once)
	add(escapedSlash, strings.Count(all, "/") > strings.Count(escaped, "/"))
	folded := foldOverlong(all)
	add(overlong, folded != all)
	all = folded
	add(backslash, strings.Contains(all, `\`))
	all = strings.ReplaceAll(all, `\`, "/")
	add(zeroByte, strings.Contains(all, "\x00"))
	add(parameters, strings.Contains(all, ";"))
	cut := present&(zeroByte|parameters) != 0 // what may leave an empty segment, or dots alone
	empty := cut || strings.Contains(all, "//")
	dots := cut && strings.Contains(all, "/.") || resolveDots(all) != all
	add(emptyFirst, empty)
	add(dotSegments, dots)
	add(emptyLast, empty && dots)
	return present
}

// read reads the path in one way: the traits in lax are read the lax way.
func read(escaped string, lax trait) string {
	slash := byte(separated)
	if lax&escapedSlash != 0 {
		slash = '/'
	}
	s := decode(escaped, slash)
	if lax&escapedTwice != 0 {
		s = decode(s, slash)
	}
	if lax&overlong != 0 {
		s = foldOverlong(s)
	}
	if lax&backslash != 0 {
		s = strings.ReplaceAll(s, `\`, "/")
	}
	if lax&zeroByte != 0 {
		s, _, _ = strings.Cut(s, "\x00")
	}
	if lax&parameters != 0 {
		s = dropParameters(s)
	}
	if lax&emptyFirst != 0 {
		s = mergeSlashes(s)
	}
	if lax&dotSegments != 0 {
		s = resolveDots(s)
	}
	if lax&emptyLast != 0 {
		s = mergeSlashes(s)
	}
	return s
}

func validEscapes(s string) bool {
	for i := range len(s) {
		if s[i] == '%' {
			if _, ok := escapedByte(s[i:]); !ok {
				return false
			}
		}
	}
	return true
}

// decode replaces escapes, those of a slash by the byte given. A broken escape
// stays as it is.
func decode(s string, slash byte) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c, ok := escapedByte(s[i:])
		switch {
		case !ok:
			c = s[i]
		case c == '/':
			c = slash
		}
		if ok {
			i += 2
		}
		out = append(out, c)
	}
	return string(out)
}

// escapedByte returns the byte that s begins with an escape of.
func escapedByte(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, highOK := hexDigit(s[1])
	low, lowOK := hexDigit(s[2])
	return high<<4 | low, highOK && lowOK
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// foldOverlong replaces UTF-8 sequences longer than their character needs,
// where that is ASCII.
func foldOverlong(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		c, n := overlongByte(s[i:])
		if n > 0 && out == nil {
			out = append(make([]byte, 0, len(s)), s[:i]...)
		}
		switch {
		case n > 0:
			out = append(out, c)
			i += n - 1
		case out != nil:
			out = append(out, s[i])
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}

// overlongByte returns the ASCII character that s begins with an overlong form
// of, and the length of that form; 0 where it begins with none.
func overlongByte(s string) (c byte, n int) {
	value := 0
	switch s[0] {
	case 0xc0, 0xc1:
		n, value = 2, int(s[0]&1)
	case 0xe0:
		n = 3
	case 0xf0:
		n = 4
	default:
		return 0, 0
	}
	if len(s) < n {
		return 0, 0
	}
	for _, b := range []byte(s[1:n]) {
		if b&0xc0 != 0x80 {
			return 0, 0
		}
		value = value<<6 | int(b&0x3f)
	}
	if value >= utf8.RuneSelf {
		return 0, 0
	}
	return byte(value), n
}

func dropParameters(s string) string {
	var out strings.Builder
	for segment := range strings.SplitAfterSeq(s, "/") {
		name, _, found := strings.Cut(segment, ";")
		out.WriteString(name)
		if found && strings.HasSuffix(segment, "/") {
			out.WriteByte('/')
		}
	}
	return out.String()
}

func mergeSlashes(s string) string {
	if !strings.Contains(s, "//") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] != '/' || i == 0 || s[i-1] != '/' {
			out = append(out, s[i])
		}
	}
	return string(out)
}

// resolveDots removes dot segments as in RFC 3986, 5.2.4.
func resolveDots(s string) string {
	if !strings.Contains(s, "/.") {
		return s
	}
	var kept []string
	segments := strings.Split(s, "/")[1:]
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case segment == "..":
			kept = kept[:max(len(kept)-1, 0)]
		case segment != ".":
			kept = append(kept, segment)
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}
