// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"bytes"
	"encoding/json"

	"github.com/keytoll/keytoll/plugin/plan"
)

// scanner follows paths through JSON that comes in pieces. It skips what is
// not on a path without looking into it, and keeps no more of the text than
// one key as long as a path's. It does not check that the text is JSON: of
// other text it may find nothing, or a number where a path would be.
type scanner struct {
	targets []target
	found   func(slot int, f figure)

	state   state
	open    []targets // of each object on a path that is open: the targets below it
	pending targets   // of the value that comes
	depth   int       // of containers being skipped
	escaped bool      // in a string, behind a backslash
	key     []byte    // as written, without its quotes
	maxKey  int       // the most bytes that a key on a path may be written in
	longKey bool      // the key is longer than that
	number  figure
	digits  int
}

// target is a path that is looked for, and where to put its number.
type target struct {
	path []string
	slot int
}

// targets is a set of indexes into scanner.targets.
type targets uint32

// state is what the scanner expects, or is in.
type state int

// The states of a scanner.
const (
	inRoot   state = iota // a value comes, not below any other
	inValue               // a value comes, behind a key
	inObject              // a key, a comma or the end of the object comes
	inKey
	inColon
	inNumber
	inSkip       // a container that is on no path
	inSkipString // a string in that, or one that is no key
	inSkipScalar // a number or a word that is on no path
)

// maxEscape is how long the escape of one character of a key may be: \u0041.
const maxEscape = 6

// look adds a path to those that are looked for.
func (s *scanner) look(t target) {
	s.targets = append(s.targets, t)
	for _, name := range t.path {
		s.maxKey = max(s.maxKey, len(name)*maxEscape)
	}
}

// reset begins anew: what was not finished is forgotten.
func (s *scanner) reset() {
	s.state, s.open, s.depth = inRoot, s.open[:0], 0
}

func (s *scanner) scan(p []byte) {
	for i := 0; i < len(p); i++ {
		switch s.state {
		case inSkip:
			n := bytes.IndexAny(p[i:], `"{}[]`)
			if n < 0 {
				return
			}
			i += n
		case inSkipString:
			if s.escaped {
				break
			}
			n := bytes.IndexAny(p[i:], `"\`)
			if n < 0 {
				return
			}
			i += n
		}
		s.step(p[i])
	}
}

func (s *scanner) step(c byte) {
	switch s.state {
	case inRoot, inValue:
		s.beginValue(c)
	case inObject:
		switch c {
		case '"':
			s.state, s.key, s.longKey, s.escaped = inKey, s.key[:0], false, false
		case '}':
			s.open = s.open[:len(s.open)-1]
			s.endValue()
		}
	case inKey:
		s.keyByte(c)
	case inColon:
		if c == ':' {
			s.state = inValue
		}
	case inNumber:
		s.numberByte(c)
	case inSkip:
		s.skipByte(c)
	case inSkipString:
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\':
			s.escaped = true
		case c == '"':
			s.endValue()
		}
	case inSkipScalar:
		if endsScalar(c) {
			s.endValue()
			s.step(c) // which means something outside of it
		}
	}
}

func (s *scanner) beginValue(c byte) {
	if isSpace(c) || s.state == inRoot && (c == ',' || c == '}' || c == ']') {
		return
	}
	below := s.pending
	if s.state == inRoot {
		below = 1<<len(s.targets) - 1
	}
	complete := s.ending(below)
	if complete != 0 && c != 'n' && (c < '0' || c > '9') {
		s.tell(complete, figure{}) // given, and no whole number
	}
	switch {
	case c == '{' && below&^complete != 0:
		s.open = append(s.open, below&^complete)
		s.state = inObject
	case c == '{' || c == '[':
		s.state, s.depth = inSkip, 1
	case c == '"':
		s.state, s.escaped = inSkipString, false
	case complete != 0 && c >= '0' && c <= '9':
		s.pending, s.state, s.number, s.digits = complete, inNumber, figure{known: true}, 0
		s.numberByte(c)
	default:
		s.state = inSkipScalar
		if endsScalar(c) { // a key without a value
			s.step(c)
		}
	}
}

// ending returns those of the targets whose path ends at the value that comes.
func (s *scanner) ending(of targets) (complete targets) {
	for i, t := range s.targets {
		if of&(1<<i) != 0 && len(t.path) == len(s.open) {
			complete |= 1 << i
		}
	}
	return complete
}

// endValue goes back to what the value was in.
func (s *scanner) endValue() {
	switch {
	case s.depth > 0:
		s.state = inSkip
	case len(s.open) > 0:
		s.state = inObject
	default:
		s.state = inRoot
	}
}

func (s *scanner) skipByte(c byte) {
	switch c {
	case '"':
		s.state, s.escaped = inSkipString, false
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.depth--; s.depth == 0 {
			s.endValue()
		}
	}
}

func (s *scanner) keyByte(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.pending = s.below()
		s.state = inColon
		return
	}
	if s.longKey = s.longKey || len(s.key) == s.maxKey; !s.longKey {
		s.key = append(s.key, c)
	}
}

// below returns the targets that the key just read leads to.
func (s *scanner) below() (found targets) {
	if s.longKey {
		return 0
	}
	key := s.key
	if bytes.IndexByte(key, '\\') >= 0 {
		var text string
		if json.Unmarshal([]byte(`"`+string(key)+`"`), &text) != nil {
			return 0
		}
		key = []byte(text)
	}
	level := len(s.open) - 1
	for i, t := range s.targets {
		if s.open[level]&(1<<i) != 0 && level < len(t.path) && t.path[level] == string(key) {
			found |= 1 << i
		}
	}
	return found
}

func (s *scanner) numberByte(c byte) {
	if endsScalar(c) {
		if !s.number.known {
			s.number.units = 0
		}
		s.tell(s.pending, s.number)
		s.endValue()
		s.step(c) // which means something outside of it
		return
	}
	s.digits++
	next := s.number.units*10 + int64(c) - '0'
	switch {
	case c < '0' || c > '9', next > plan.MaxCount, s.digits == 2 && s.number.units == 0:
		s.number.known = false
	case s.number.known:
		s.number.units = next
	}
}

func (s *scanner) tell(complete targets, f figure) {
	for i, t := range s.targets {
		if complete&(1<<i) != 0 {
			s.found(t.slot, f)
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func endsScalar(c byte) bool { return isSpace(c) || c == ',' || c == '}' || c == ']' }
