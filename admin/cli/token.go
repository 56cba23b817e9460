// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keytoll/keytoll/admin/client"
)

const tokenName = "admin.token"

// token returns the admin token: of --token-file, of the environment, or of the
// data directory. The token of a directory that nobody named is shown to this
// machine only.
func (a *app) token(c *client.Client) (string, error) {
	if a.tokenFile != "" {
		return readToken(a.tokenFile)
	}
	if token := strings.TrimSpace(a.env.Getenv("KEYTOLL_ADMIN_TOKEN")); token != "" && a.dir == "" {
		return token, nil
	}
	dirs := a.env.Dirs
	if a.dir != "" {
		dirs = []string{a.dir}
	} else if !c.Local() {
		return "", &failure{NotAllowed, "unauthorized", "The admin API is on another machine: say --token-file or set KEYTOLL_ADMIN_TOKEN."}
	}
	var looked []string
	for _, dir := range dirs {
		file := filepath.Join(dir, tokenName)
		token, err := readToken(file)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return token, err
		}
		looked = append(looked, file)
	}
	return "", &failure{NotAllowed, "unauthorized", fmt.Sprintf(
		"No admin token: there is no %s. Say --dir, --token-file or set KEYTOLL_ADMIN_TOKEN.", strings.Join(looked, ", nor "))}
}

func readToken(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrPermission) {
		return "", &failure{NotAllowed, "unauthorized", "Your user may not read " + file + "."}
	}
	if err != nil {
		return "", fmt.Errorf("reading the admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", &failure{NotAllowed, "unauthorized", file + " is empty."}
	}
	return token, nil
}
