// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/keytoll/keytoll/admin"
)

func tokenFile(dir string) string { return filepath.Join(dir, "admin.token") }

// ownerToken returns the token in the file, which is made where it is missing.
// A file that others can read is closed to them, with a warning.
func ownerToken(file string, logger *slog.Logger) (string, error) {
	err := makeToken(file)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("making the admin token: %w", err)
	}
	state, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("reading the admin token: %w", err)
	}
	if mode := state.Mode().Perm(); mode&0o077 != 0 {
		if err := os.Chmod(file, 0o600); err != nil {
			return "", fmt.Errorf("the admin token can be read by others: %w", err)
		}
		logger.Warn("the admin token could be read by others: its mode is 0600 again; make a new one if anybody might have", "file", file, "mode", mode.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("the admin token in %s is empty: delete the file and a new one is made", file)
	}
	return token, nil
}

// makeToken writes a new token unless the file exists, which is fs.ErrExist.
// The file appears whole or not at all.
func makeToken(file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, ".admin.token-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.WriteString(admin.MintToken() + "\n")
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	return os.Link(draft.Name(), file)
}
