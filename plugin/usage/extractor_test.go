// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/plugin/plan"
)

// extract gives the body to an extractor in pieces of size bytes.
func extract(path string, sse bool, body string, size int) (int64, bool) {
	e := NewExtractor(path, sse)
	for piece := range slices.Chunk([]byte(body), size) {
		_, _ = e.Write(piece)
	}
	return e.Units()
}

const unknown = -1

func check(t *testing.T, path string, sse bool, body string, want int64) {
	t.Helper()
	for size := 1; size <= len(body); size++ {
		if size == 200 { // longer than any token that matters
			size = len(body)
		}
		n, known := extract(path, sse, body, size)
		if !known {
			n = unknown
		}
		if n != want {
			t.Errorf("%s in pieces of %d of\n%s\ngot %d, want %d", path, size, body, n, want)
			return
		}
	}
}

func TestUnitsAreReadFromJSON(t *testing.T) {
	for _, c := range []struct {
		path, body string
		want       int64
	}{
		{"usage.total_tokens", `{"id":"x","choices":[{"usage":{"total_tokens":1}}],"usage":{"prompt_tokens":9,"total_tokens":42}}`, 42},
		{"usage.total_tokens", `{"usage":{"total_tokens":0}}`, 0},
		{"usage.total_tokens", `{"usage":{"total_tokens":9007199254740992}}`, plan.MaxCount},
		{"usage.total_tokens", "\n{ \"usage\" :\t{ \"total_tokens\" : 7 } }\n", 7},
		{"usage.total_tokens", `{"a":"{\"usage\":{\"total_tokens\":1}}","b":"\\","usage":{"x":"}","total_tokens":5}}`, 5},
		{"usage.total_tokens", `{"usage":{"usage":{"total_tokens":1},"total_tokens":2}}`, 2},
		{"usage.total_tokens", `{"us\u0061ge":{"total\u005ftokens":8}}`, 8},
		{"usage.total_tokens", `{"` + strings.Repeat("usage", 1000) + `":1,"usage":{"total_tokens":3}}`, 3},
		{"usage.total_tokens", `{"usage":{"prompt_tokens_details":{"total_tokens":1},"total_tokens":6}}`, 6},
		{"n", `{"n":12}`, 12},
		{"n", `{"n":1}{"n":2}` + "\n" + `{"m":3}`, 2},
		{"n", `{"n":1,"n":2}`, 2},
		{"a.a", `{"a":{"a":4}}`, 4},
		{"message", `{"message":4}`, 4},
		{"usage.output_tokens", `{"type":"message","usage":{"input_tokens":10,"output_tokens":25}}`, 25},
		{"usage.total_tokens", `{"type":"message","usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":25}}`, 40},
		{"usage.total_tokens", `{"usage":{"input_tokens":10,"output_tokens":25,"total_tokens":36}}`, 36},
		{"usage.total_tokens", `{"usage":{"input_tokens":9007199254740992,"output_tokens":25}}`, plan.MaxCount},
	} {
		check(t, c.path, false, c.body, c.want)
	}
}

func TestWhatIsNoWholeNumberIsUnknown(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `[]`, `7`, `"usage"`, `null`, `{"usage":null}`, `{"usage":[]}`, `{"usage":7}`, `{"usage":{}}`,
		`[{"usage":{"total_tokens":1}}]`, `{"usage":[{"total_tokens":1}]}`, `{"data":{"usage":{"total_tokens":1}}}`,
		`{"usage":{"total_tokens":null}}`, `{"usage":{"total_tokens":-1}}`, `{"usage":{"total_tokens":1.5}}`,
		`{"usage":{"total_tokens":1e3}}`, `{"usage":{"total_tokens":"12"}}`, `{"usage":{"total_tokens":true}}`,
		`{"usage":{"total_tokens":[1]}}`, `{"usage":{"total_tokens":{"n":1}}}`, `{"usage":{"total_tokens":012}}`,
		`{"usage":{"total_tokens":9007199254740993}}`, `{"usage":{"total_tokens":99999999999999999999999999}}`,
		`{"usage":{"total_tokens":12`, `{"usage":{"total_tokens":}}`, `{"usage":{"total_tokens"}}`, `{"usage":{"total_tokens`,
		`{"Usage":{"total_tokens":1}}`, `{"usage":{"total_tokens":1,"total_tokens":-1}}`,
		`{"usage":{"output_tokens":25}}`, `{"usage":{"input_tokens":1,"output_tokens":-25}}`, `<html>503</html>`,
		`{"usage.total_tokens":1}`, `{"message":{"usage":{"total_tokens":1}}}`,
	} {
		check(t, "usage.total_tokens", false, body, unknown)
	}
}

