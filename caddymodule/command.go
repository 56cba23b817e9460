// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"os"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keytoll/keytoll/admin/cli"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "keytoll",
		Usage: "<noun> <verb>",
		Short: "Sells an API: keys, customers, plans and usage",
		Long: `
Manages the gate of a running Caddy by its admin API, by default on
127.0.0.1:2021. A secret goes alone to stdout, words to stderr; --json prints
what the admin API answers.

Exit codes: 0 done, 1 failed, 2 cancelled, 3 wrong usage, 4 not signed in or not
allowed, 5 not found, 6 refused by the state, 7 not reachable.`,
		CobraFunc: addCommands,
	})
}

// addCommands adds the command line to `caddy keytoll`.
func addCommands(keytoll *cobra.Command) {
	cli.Add(keytoll, cli.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal: terminal(os.Stdin), OutTerminal: terminal(os.Stdout), ErrTerminal: terminal(os.Stderr),
		Getenv: os.Getenv, Now: time.Now,
		Dirs:    []string{"./keytoll-data", "./keytoll-dev", defaultDirectory()},
		Version: version(), Serve: serve,
		Exit: func(code int) error { return exit(keytoll, code) },
	})
}

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// errExit ends Caddy with the code 1; its text was printed before.
var errExit = errors.New("failed")

// exit returns the error that makes Caddy end with the code. Caddy has a type
// for that, which it makes only itself.
func exit(c *cobra.Command, code int) error {
	err := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(c, nil)
	if err == nil && code != cli.Done {
		return errExit
	}
	return err
}
