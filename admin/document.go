// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep the objects and lists of a body may be nested.
const maxDepth = 32

// A document is a body that was read: one JSON object in which no member
// appears twice.
type document struct {
	members map[string]any // values are nil, bool, json.Number, string, []any, map[string]any
}

// emptyDocument stands for a body that was not sent.
func emptyDocument() *document { return &document{members: map[string]any{}} }

// digest is the same for bodies that say the same, however they are written.
func (d *document) digest() [sha256.Size]byte { return sha256.Sum256(mustJSON(d.members)) }

// parseDocument reads raw strictly. Its errors are problems; none repeats what
// was sent.
func parseDocument(raw []byte) (*document, error) {
	if !utf8.Valid(raw) {
		return nil, wrongBody("The body is not valid UTF-8.")
	}
	if !json.Valid(raw) {
		var probe json.RawMessage
		if syntax := new(json.SyntaxError); errors.As(json.Unmarshal(raw, &probe), &syntax) {
			return nil, wrongBody(fmt.Sprintf("The body is not valid JSON: see byte %d.", syntax.Offset))
		}
		return nil, wrongBody("The body is not valid JSON.")
	}
	s := scanner{rest: raw}
	value, err := s.value("", maxDepth)
	if err != nil {
		return nil, err
	}
	members, is := value.(map[string]any)
	if !is {
		return nil, wrongBody("The body must be a JSON object.")
	}
	return &document{members: members}, nil
}

// A scanner reads JSON that is known to be valid.
type scanner struct{ rest []byte }

// next returns the first byte that is not white space, which stays.
func (s *scanner) next() byte {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	return s.rest[0]
}

// take returns the next n bytes.
func (s *scanner) take(n int) []byte {
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

// value reads the next value, which stands at path.
func (s *scanner) value(path string, depth int) (any, error) {
	switch c := s.next(); c {
	case '{', '[':
		if depth == 0 {
			return nil, wrongBody(fmt.Sprintf("The body is nested deeper than %d.", maxDepth))
		}
		s.take(1)
		if c == '[' {
			return s.list(path, depth-1)
		}
		return s.object(path, depth-1)
	case '"':
		return s.text(), nil
	case 'n':
		s.take(len("null"))
		return nil, nil
	case 't':
		s.take(len("true"))
		return true, nil
	case 'f':
		s.take(len("false"))
		return false, nil
	}
	end := bytes.IndexAny(s.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(s.rest)
	}
	return json.Number(s.take(end)), nil
}

func (s *scanner) list(path string, depth int) (any, error) {
	list := []any{}
	for s.next() != ']' {
		value, err := s.value(path+"["+strconv.Itoa(len(list))+"]", depth)
		if err != nil {
			return nil, err
		}
		if list = append(list, value); s.next() == ',' {
			s.take(1)
		}
	}
	s.take(1)
	return list, nil
}

func (s *scanner) object(path string, depth int) (any, error) {
	members := map[string]any{}
	for s.next() != '}' {
		name := s.text()
		at := join(path, name)
		if _, twice := members[name]; twice {
			return nil, wrongField(at, "It appears twice.")
		}
		s.next() // the colon
		s.take(1)
		value, err := s.value(at, depth)
		if err != nil {
			return nil, err
		}
		if members[name] = value; s.next() == ',' {
			s.take(1)
			s.next()
		}
	}
	s.take(1)
	return members, nil
}

// text reads a string.
func (s *scanner) text() string {
	end := 1
	for s.rest[end] != '"' {
		if s.rest[end] == '\\' {
			end++
		}
		end++
	}
	quoted := s.take(end + 1)
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:end])
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		panic("admin: a valid string cannot be read: " + err.Error())
	}
	return text
}

// join returns the path of a member of the object at path.
func join(path, name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// merged returns target as a merge patch changes it (RFC 7396): objects are
// merged, null takes a member away, anything else replaces. Neither is changed.
func merged(target, patch map[string]any) map[string]any {
	result := make(map[string]any, len(target)+len(patch))
	maps.Copy(result, target)
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(result, name)
		case map[string]any:
			inner, _ := result[name].(map[string]any)
			result[name] = merged(inner, value)
		default:
			result[name] = value
		}
	}
	return result
}
