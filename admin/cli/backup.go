// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) backup() *cobra.Command {
	return a.command("backup <file|->", "Write a backup while the gate goes on working", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			api, err := s.api()
			if err != nil {
				return err
			}
			if args[0] == "-" && s.env.OutTerminal {
				return usageError("A backup is not for a terminal: name a file.")
			}
			answer, err := api.Stream(ctx, http.MethodGet, "/v1/backup", nil, "", nil)
			if err != nil {
				return err
			}
			defer answer.Close()
			p := s.progress("Backing up, bytes:", 0)
			defer p.end()
			size, err := s.keep(io.TeeReader(answer, p), args[0])
			p.end()
			switch {
			case errors.Is(err, errBrokenOff):
				return &failure{Failed, "broken_off", "The backup broke off; nothing was kept. The log of Caddy says why."}
			case err != nil:
				return err
			case args[0] == "-":
				return nil
			case s.json:
				return s.printJSON(map[string]any{"file": args[0], "bytes": size})
			}
			s.say("Wrote %s (%s bytes). It holds hashes and personal data: keep it where only you can read it.", args[0], number(size))
			return nil
		})
}

var errBrokenOff = errors.New("broken off")

// keep writes all of in to a file that appears whole or not at all, readable by
// its owner only.
func (s *session) keep(in io.Reader, file string) (size int64, err error) {
	if file == "-" {
		if size, err = io.Copy(s.env.Out, in); err != nil {
			return size, fmt.Errorf("%w: %w", errBrokenOff, err)
		}
		return size, nil
	}
	draft, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // with mode 0600
	if err != nil {
		return 0, usageError("%s.", capital(err.Error()))
	}
	defer os.Remove(draft.Name())
	size, err = io.Copy(draft, in)
	if err != nil {
		err = fmt.Errorf("%w: %w", errBrokenOff, err)
		var local *os.PathError
		if errors.As(err, &local) {
			err = local
		}
		return size, errors.Join(err, draft.Close())
	}
	if err = errors.Join(draft.Sync(), draft.Close()); err == nil {
		err = os.Rename(draft.Name(), file)
	}
	if err != nil {
		return size, fmt.Errorf("writing the backup: %w", err)
	}
	return size, nil
}
