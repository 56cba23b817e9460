// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

const (
	devDir      = "./keytoll-dev"
	devCustomer = "dev@localhost"
	devKey      = "Development"
)

// devFlags are what may be said of a gate for development.
type devFlags struct {
	to, listen, plan string
}

func (a *app) dev() *cobra.Command {
	var d devFlags
	c := a.command("dev --to <host:port>", "Put the gate before an API that runs here, with no Caddyfile", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return d.run(ctx, s) })
	c.Flags().StringVar(&d.to, "to", "", "The API, as localhost:3000")
	c.Flags().StringVar(&d.listen, "listen", ":8080", "Where it is sold")
	c.Flags().StringVar(&d.plan, "plan", "free", "The plan of the test key: free or pro")
	return c
}

// gateway is what dev tells of.
type gateway struct {
	Backend      string   `json:"backend"`
	BackendState string   `json:"backend_state"`
	API          string   `json:"api"`
	Admin        string   `json:"admin"`
	TokenFile    string   `json:"token_file"`
	Key          string   `json:"key"`
	Secret       string   `json:"api_key"`
	Plan         string   `json:"plan"`
	Limits       string   `json:"limits"`
	Dir          string   `json:"dir"`
	problems     []string // of the backend, in words
}

func (d *devFlags) run(ctx context.Context, s *session) error {
	if d.to == "" {
		return usageError("Which API? Write: caddy keytoll dev --to localhost:3000")
	}
	upstream, err := Upstream(d.to)
	if err != nil {
		return usageError("--to: %s.", err)
	}
	if d.plan != "free" && d.plan != "pro" {
		return usageError("--plan is free or pro, not %q.", d.plan)
	}
	if s.dir == "" {
		s.dir = devDir
	}
	config, g, err := d.configuration(s, upstream)
	if err != nil {
		return err
	}
	stop, err := s.env.Serve(ctx, config)
	if err != nil {
		return fmt.Errorf("starting the gate: %w", err)
	}
	if err = d.begin(ctx, s, g); err == nil {
		<-ctx.Done()
	}
	if stopped := stop(); err == nil {
		err = stopped
	}
	return err
}

// configuration returns a Caddyfile, once nothing stands in its way.
func (d *devFlags) configuration(s *session, upstream string) (string, *gateway, error) {
	host, port, err := net.SplitHostPort(d.listen)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 {
		return "", nil, usageError("--listen is an address as :8080 or 127.0.0.1:8080, not %q.", d.listen)
	}
	if strings.ContainsAny(host+s.dir, "\n\r\t \"`{}#") {
		return "", nil, usageError("--listen and --dir must have no spaces, quotes or braces.")
	}
	admin := s.address
	if admin == "" {
		admin = "127.0.0.1:2021"
	}
	admin = strings.TrimPrefix(admin, "http://")
	adminHost, adminPort, err := net.SplitHostPort(admin)
	if ip := net.ParseIP(adminHost); err != nil || adminHost != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", nil, usageError("--admin is an address of this machine as 127.0.0.1:2022, not %q.", admin)
	}
	if err := free(d.listen, "--listen :"+next(port)); err != nil {
		return "", nil, err
	}
	if err := free(admin, "--admin "+net.JoinHostPort(adminHost, next(adminPort))); err != nil {
		return "", nil, err
	}
	bind, shown := "", "localhost"
	if host != "" {
		bind = "\tbind " + host + "\n"
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			shown = host
		}
	}
	g := &gateway{
		Backend: "http://" + strings.TrimPrefix(upstream, "https://"), API: "http://" + net.JoinHostPort(shown, port),
		Admin: "http://" + admin, TokenFile: filepath.Join(s.dir, tokenName), Dir: s.dir,
	}
	if strings.HasPrefix(upstream, "https://") {
		g.Backend = upstream
	}
	return strings.NewReplacer("PORT", port, "BIND\n", bind, "UPSTREAM", upstream, "DIRECTORY", s.dir, "ADMIN", admin).Replace(devCaddyfile), g, nil
}

