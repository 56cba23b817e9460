// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"html/template"
)

type health struct {
	Status string `json:"status"`
}

// healthz says that the process answers.
func (s *Server) healthz(context.Context, *call) (*answer, error) {
	return ok(health{"ok"}), nil
}

// readyz says that requests can be decided.
func (s *Server) readyz(ctx context.Context, _ *call) (*answer, error) {
	if s.o.Ready != nil {
		if err := s.o.Ready(ctx); err != nil {
			return nil, err
		}
	}
	return ok(health{"ready"}), nil
}

// metrics hands over to the collectors.
func (s *Server) metrics(_ context.Context, c *call) (*answer, error) {
	if s.o.Metrics == nil {
		return nil, noSuchCall()
	}
	s.o.Metrics.ServeHTTP(c.w, c.r)
	return nil, nil
}

var homePage = template.Must(template.New("home").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Keytoll</title>
<h1>Keytoll admin API</h1>
<p>This is the admin listener of Keytoll{{with .}} {{.}}{{end}}. The sold API is on another port.</p>
<h2>Mint the first key</h2>
<pre>caddy keytoll keys create --customer dev@example.com --name Production</pre>
<p>or, with the token from the file admin.token in the data directory:</p>
<pre>curl http://127.0.0.1:2021/v1/keys -H "Authorization: Bearer $KEYTOLL_ADMIN_TOKEN" \
     -H "Content-Type: application/json" -d '{"customer":"dev@example.com","name":"Production"}'</pre>
<p>The secret is shown only in that answer. GET /openapi.json describes every call; /healthz and /readyz need no token.</p>
</html>
`))

// home says what listens here.
func (s *Server) home(_ context.Context, c *call) (*answer, error) {
	return nil, c.html(homePage, s.o.Version)
}