// The shapes are those of the APIs' documentation.
const (
	openAI = `data: {"id":"c1","object":"chat.completion.chunk","choices":[{"delta":{"content":"usage: {\"total_tokens\":1}"}}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":33,"total_tokens":42}}

data: [DONE]

`
	openAIResponse = `event: response.created
data: {"type":"response.created","response":{"id":"r1","usage":null}}

event: response.completed
data: {"type":"response.completed","response":{"id":"r1","usage":{"input_tokens":37,"output_tokens":11,"total_tokens":48}}}

`
	anthropic = `event: message_start
data: {"type":"message_start","message":{"id":"m1","content":[],"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":1}}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\"usage\""}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

`
)

func TestUnitsAreReadFromEvents(t *testing.T) {
	for _, c := range []struct {
		path, body string
		want       int64
	}{
		{"usage.total_tokens", openAI, 42},
		{"usage.completion_tokens", openAI, 33},
		{"usage.total_tokens", openAIResponse, 48},
		{"usage.input_tokens", openAIResponse, 37},
		{"usage.output_tokens", anthropic, 15},
		{"usage.input_tokens", anthropic, 25},
		{"usage.total_tokens", anthropic, 43},
		{"n", "data: {\"n\":1}\n\ndata: {\"n\":2}\n\n", 2},
		{"n", "data: {\"n\":1}\n\ndata: {\"n\":null}\n\n", 1},
		{"n", "data: {\"n\":1}\n\ndata: {\"n\":-1}\n\n", unknown},
		{"n", "data: {\"n\":1}\n\ndata: {\"m\":", 1},
		{"n", "data: {\"n\":1}\r\n\r\ndata:{\"n\":2}\r\n\r\n", 2},
		{"n", "data: {\"n\":1}\r\rdata:{\"n\":2}\r\r", 2},
		{"n", "data: {\"n\":1}\ndata: {\"n\":2}\n", 2},
		{"n", "data: {\ndata: \"n\":\ndata: 2\ndata: }\n\n", 2},
		{"n", "data: {\"m\":{\n\ndata: {\"n\":2}\n\n", 2},
		{"n", "data: {\"m\":\"\n\ndata: {\"n\":2}\n\n", 2},
		{"n", "\ufeffdata: {\"n\":2}\n\n", 2},
		{"n", ": data: {\"n\":1}\n\n", unknown},
		{"n", "dat: {\"n\":1}\n\n", unknown},
		{"n", " data: {\"n\":1}\n\n", unknown},
		{"n", "event: x\nid: 7\ndata: {\"n\":0}\nretry: 3\n\n", 0},
		{"n", "data\n\ndata: {\"n\":3}\n\n", 3},
		{"n", "data: 7\n\ndata: \"x\"\n\ndata: {\"n\":3}\n\n", 3},
		{"n", "", unknown},
	} {
		check(t, c.path, true, c.body, c.want)
	}
}

