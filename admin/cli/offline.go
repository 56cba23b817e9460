// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/plugin/store/boltstore"
)

// offline returns a command that works on a directory that no process holds.
func (a *app) offline(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, s *session, dir string, args []string) error) *cobra.Command {
	c := a.command(use, short, args, func(ctx context.Context, s *session, args []string) error {
		dir, err := s.storage()
		if err != nil {
			return err
		}
		return run(ctx, s, dir, args)
	})
	c.Flags().Bool("offline", true, "Work on the data directory; Caddy must not be running")
	return c
}

// storage returns the data directory: --dir, or the first that has a database.
func (s *session) storage() (string, error) {
	if s.dir != "" {
		return s.dir, nil
	}
	for _, dir := range s.env.Dirs {
		if _, err := os.Stat(filepath.Join(dir, boltstore.FileName)); err == nil {
			return dir, nil
		}
	}
	return "", usageError("Which data directory? There is none in %s. Say --dir.", strings.Join(s.env.Dirs, ", nor in "))
}

func (a *app) restore() *cobra.Command {
	var yes bool
	c := a.offline("restore <file|->", "Put a backup in the place of the data directory", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, dir string, args []string) error {
			in, size, err := s.open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			if args[0] == "-" && !yes {
				return usageError("The backup comes on stdin, so nobody can be asked: say --yes.")
			}
			if _, err := os.Stat(filepath.Join(dir, boltstore.FileName)); err == nil {
				if err := s.confirm(yes, "Replace what is in "+dir+" by "+args[0]+"?"); err != nil {
					return err
				}
			}
			p := s.progress("Restoring", size)
			defer p.end()
			done, err := boltstore.Restore(ctx, in, boltstore.RestoreOptions{
				Options: boltstore.Options{Dir: dir, Now: s.env.Now},
				Keep:    []string{tokenName}, Progress: p.at,
			})
			p.end()
			if err != nil {
				return err
			}
			return s.sayRestored(dir, done)
		})
	c.Long = `Put a backup in the place of the data directory.

What was there is kept beside it. Keys that were revoked and customers that were
erased since the backup was made stay so.`
	c.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	return c
}

func (s *session) sayRestored(dir string, done boltstore.Restored) error {
	if s.json {
		result := map[string]any{
			"dir": dir, "made": done.Backup.Made, "epoch": done.Epoch, "former": orNull(done.Former),
			"revoked_again": done.Replayed.Revoked, "erased_again": done.Replayed.Erased, "warning": nil,
		}
		if done.Unread != nil {
			result["warning"] = sentence(done.Unread.Error())
		}
		return s.printJSON(result)
	}
	s.say("Restored the backup of %s into %s.", moment(done.Backup.Made), dir)
	if done.Former != "" {
		s.say("What was there is in %s.", done.Former)
	}
	if r := done.Replayed; r.Revoked+r.Erased > 0 {
		s.say("Revoked again: %d keys. Erased again: %d customers.", r.Revoked, r.Erased)
	}
	if done.Unread != nil {
		s.say("Warning: what was revoked since the backup could not be read, and works again: %s", sentence(done.Unread.Error()))
	}
	return nil
}

func (a *app) check() *cobra.Command {
	return a.offline("check", "Look at every page and record of the data directory", cobra.NoArgs,
		func(ctx context.Context, s *session, dir string, _ []string) error {
			p := s.progress("Checking", 0)
			defer p.end()
			findings, err := boltstore.Check(ctx, dir, p.at)
			p.end()
			if err != nil {
				return err
			}
			if s.json {
				err = s.printJSON(map[string]any{"dir": dir, "findings": append([]string{}, findings...)})
			} else {
				for _, finding := range findings {
					err = firstOf(err, func() error { return s.printLine(plainly(finding)) })
				}
			}
			switch {
			case err != nil:
				return err
			case len(findings) > 0:
				return &failure{Failed, "damaged", "The store in " + dir + " is damaged. Restore a backup: caddy keytoll restore <file> --dir " + dir}
			case !s.json:
				s.say("The store in %s is whole.", dir)
			}
			return nil
		})
}

func (a *app) compact() *cobra.Command {
	return a.offline("compact", "Give back the space that the data directory no longer needs", cobra.NoArgs,
		func(ctx context.Context, s *session, dir string, _ []string) error {
			p := s.progress("Compacting", 0)
			defer p.end()
			before, after, err := boltstore.Compact(ctx, dir, p.at)
			p.end()
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(map[string]any{"dir": dir, "before": before, "after": after})
			}
			s.say("Compacted %s: %s bytes before, %s now.", dir, number(before), number(after))
			return nil
		})
}
