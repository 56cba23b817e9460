// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/keytoll/keytoll/admin/client"
)

// The exit codes.
const (
	Done        = 0
	Failed      = 1
	Cancelled   = 2 // by the person, or by a signal
	WrongUsage  = 3
	NotAllowed  = 4 // or not signed in
	NotFound    = 5
	Refused     = 6 // by the state: a name is taken, a key revoked
	Unreachable = 7 // nothing answers where the admin API should
)

// failure ends a command with a code.
type failure struct {
	exit int
	code string // as in the API's problems
	text string // whole sentences
}

func (f *failure) Error() string { return f.text }

func usageError(format string, args ...any) error {
	return &failure{WrongUsage, "wrong_usage", fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &failure{NotFound, "not_found", fmt.Sprintf(format, args...)}
}

func cancelled() error { return &failure{Cancelled, "cancelled", "Cancelled."} }

// end prints what went wrong, and returns the error that ends the program so.
func (a *app) end(err error) error {
	if err == nil {
		return nil
	}
	f := a.explainFailure(err)
	if a.json {
		var body struct {
			Error struct {
				Code    string `json:"code"`
				Message string `json:"message"`
			} `json:"error"`
		}
		body.Error.Code, body.Error.Message = f.code, f.text
		line, _ := json.Marshal(body) // strings: it cannot fail
		fmt.Fprintln(a.env.Err, string(line))
	} else if f.text != "" {
		fmt.Fprintln(a.env.Err, f.text)
	}
	return a.env.Exit(f.exit)
}

// explainFailure says what an error means to a person.
func (a *app) explainFailure(err error) *failure {
	var known *failure
	var problem *client.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &problem):
		return explainProblem(problem)
	case errors.Is(err, context.Canceled):
		return &failure{Cancelled, "cancelled", "Cancelled."}
	case errors.Is(err, client.ErrUnreachable):
		return &failure{Unreachable, "unreachable", a.explainUnreachable(err)}
	case errors.Is(err, syscall.EPIPE):
		return &failure{exit: Failed, code: "failed"}
	}
	return &failure{Failed, "failed", sentence(err.Error())}
}

func (a *app) explainUnreachable(err error) string {
	text := sentence(err.Error())
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		text += " Start Caddy with a keytoll configuration, or say --admin."
	case errors.Is(err, os.ErrPermission):
		text += " Your user may not use the socket."
	}
	return text
}

func explainProblem(p *client.Error) *failure {
	f := &failure{Failed, p.Code, sentence(p.Error())}
	if p.Field != "" {
		f.text = p.Error() // a field is written as it is
	}
	switch p.Status {
	case http.StatusBadRequest:
		f.exit = WrongUsage
	case http.StatusUnauthorized:
		f.exit = NotAllowed
		f.text += " Say --token-file, set KEYTOLL_ADMIN_TOKEN, or name the data directory with --dir."
	case http.StatusForbidden:
		f.exit = NotAllowed
	case http.StatusNotFound:
		f.exit = NotFound
	case http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		f.exit = Refused
	}
	if f.code == "" {
		f.code = "failed"
	}
	if p.RequestID != "" && p.Status >= http.StatusInternalServerError {
		f.text += " Request " + p.RequestID + "."
	}
	return f
}

// sentence begins with a capital, unless a path is its first word, and ends with
// a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if first, _, _ := strings.Cut(s, " "); !strings.ContainsAny(first, `/\`) {
		s = capital(s)
	}
	if s != "" && !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}
