// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) keysImport() *cobra.Command {
	var file, hash string
	var dryRun bool
	c := a.command("import --file <keys.csv|keys.ndjson|->", "Take over keys that were made elsewhere", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			if file == "" {
				return usageError("Which file? Write: caddy keytoll keys import --file keys.csv --dry-run")
			}
			if hash != "sha256" {
				return usageError("--hash is sha256, the only one that can be looked up, not %q.", hash)
			}
			return s.importKeys(ctx, file, dryRun)
		})
	c.Long = `Take over customers and keys that were made elsewhere.

The file has one key a line: NDJSON with the fields of POST /v1/keys/import, or
CSV whose first line names them: hash (SHA-256 in hex or base64) or secret
(hashed here, never sent), customer, name, plan, mode, expires_at, status, used,
email, external_id, customer_name, customer_plan, stripe_customer_id,
created_at; scopes and allowed_ips separated by spaces; used.<unit> for other
units. Importing a file again changes nothing.`
	c.Flags().StringVar(&file, "file", "", "CSV (by its name) or NDJSON; - for NDJSON on stdin")
	c.Flags().StringVar(&hash, "hash", "sha256", "How the secrets were hashed")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "Only say what would happen")
	return c
}

func (s *session) importKeys(ctx context.Context, file string, dryRun bool) error {
	in, size, err := s.open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	counted := s.progress("Importing", size)
	defer counted.end()
	body := io.TeeReader(in, counted)
	if strings.HasSuffix(strings.ToLower(file), ".csv") {
		reader, writer := io.Pipe()
		converted := make(chan struct{})
		go func(rows io.Reader) {
			defer close(converted)
			writer.CloseWithError(convert(rows, writer))
		}(body)
		defer func() {
			_ = reader.Close() // never fails; it ends the goroutine
			<-converted
		}()
		body = reader
	}
	api, err := s.api()
	if err != nil {
		return err
	}
	answer, err := api.Stream(ctx, http.MethodPost, "/v1/keys/import", url.Values{"dry_run": {strconv.FormatBool(dryRun)}}, "application/x-ndjson", body)
	if err != nil {
		return err
	}
	defer answer.Close()
	return s.readImport(answer, counted, strings.HasSuffix(strings.ToLower(file), ".csv"))
}

// open opens a file, or stdin where it is -.
func (s *session) open(file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(s.env.In), 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, usageError("%s.", capital(err.Error()))
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// readImport prints what became of each line that was wrong, and the sums.
func (s *session) readImport(answer io.Reader, counted *progress, headed bool) error {
	lines := bufio.NewScanner(answer)
	lines.Buffer(nil, 1<<20)
	var last client.Record[client.ImportLine]
	for lines.Scan() {
		var line client.Record[client.ImportLine]
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("%w: its answer is not JSON", client.ErrUnreachable)
		}
		last = line
		l := line.Value
		switch {
		case s.json:
			if err := s.printLine(string(line.JSON)); err != nil {
				return err
			}
		case l.Result == "error" && l.Error != nil:
			number := l.Line
			if headed {
				number++ // the file has a line before the first key
			}
			counted.clear()
			s.say("line %d: %s", number, strings.TrimPrefix(l.Error.Field+": "+l.Error.Detail, ": "))
		}
	}
	counted.end()
	sum := last.Value
	if err := lines.Err(); err != nil || sum.Object != "import_summary" {
		return &failure{Failed, "broken_off", "The import broke off. Send the file again: what is there already stays as it is."}
	}
	if !s.json {
		verb := "Imported"
		if sum.DryRun {
			verb = "Would import"
		}
		s.say("%s %s keys and %s customers; %s were there already, %s lines are wrong.", verb,
			number(int64(sum.Created)), number(int64(sum.Customers)), number(int64(sum.Unchanged)), number(int64(sum.Errors)))
	}
	if sum.Errors > 0 {
		return &failure{exit: Failed, code: "lines_failed", text: "Mend those lines and import the file again: the others are not done twice."}
	}
	return nil
}

// convert writes CSV as NDJSON.
func convert(in io.Reader, out io.Writer) error {
	rows := csv.NewReader(in)
	rows.TrimLeadingSpace = true
	head, err := rows.Read()
	if err != nil {
		return usageError("The CSV file has no first line that names its columns.")
	}
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(head[i], "\ufeff")))
	}
	encoder := json.NewEncoder(out)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return usageError("The CSV file is broken: %s.", err)
		}
		line, err := lineOf(head, row)
		if err != nil {
			return err
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
}

// lineOf makes a line of the API from a row. What is no number stays a text:
// the API says what is wrong with it.
func lineOf(head, row []string) (map[string]any, error) {
	line, used := map[string]any{}, map[string]any{}
	for i, value := range row {
		value = strings.TrimSpace(value)
		if value == "" || i >= len(head) {
			continue
		}
		switch name := head[i]; {
		case name == "secret":
			sum := sha256.Sum256([]byte(value))
			line["hash"] = hex.EncodeToString(sum[:])
		case name == "scopes" || name == "allowed_ips":
			line[name] = strings.Fields(value)
		case name == "used":
			used["requests"] = figure(value)
		case strings.HasPrefix(name, "used."):
			used[strings.TrimPrefix(name, "used.")] = figure(value)
		case name == "quota":
			quota, err := parseQuota(value)
			if err != nil {
				return nil, err
			}
			line[name] = quota
		default:
			line[name] = value
		}
	}
	if len(used) > 0 {
		line["used"] = used
	}
	return line, nil
}

func figure(text string) any {
	if n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64); err == nil {
		return n
	}
	return text
}
