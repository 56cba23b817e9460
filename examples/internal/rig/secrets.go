// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// SearchForSecrets looks for minted secrets in what the process tells.
func (g *Gateway) SearchForSecrets() {
	g.T.Helper()
	pages := []string{"http://" + g.CaddyAdmin + "/config/", g.Admin + "/metrics", g.Admin + "/v1/denials", g.Admin + "/v1/audit", g.Admin + "/v1/keys"}
	for _, page := range pages {
		req, err := http.NewRequest(http.MethodGet, page, nil)
		if err != nil {
			g.T.Fatal(err)
		}
		if strings.HasPrefix(page, g.Admin) {
			req.Header.Set("Authorization", "Bearer "+g.Token)
		}
		res, err := g.Client.Do(req)
		if err != nil {
			continue // it was killed by the test
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		g.noSecretIn(page, body)
	}
}

// SearchFilesForSecrets looks for minted secrets in every file the process wrote.
func (g *Gateway) SearchFilesForSecrets() {
	g.T.Helper()
	err := filepath.WalkDir(g.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path) //nolint:gosec // a directory of the test's own
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		g.noSecretIn(path, body)
		return err
	})
	if err != nil {
		g.T.Error(err)
	}
}

func (g *Gateway) noSecretIn(where string, text []byte) {
	g.T.Helper()
	for _, secret := range *g.secrets {
		if bytes.Contains(text, []byte(secret)) {
			g.T.Errorf("a secret is in %s", where)
			return
		}
	}
}
