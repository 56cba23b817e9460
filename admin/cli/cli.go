// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: `keytoll <noun> <verb>`. It speaks to the
// admin API; only restore, check and compact work on a directory, which no
// process may hold.
//
// A secret goes alone to stdout and words to stderr. Lists are tables on
// a terminal and tab-separated elsewhere; with --json every command prints what
// the API answered. The exit codes are in failure.go.
//
// Reading order: cli.go (how a command is run), then one file a noun.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

// Env is the world around a command.
type Env struct {
	In       io.Reader
	Out, Err io.Writer

	// Whether In, Out and Err are terminals.
	InTerminal, OutTerminal, ErrTerminal bool

	Getenv func(string) string
	Now    func() time.Time

	// Dirs are where the file admin.token is looked for, in order, unless the
	// command says where.
	Dirs []string
	// Version of the program.
	Version string
	// Serve runs a configuration in this process and returns once it serves.
	// Default: there is no command dev.
	Serve func(ctx context.Context, caddyfile string) (stop func() error, err error)
	// Exit returns the error that makes the program end with the code. What
	// went wrong has been printed.
	Exit func(code int) error
}

// Add adds the commands to keytoll.
func Add(keytoll *cobra.Command, env Env) {
	a := &app{env: env}
	flags := keytoll.PersistentFlags()
	flags.StringVar(&a.address, "admin", "", "Where the admin API listens (default $KEYTOLL_ADMIN or "+client.DefaultAddress+")")
	flags.StringVar(&a.tokenFile, "token-file", "", "The file with the admin token (default $KEYTOLL_ADMIN_TOKEN itself, or admin.token of the data directory)")
	flags.StringVar(&a.dir, "dir", "", "The data directory (default "+strings.Join(env.Dirs, ", ")+")")
	flags.BoolVar(&a.json, "json", false, "Print JSON, as the admin API answers")
	flags.StringVar(&a.color, "color", "auto", "auto, always or never")
	keytoll.AddCommand(
		a.keys(), a.customers(), a.plans(), a.usage(), a.explain(), a.denials(), a.audit(), a.tokens(), a.admin(),
		a.backup(), a.restore(), a.check(), a.compact(), a.doctor(), a.status(), a.initialize(),
	)
	if env.Serve != nil {
		keytoll.AddCommand(a.dev())
	}
	a.adopt(keytoll)
}

// adopt makes wrong calls of a command, and of those below it, end as such.
func (a *app) adopt(c *cobra.Command) {
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return a.end(usageError("%s. See: %s --help", capital(err.Error()), c.CommandPath()))
	})
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return a.end(usageError("Write: %s", c.UseLine()))
			}
			return nil
		}
	}
	if c.RunE == nil && c.Run == nil {
		c.RunE = a.unknown
	}
	for _, below := range c.Commands() {
		a.adopt(below)
	}
}

// unknown answers a noun without a verb, or with one that there is not.
func (a *app) unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("There is no command %q.", c.CommandPath()+" "+args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += " Did you mean: " + c.CommandPath() + " " + near[0]
	} else {
		text += " See: " + c.CommandPath() + " --help"
	}
	return a.end(usageError("%s", text))
}

// app holds what every command knows.
type app struct {
	env Env

	// Flags of every command:
	address, tokenFile, dir, color string
	json                           bool
}

// session is one command that runs.
type session struct {
	*app
	cmd    *cobra.Command
	client *client.Client
	known  map[string]client.Customer // that were read, by id
}

// command returns a command that runs within a session.
func (a *app) command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, s *session, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args, DisableFlagsInUseLine: false,
		RunE: func(c *cobra.Command, given []string) error {
			parent := c.Context()
			if parent == nil {
				parent = context.Background()
			}
			ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			s := &session{app: a, cmd: c, known: map[string]client.Customer{}}
			if !slices.Contains([]string{"auto", "always", "never"}, a.color) {
				return a.end(usageError("--color is auto, always or never, not %q.", a.color))
			}
			err := run(ctx, s, given)
			if err != nil && errors.Is(ctx.Err(), context.Canceled) {
				err = cancelled()
			}
			return a.end(err)
		},
	}
}

// noun returns a command that only has others below it.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(verbs...)
	return c
}

// api returns a client with the first token that is found.
func (s *session) api() (*client.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.connect()
	s.client = c
	return c, err
}

func (a *app) connect() (*client.Client, error) {
	address := a.address
	if address == "" {
		address = a.env.Getenv("KEYTOLL_ADMIN")
	}
	c, err := client.New(client.Options{Address: address})
	if err != nil {
		return nil, usageError("%s.", capital(err.Error()))
	}
	token, err := a.token(c)
	if err != nil {
		return nil, err
	}
	return c.WithToken(token), nil
}

// say prints words for people.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.env.Err, format+"\n", args...)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
