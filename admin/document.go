// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
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
	digest  [sha256.Size]byte
}

// emptyDocument stands for a body that was not sent.
func emptyDocument() *document {
	return &document{members: map[string]any{}, digest: sha256.Sum256([]byte("{}"))}
}

// parseDocument reads raw strictly. Its errors are problems; none repeats what
// was sent.
func parseDocument(raw []byte) (*document, error) {
	if !utf8.Valid(raw) {
		return nil, wrongBody("The body is not valid UTF-8.")
	}
	var probe json.RawMessage
	if err := json.Unmarshal(raw, &probe); err != nil {
		if syntax, is := err.(*json.SyntaxError); is { //nolint:errorlint // Unmarshal returns it bare
			return nil, wrongBody(fmt.Sprintf("The body is not valid JSON: see byte %d.", syntax.Offset))
		}
		return nil, wrongBody("The body is not valid JSON.")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	value, err := readValue(decoder, "", maxDepth)
	if err != nil {
		return nil, err
	}
	members, is := value.(map[string]any)
	if !is {
		return nil, wrongBody("The body must be a JSON object.")
	}
	canonical, err := json.Marshal(members) // members in order of their names
	if err != nil {
		return nil, wrongBody("The body is not valid JSON.")
	}
	return &document{members: members, digest: sha256.Sum256(canonical)}, nil
}

// readValue reads the next value, which stands at path.
func readValue(decoder *json.Decoder, path string, depth int) (any, error) {
	read, err := decoder.Token()
	if err != nil {
		return nil, wrongBody("The body is not valid JSON.")
	}
	opening, is := read.(json.Delim)
	if !is {
		return read, nil
	}
	if depth == 0 {
		return nil, wrongBody(fmt.Sprintf("The body is nested deeper than %d.", maxDepth))
	}
	if opening == '[' {
		return readList(decoder, path, depth-1)
	}
	return readObject(decoder, path, depth-1)
}

func readList(decoder *json.Decoder, path string, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		value, err := readValue(decoder, path+"["+strconv.Itoa(len(list))+"]", depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := decoder.Token()
	return list, err
}

func readObject(decoder *json.Decoder, path string, depth int) (any, error) {
	members := map[string]any{}
	for decoder.More() {
		read, err := decoder.Token()
		if err != nil {
			return nil, wrongBody("The body is not valid JSON.")
		}
		name, _ := read.(string)
		at := join(path, name)
		if _, twice := members[name]; twice {
			return nil, wrongField(at, "It appears twice.")
		}
		if members[name], err = readValue(decoder, at, depth); err != nil {
			return nil, err
		}
	}
	_, err := decoder.Token()
	return members, err
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
