// SPDX-License-Identifier: Apache-2.0

package usage

import "bytes"

// eventLines finds the data in server-sent events.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
type eventLines struct {
	first    bool // nothing but a byte order mark was read yet
	matched  int  // how much of dataField the line began with, or otherField
	begun    bool // the line has a byte
	returned bool // the last byte was a carriage return
}

const (
	dataField  = "data:"
	otherField = -1
	byteOrder  = "\xef\xbb\xbf"
)

// scan gives the data among the next bytes to s, and begins anew with each event.
func (l *eventLines) scan(p []byte, s *scanner) {
	for len(p) > 0 {
		if l.matched == len(dataField) || l.matched == otherField {
			n := bytes.IndexAny(p, "\r\n")
			if n < 0 {
				n = len(p)
			}
			if l.matched != otherField {
				s.scan(p[:n])
			}
			if p = p[n:]; len(p) == 0 {
				return
			}
		}
		l.step(p[0], s)
		p = p[1:]
	}
}

// step takes a byte at the beginning of a line, or the end of one.
func (l *eventLines) step(c byte, s *scanner) {
	returned := l.returned
	l.returned = c == '\r'
	switch {
	case c == '\n' && returned: // the second half of a line's end
	case c == '\n' || c == '\r':
		l.endLine(s)
	case l.first && bytes.IndexByte([]byte(byteOrder), c) >= 0: // a mark, which is no part of the line
	case c == dataField[l.matched]:
		l.matched++
		l.begun, l.first = true, false
	default:
		l.matched, l.begun, l.first = otherField, true, false
	}
}

func (l *eventLines) endLine(s *scanner) {
	switch {
	case !l.begun:
		s.reset()
	case l.matched == len(dataField):
		s.scan([]byte{'\n'}) // lines of data are joined by it
	}
	l.matched, l.begun, l.first = 0, false, false
}
