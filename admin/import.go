// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// importChunk is how many lines are written in one transaction.
const importChunk = 500

// importedLine is the answer to one line.
type importedLine struct {
	Line     int          `json:"line"`   // from 1
	Result   importResult `json:"result"` // in a dry run: what it would be
	Key      *string      `json:"key"`
	Customer *string      `json:"customer"`
	Error    *lineError   `json:"error,omitempty"`
	Detail   string       `json:"detail,omitempty"`
}

type importResult string

const (
	lineCreated   importResult = "created"
	lineUnchanged importResult = "unchanged" // the hash is here already, of the same customer
	lineFailed    importResult = "error"
)

type lineError struct {
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

// importSummary is the last line of the answer.
type importSummary struct {
	Object    string `json:"object"`
	DryRun    bool   `json:"dry_run"`
	Lines     int    `json:"lines"`
	Created   int    `json:"created"`
	Unchanged int    `json:"unchanged"`
	Errors    int    `json:"errors"`
	Customers int    `json:"customers_created"`
}

// importKeys reads keys whose secrets were made elsewhere, one JSON object a
// line, and answers with a line for each, then a summary. Lines that are here
// already change nothing, so that an import that broke off is sent again whole;
// it needs no Idempotency-Key. Plans' max_keys do not hold: what is sold
// elsewhere already is taken over as it is.
func (s *Server) importKeys(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("dry_run")
	if err != nil {
		return nil, err
	}
	dryRun := q.word("dry_run", "false", "true") == "true"
	if q.wrong != nil {
		return nil, q.wrong
	}
	out := c.patient()
	results := bufio.NewWriterSize(out, maxBody)
	_ = out.controller.EnableFullDuplex() // HTTP/2 is duplex by itself
	i := &importer{
		s: s, c: c, now: s.o.Now(), dryRun: dryRun, controller: out.controller,
		lines: bufio.NewReaderSize(&patientBody{c.r.Body, out.controller}, maxBody),
		told:  results, results: json.NewEncoder(results),
		summary: importSummary{Object: "import_summary", DryRun: dryRun},
	}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	if err := i.run(ctx); err != nil {
		if ctx.Err() == nil {
			s.o.Logger.Error("import broke off", "request_id", c.requestID, "error", err)
		}
		panic(http.ErrAbortHandler) // what was answered stands; there is more that was not
	}
	return nil, nil
}

// patientBody is a body that may take its time in all, but must go on.
type patientBody struct {
	io.Reader
	controller *http.ResponseController
}

func (p *patientBody) Read(b []byte) (int, error) {
	_ = p.controller.SetReadDeadline(time.Now().Add(patience)) // where there is none, none is needed
	return p.Reader.Read(b)
}

// importer is one import that runs.
type importer struct {
	s          *Server
	c          *call
	now        time.Time
	dryRun     bool
	controller *http.ResponseController
	lines      *bufio.Reader
	told       *bufio.Writer
	results    *json.Encoder // writes to told
	summary    importSummary
	ended      bool
}

func (i *importer) run(ctx context.Context) error {
	for !i.ended {
		chunk, err := i.read()
		if err != nil {
			return err
		}
		if len(chunk) == 0 {
			break
		}
		if err := i.book(ctx, chunk); err != nil {
			return err
		}
		if err := i.answer(chunk); err != nil {
			return err
		}
	}
	if err := i.results.Encode(i.summary); err != nil {
		return err
	}
	return i.told.Flush()
}

// read returns the next lines, parsed; what is wrong with one is in its error.
func (i *importer) read() ([]*importLine, error) {
	var chunk []*importLine
	for len(chunk) < importChunk {
		raw, err := i.line()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		i.ended = err != nil
		if i.summary.Lines++; len(bytes.TrimSpace(raw)) > 0 {
			chunk = append(chunk, i.parse(raw, i.summary.Lines))
		}
		if i.ended {
			i.summary.Lines-- // what follows the last end of line, and is read as empty
			if len(bytes.TrimSpace(raw)) > 0 {
				i.summary.Lines++
			}
			break
		}
	}
	return chunk, nil
}

// line returns the next line. One that is too long comes cut, which is no JSON.
func (i *importer) line() ([]byte, error) {
	raw, err := i.lines.ReadSlice('\n')
	raw = bytes.Clone(raw)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = i.lines.ReadSlice('\n')
		raw = raw[:min(len(raw), maxBody)]
	}
	return raw, err
}

// book writes a chunk, and again where somebody else wrote to the same
// meanwhile.
func (i *importer) book(ctx context.Context, chunk []*importLine) error {
	for range maxTries {
		ch, err := i.prepare(ctx, chunk)
		if err != nil {
			return err
		}
		if i.dryRun {
			return nil
		}
		err = i.s.commit(ctx, ch.Mutations)
		taken := new(store.DuplicateError)
		switch {
		case errors.Is(err, store.ErrConflict), errors.As(err, &taken):
			continue
		case err != nil:
			return err
		}
		return i.bookUsed(ctx, chunk)
	}
	for _, line := range chunk {
		if line.result != lineFailed {
			line.fail(conflict("changed", "Its chunk was changed by somebody else at the same time. Send it again."))
		}
	}
	return nil
}

// answer tells what became of a chunk.
func (i *importer) answer(chunk []*importLine) error {
	for _, line := range chunk {
		told := importedLine{Line: line.number, Result: line.result, Detail: line.detail}
		switch line.result {
		case lineCreated:
			i.summary.Created++
		case lineUnchanged:
			i.summary.Unchanged++
		case lineFailed:
			i.summary.Errors++
			told.Error = &lineError{line.wrong.code, line.wrong.field, line.wrong.detail}
		}
		if line.newOwner {
			i.summary.Customers++
		}
		if line.result == lineUnchanged || line.result == lineCreated && !i.dryRun {
			told.Key, told.Customer = unlessZero(line.key.ID), unlessZero(line.key.Customer)
		}
		if err := i.results.Encode(told); err != nil {
			return err
		}
	}
	if err := i.told.Flush(); err != nil {
		return err
	}
	if err := i.controller.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// hashesOf returns the hashes of the lines that can be read.
func hashesOf(chunk []*importLine) (lines []*importLine, hashes []apikey.Hash) {
	for _, line := range chunk {
		if line.wrong == nil {
			lines, hashes = append(lines, line), append(hashes, line.hash)
		}
	}
	return lines, hashes
}
