// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"strings"

	"github.com/keytoll/keytoll/plugin/plan"
)

// Extractor reads from an answer's body how many units it used, while the body
// passes by: it keeps only the figures it looks for, whatever the body's size.
// It is not safe for concurrent use.
type Extractor struct {
	json  scanner
	lines *eventLines // nil: the body is JSON, or several one after the other
	slots []figure    // what was asked for first, then what it can be summed from
}

// figure is a number that the body may carry.
type figure struct {
	units int64
	known bool
}

// The parts of a total that Anthropic's API gives apart from each other.
// Source: https://docs.claude.com/en/api/messages, usage
const (
	total = "total_tokens"

	inputSlot  = 1
	outputSlot = 2
)

// NewExtractor returns an extractor of the whole number at path, names with
// a dot between, as usage.total_tokens. With sse the body is a stream of
// server-sent events, and the last data that carries the path holds.
//
// In events the path is also looked for below "message" (Anthropic's
// message_start) and "response" (OpenAI's response.completed). A total_tokens
// that is nowhere given is the sum of the input, cache and output tokens
// beside which it would stand, as Anthropic gives them.
func NewExtractor(path string, sse bool) *Extractor {
	names := strings.Split(path, ".")
	parents, leaf := names[:len(names)-1], names[len(names)-1]
	leaves := []string{leaf}
	if leaf == total {
		leaves = append(leaves, "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
	}
	prefixes := [][]string{nil}
	e := &Extractor{slots: make([]figure, len(leaves))}
	if sse {
		e.lines = &eventLines{first: true}
		prefixes = append(prefixes, []string{"message"}, []string{"response"})
	}
	for _, prefix := range prefixes {
		for slot, leaf := range leaves {
			full := append(append(append([]string{}, prefix...), parents...), leaf)
			e.json.look(target{full, slot})
		}
	}
	e.json.found = e.found
	return e
}

// Write takes the next bytes of the body, in pieces of any size. It never
// fails: what cannot be read is unknown.
func (e *Extractor) Write(p []byte) (int, error) {
	if e.lines == nil {
		e.json.scan(p)
	} else {
		e.lines.scan(p, &e.json)
	}
	return len(p), nil
}

// Units returns how many units the answer says were used. known is false where
// it says nothing, or nothing that is a whole number from 0 to plan.MaxCount.
func (e *Extractor) Units() (n int64, known bool) {
	asked := e.slots[0]
	if asked.known || len(e.slots) == 1 || !e.slots[inputSlot].known || !e.slots[outputSlot].known {
		return asked.units, asked.known
	}
	for _, part := range e.slots[1:] {
		n += part.units
	}
	return min(n, plan.MaxCount), true
}

func (e *Extractor) found(slot int, f figure) { e.slots[slot] = f }