// devCaddyfile leaves Caddy's own admin and HTTPS out, and secrets in
// X-API-Key out of the logs.
const devCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	servers {
		protocols h1
	}
	keytoll {
		storage bbolt DIRECTORY
		admin ADMIN
	}
	log default {
		level WARN
		format filter {
			wrap console
			request>headers>X-Api-Key delete
		}
	}
}
http://:PORT {
BIND
	handle /usage {
		keytoll_usage
	}
	handle {
		keytoll
		reverse_proxy UPSTREAM
	}
}
`

// free makes sure that nobody listens at an address.
func free(address, instead string) error {
	listener, err := net.Listen("tcp", address)
	if err == nil {
		return listener.Close()
	}
	_, port, _ := net.SplitHostPort(address) // was read before
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		by := ""
		if holder := listenerOn(port); holder != "" {
			by = " by " + holder
		}
		return &failure{Refused, "port_in_use", "Port " + port + " is in use" + by + ". Use " + instead + "."}
	case errors.Is(err, syscall.EACCES):
		return &failure{NotAllowed, "port_not_allowed", "Your user may not listen on port " + port + ". Use " + instead + "."}
	}
	return usageError("It cannot listen on %s: %s.", address, err)
}

func next(port string) string {
	n, err := strconv.Atoi(port)
	if err != nil || n < 1024 || n > 65534 {
		return "8081"
	}
	return strconv.Itoa(n + 1)
}

// begin mints a test key and tells how things stand.
func (d *devFlags) begin(ctx context.Context, s *session, g *gateway) error {
	d.probe(ctx, g)
	token, err := readToken(g.TokenFile)
	if err != nil {
		return err
	}
	api, err := client.New(client.Options{Address: g.Admin, Token: token})
	if err != nil {
		return err
	}
	s.client = api
	made, err := d.mint(ctx, api)
	if err != nil {
		return fmt.Errorf("making a test key: %w", err)
	}
	g.Key, g.Secret, g.Plan = made.Value.ID, made.Value.APIKey, d.plan
	g.Limits = s.limitsOf(ctx, made.Value.Key, d.plan)
	if s.json {
		return s.printJSON(g)
	}
	return s.printLine(g.text())
}

// mint makes the test key, or rotates the one of the last time: nobody keeps
// its secret.
func (d *devFlags) mint(ctx context.Context, api *client.Client) (client.Record[client.NewKey], error) {
	for k, err := range client.All[client.Key](ctx, api, "/v1/keys", url.Values{"customer": {devCustomer}, "status": {"active"}}) {
		if err != nil {
			return client.Record[client.NewKey]{}, err
		}
		if k.Value.Name != devKey || k.Value.Plan != d.plan {
			continue
		}
		return client.Call[client.NewKey](ctx, api, http.MethodPost, keyPath(k.Value.ID)+"/rotate", nil, map[string]any{"grace": "24h"})
	}
	return client.Call[client.NewKey](ctx, api, http.MethodPost, "/v1/keys", nil, map[string]any{
		"customer": devCustomer, "name": devKey, "mode": "test", "plan": d.plan,
	})
}

const probeTime = 2 * time.Second

// probe asks the backend whether it is there.
func (d *devFlags) probe(ctx context.Context, g *gateway) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.Backend+"/", nil)
	if err != nil {
		g.BackendState = err.Error()
		return
	}
	direct := &http.Transport{DisableKeepAlives: true}
	response, err := direct.RoundTrip(request)
	if err != nil {
		reason := err.Error()
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			reason = "connection refused"
		case errors.Is(err, context.DeadlineExceeded):
			reason = "no answer in " + probeTime.String()
		}
		g.BackendState = "does not answer"
		g.problems = []string{"Nothing answers at " + g.Backend + " (" + reason + "). Start your API; Keytoll keeps trying."}
		return
	}
	_, _ = io.CopyN(io.Discard, response.Body, 1<<10)
	_ = response.Body.Close()
	g.BackendState = fmt.Sprintf("answers (%d, %d ms)", response.StatusCode, time.Since(began).Milliseconds())
}

// text is the block that a person reads.
func (g *gateway) text() string {
	lines := []string{
		"",
		"  Backend    " + g.Backend + "   " + g.BackendState,
		"  Your API   " + g.API + "   asks for a key",
		"  Dashboard  " + g.Admin + "/   (admin API; its token is in " + g.TokenFile + ")",
		"  Test key   " + g.Secret,
		"             plan " + g.Plan + ": " + g.Limits,
		"",
		"  Try:  curl -H \"Authorization: Bearer " + g.Secret + "\" " + strings.TrimPrefix(g.API, "http://") + "/",
		"  Data is in " + g.Dir + ". Stop with Ctrl+C.",
	}
	for _, problem := range g.problems {
		lines = append(lines, "", "  "+problem)
	}
	return strings.Join(lines, "\n") + "\n"
}
