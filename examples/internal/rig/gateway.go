// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Gateway is one Caddy process with Keytoll before an upstream. What asks it
// over HTTP may be called concurrently; what starts and ends it may not.
type Gateway struct {
	T          testing.TB
	Dir        string // everything it writes is below
	Data       string // the storage's directory
	Config     string // its Caddyfile
	URL        string // of the sold API
	Admin      string // URL of Keytoll's admin API
	CaddyAdmin string // address of Caddy's own
	Token      string // of the admin API; known once it is ready
	Cmd        *exec.Cmd
	Exited     chan struct{} // closed when Cmd has ended
	Client     *http.Client

	secrets *[]string // minted by Mint: looked for everywhere at the end
}

// New returns a gateway with free ports, in a directory of the test. Nothing
// runs yet.
func New(t testing.TB) *Gateway {
	t.Helper()
	dir := t.TempDir()
	p := Ports(t, 3)
	return &Gateway{
		T: t, Dir: dir, Data: filepath.Join(dir, "data"), Config: filepath.Join(dir, "Caddyfile"),
		URL:        fmt.Sprintf("http://127.0.0.1:%d", p[0]),
		Admin:      fmt.Sprintf("http://127.0.0.1:%d", p[1]),
		CaddyAdmin: fmt.Sprintf("127.0.0.1:%d", p[2]),
		Client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			MaxIdleConnsPerHost: 256, DisableCompression: true,
		}},
		secrets: new([]string),
	}
}

// Start runs a new gateway with global Keytoll options and a site's directives
// before the upstream, and waits until it decides requests. When the test ends
// it is stopped, and everything it told or wrote is searched for secrets.
func Start(t testing.TB, upstream, options, site string) *Gateway {
	t.Helper()
	g := New(t)
	g.Configure(upstream, options, site)
	g.Run()
	g.StopAtEnd()
	return g
}

// StopAtEnd stops the gateway when the test ends, and searches for secrets.
func (g *Gateway) StopAtEnd() {
	g.T.Cleanup(func() {
		g.SearchForSecrets()
		g.Client.CloseIdleConnections()
		g.Stop()
		g.SearchFilesForSecrets()
	})
}

// SiteAddress is the site's in the Caddyfile: any host, on the port of URL.
func (g *Gateway) SiteAddress() string {
	return "http://" + g.URL[strings.LastIndex(g.URL, ":"):]
}

// Configure writes the Caddyfile.
func (g *Gateway) Configure(upstream, options, site string) {
	g.T.Helper()
	text := fmt.Sprintf(`{
	auto_https off
	admin %s
	grace_period 20s
	keytoll {
		storage bbolt %s
		admin %s
		%s
	}
	log default {
		format filter {
			wrap json
			request>headers>X-Api-Key delete
		}
	}
}
%s {
	bind 127.0.0.1
	log
	%s
	reverse_proxy %s
}
`, g.CaddyAdmin, g.Data, strings.TrimPrefix(g.Admin, "http://"), options,
		g.SiteAddress(), site, strings.TrimPrefix(upstream, "http://"))
	if err := os.WriteFile(g.Config, []byte(text), 0o600); err != nil {
		g.T.Fatal(err)
	}
}
