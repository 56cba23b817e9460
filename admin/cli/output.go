// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is what a list prints.
type table struct {
	head []string
	rows [][]string
	// right tells which columns are numbers.
	right map[int]bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes t: aligned on a terminal, tab-separated elsewhere, or as CSV.
func (s *session) print(t *table, asCSV bool) error {
	switch {
	case asCSV:
		w := csv.NewWriter(s.env.Out)
		if err := w.Write(lowered(t.head)); err != nil {
			return err
		}
		return w.WriteAll(t.rows)
	case !s.env.OutTerminal:
		for _, row := range append([][]string{t.head}, t.rows...) {
			for i := range row {
				row[i] = plainly(row[i])
			}
			if _, err := fmt.Fprintln(s.env.Out, strings.Join(row, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	return s.printAligned(t)
}

func (s *session) printAligned(t *table) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(plainly(cell)))
		}
	}
	line := func(row []string, paint func(i int, cell string) string) error {
		var b strings.Builder
		for i, cell := range row {
			cell = plainly(cell)
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				b.WriteString(pad)
				pad = ""
			}
			b.WriteString(paint(i, cell))
			if i < len(row)-1 {
				b.WriteString(pad + "  ")
			}
		}
		_, err := fmt.Fprintln(s.env.Out, strings.TrimRight(b.String(), " "))
		return err
	}
	if err := line(t.head, func(_ int, cell string) string { return s.paint(bold, cell) }); err != nil {
		return err
	}
	for _, row := range t.rows {
		if err := line(row, func(_ int, cell string) string { return s.paint(statusColor[cell], cell) }); err != nil {
			return err
		}
	}
	return nil
}

// lowered turns LAST USED into last_used.
func lowered(head []string) []string {
	names := make([]string, len(head))
	for i, name := range head {
		names[i] = strings.ReplaceAll(strings.ToLower(name), " ", "_")
	}
	return names
}

// plainly takes away what would break a line or drive a terminal: names come
// from customers.
func plainly(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

// The colours of a terminal.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

var statusColor = map[string]string{
	"active": green, "ok": green, "allowed": green, "yes": green,
	"disabled": yellow, "expired": yellow, "warn": yellow, "over quota": red, "revoked": red, "fail": red, "no": red,
}

// paint colours text where that is wanted.
func (a *app) paint(color, text string) string {
	if color == "" || !a.colored() {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (a *app) colored() bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	return a.env.OutTerminal && a.env.Getenv("NO_COLOR") == "" && a.env.Getenv("TERM") != "dumb"
}

// block is what a command about one thing prints: names and values.
type block [][2]string

func (b *block) add(name, value string) {
	if value != "" {
		*b = append(*b, [2]string{name, value})
	}
}

func (s *session) printBlock(b block) error {
	width := 0
	for _, line := range b {
		width = max(width, utf8.RuneCountInString(line[0]))
	}
	for _, line := range b {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(line[0]))
		separator := pad + "  "
		if !s.env.OutTerminal {
			separator = "\t"
		}
		if _, err := fmt.Fprintln(s.env.Out, s.paint(bold, line[0])+separator+plainly(line[1])); err != nil {
			return err
		}
	}
	return nil
}

// printJSON writes a value, indented.
func (s *session) printJSON(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err = s.env.Out.Write(out.Bytes())
	return err
}