func TestExtractionKeepsNothingOfALargeBody(t *testing.T) {
	e := NewExtractor("usage.total_tokens", false)
	_, _ = io.WriteString(e, `{"text":"`)
	filler := bytes.Repeat([]byte(`x\"[{`), 1000)
	if allocations := testing.AllocsPerRun(1000, func() { _, _ = e.Write(filler) }); allocations != 0 {
		t.Errorf("got %v allocations for 5 kB, want 0", allocations)
	}
	_, _ = io.WriteString(e, `","`+strings.Repeat("k", 1<<20)+`":1,"usage":{"total_tokens":6}}`)
	if n, known := e.Units(); n != 6 || !known {
		t.Errorf("got %d, %v, want 6", n, known)
	}
	if cap(e.json.key) > 1024 {
		t.Errorf("%d bytes of a key are kept", cap(e.json.key))
	}
}

// wholly is the judge: it reads the body at once with encoding/json.
func wholly(path []string, body string) (n int64, known, valid bool) {
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	var read func(at []string) error
	read = func(at []string) error {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		onPath := slices.Equal(at, path)
		switch token := token.(type) {
		case json.Delim:
			if onPath {
				n, known = 0, false
			}
			for decoder.More() {
				below := []string{"[]"}
				if token == '{' {
					key, err := decoder.Token()
					if err != nil {
						return err
					}
					below = []string{key.(string)}
				}
				if err := read(append(slices.Clone(at), below...)); err != nil {
					return err
				}
			}
			_, err = decoder.Token()
			return err
		case json.Number:
			if onPath {
				var err error
				n, err = token.Int64()
				known = err == nil && n >= 0 && n <= plan.MaxCount && token != "-0"
			}
		case nil:
		default:
			if onPath {
				known = false
			}
		}
		return nil
	}
	if !json.Valid([]byte(body)) || read(nil) != nil {
		return 0, false, false
	}
	return n, known, true
}

func FuzzAnyPiecesAreReadLikeTheWhole(f *testing.F) {
	f.Add(`{"usage":{"tokens":12}}`, 3, 5)
	f.Add(`{"a":[1,{"usage":2}],"usage":{"x":null,"tokens":0},"b":"\u0022\\"}`, 1, 20)
	f.Add(`{"usage":{"tokens":1},"usage":{"tokens":-2.5e3}}`, 7, 8)
	f.Add(`{"us\u0061ge":{"tok\u0065ns":99},"[]":{}}`, 2, 4)
	f.Add(openAI, 10, 100)
	f.Add(anthropic, 11, 13)
	f.Fuzz(func(t *testing.T, body string, a, b int) {
		for _, sse := range []bool{false, true} {
			whole := fmt.Sprint(extract("usage.tokens", sse, body, max(len(body), 1)))
			if bytewise := fmt.Sprint(extract("usage.tokens", sse, body, 1)); bytewise != whole {
				t.Fatalf("%q (events: %v): got %s byte by byte, %s at once", body, sse, bytewise, whole)
			}
			a, b := min(max(a, 0), len(body)), min(max(b, 0), len(body))
			e := NewExtractor("usage.tokens", sse)
			for _, piece := range []string{body[:min(a, b)], body[min(a, b):max(a, b)], body[max(a, b):]} {
				_, _ = io.WriteString(e, piece)
			}
			if pieces := fmt.Sprint(e.Units()); pieces != whole {
				t.Fatalf("%q (events: %v): got %s in pieces, %s at once", body, sse, pieces, whole)
			}
		}
		want, wantKnown, valid := wholly([]string{"usage", "tokens"}, body)
		if !valid || strings.ContainsRune(body, '\ufffd') {
			return
		}
		got, known := extract("usage.tokens", false, body+"\n", max(len(body), 1))
		if known != wantKnown || known && got != want {
			t.Fatalf("%q: got %d, %v; want %d, %v", body, got, known, want, wantKnown)
		}
	})
}

func BenchmarkExtractor(b *testing.B) {
	body := []byte(strings.Repeat(`data: {"id":"c1","object":"chat.completion.chunk","choices":[{"delta":{"content":" word"}}],"usage":null}`+"\n\n", 100))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	e := NewExtractor("usage.total_tokens", true)
	for b.Loop() {
		_, _ = e.Write(body)
	}
}
