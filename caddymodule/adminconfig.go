// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Admin says where the admin API is served and who may call it.
type Admin struct {
	// Nothing is served. Default: false
	Disabled bool `json:"disabled,omitempty"`

	// A TCP address, or a socket as `unix//run/keytoll.sock|0660`. An address
	// off loopback needs `tls` or `plaintext`. Default: `127.0.0.1:2021`
	Listen string `json:"listen,omitempty"`

	// The token that may do everything, best a placeholder such as
	// `{env.KEYTOLL_ADMIN_TOKEN}`: what is written here shows in Caddy's
	// /config/. Default: made at the first start and kept in the file
	// `admin.token` of the storage's directory, with mode 0600
	Token string `json:"token,omitempty"`

	// Host names that callers may use beside those of loopback. Default: none
	Hosts []string `json:"hosts,omitempty"`

	// The certificate to serve HTTPS with. Default: HTTP
	TLS *AdminTLS `json:"tls,omitempty"`

	// Serves HTTP off loopback: whoever can listen in reads the token. For
	// containers whose port is not published. Default: false
	Plaintext bool `json:"plaintext,omitempty"`

	token     string // "": the one of the file
	tokenFile string
	network   string // tcp or unix
	address   string
	mode      fs.FileMode // of the socket
	hosts     []string
	cert, key string
}

// AdminTLS names the files of a certificate, in PEM. They are read at each
// reload.
type AdminTLS struct {
	// The certificate and its chain.
	Certificate string `json:"certificate"`
	// Its private key.
	Key string `json:"key"`
}

const (
	defaultAdmin = "127.0.0.1:2021"
	socketMode   = 0o600
)

// resolve replaces placeholders and checks the address.
func (a *Admin) resolve(repl *caddy.Replacer, s *Storage) error {
	if a.Disabled {
		return nil
	}
	listen, err := repl.ReplaceOrErr(a.Listen, true, true)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if listen == "" {
		listen = defaultAdmin
	}
	if err := a.parseAddress(listen); err != nil {
		return err
	}
	if a.token, err = repl.ReplaceOrErr(a.Token, true, true); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	a.tokenFile = tokenFile(s.adminDirectory())
	a.hosts = nil
	for _, host := range a.Hosts {
		if host, err = repl.ReplaceOrErr(host, true, true); err != nil {
			return fmt.Errorf("hosts: %w", err)
		}
		a.hosts = append(a.hosts, host)
	}
	if a.TLS != nil {
		if a.cert, err = repl.ReplaceOrErr(a.TLS.Certificate, true, true); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		if a.key, err = repl.ReplaceOrErr(a.TLS.Key, true, true); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		if a.cert == "" || a.key == "" {
			return errors.New("tls: it takes the files of a certificate and of its key")
		}
	}
	return a.checkExposure()
}

// parseAddress reads a TCP address, or a socket with its mode.
func (a *Admin) parseAddress(listen string) error {
	if path, ok := strings.CutPrefix(listen, "unix/"); ok {
		return a.parseSocket(path)
	}
	if network, rest, ok := strings.Cut(listen, "/"); ok {
		if network != "tcp" {
			return fmt.Errorf("address '%s': it is host:port, or unix//path", listen)
		}
		listen = rest
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("address '%s': it is host:port, or unix//path", listen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address '%s': '%s' is not a port", listen, port)
	} else if n == 0 {
		port = "0"
	}
	a.network, a.address = "tcp", net.JoinHostPort(host, port)
	return nil
}

func (a *Admin) parseSocket(path string) error {
	path, mode, hasMode := strings.Cut(path, "|")
	a.network, a.address, a.mode = "unix", path, socketMode
	if path == "" || !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return fmt.Errorf("socket '%s': write unix//path", path)
	}
	if !hasMode {
		return nil
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || bits > 0o777 || bits&0o200 == 0 {
		return fmt.Errorf("socket mode '%s': write it in octal, as 0660", mode)
	}
	a.mode = fs.FileMode(bits)
	return nil
}

var errExposed = errors.New("off loopback it takes `tls <cert> <key>`, or `plaintext` where nobody can listen in")

// checkExposure refuses to serve HTTP to other machines unless that was said.
func (a *Admin) checkExposure() error {
	switch {
	case a.TLS != nil && a.Plaintext:
		return errors.New("tls stands beside plaintext")
	case a.network == "unix" || a.TLS != nil || a.Plaintext:
		return nil
	}
	if host, _, _ := net.SplitHostPort(a.address); !loopback(host) {
		return fmt.Errorf("address '%s': %w", a.address, errExposed)
	}
	return nil
}

// endpoint returns what is to be served; nil where nothing is.
func (a *Admin) endpoint(logger *slog.Logger) (*adminEndpoint, error) {
	if a.Disabled {
		return nil, nil
	}
	return &adminEndpoint{config: a, logger: logger}, nil
}

// certificate reads the certificate; nil where there is none.
func (a *Admin) certificate() (*tls.Config, error) {
	if a.TLS == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("reading the admin certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// parseAdmin reads `admin [<address>] { … }` or `admin off`.
func (a *App) parseAdmin(d *caddyfile.Dispenser) error {
	const usage = "admin 127.0.0.1:2021, admin unix//path|0660 or admin off"
	args, err := words(d, 0, 1, usage)
	if err != nil {
		return err
	}
	at := here(d)
	admin := new(Admin)
	a.Admin = admin
	opts := options{
		"token":     secret(&admin.Token, "token {env.KEYTOLL_ADMIN_TOKEN}"),
		"hosts":     list(&admin.Hosts, "host", "hosts admin.example.com", hostProblem),
		"plaintext": mark(&admin.Plaintext, "plaintext"),
		"tls": {parse: func(d *caddyfile.Dispenser) error {
			files, err := words(d, 2, 2, "tls cert.pem key.pem")
			if err != nil {
				return err
			}
			if slices.Contains(files, "") {
				return d.Err("the name of a file is empty: write tls cert.pem key.pem")
			}
			admin.TLS = &AdminTLS{Certificate: files[0], Key: files[1]}
			return nil
		}},
	}
	if len(args) > 0 {
		if args[0] == "" {
			return d.Errf("the address is empty: write %s", usage)
		}
		if admin.Listen = args[0]; admin.Listen == "off" {
			admin.Listen, admin.Disabled, opts = "", true, options{}
		}
	}
	if err := opts.parse(d, "admin"); err != nil {
		return err
	}
	if admin.Disabled || hasPlaceholder(admin.Listen) {
		return nil
	}
	probe := *admin
	if err := probe.resolveAddress(); err != nil {
		return at.WrapErr(err)
	}
	return nil
}

// resolveAddress checks what can be checked without placeholders.
func (a *Admin) resolveAddress() error {
	listen := a.Listen
	if listen == "" {
		listen = defaultAdmin
	}
	if err := a.parseAddress(listen); err != nil {
		return err
	}
	return a.checkExposure()
}

func hostProblem(host string) string {
	if hasPlaceholder(host) {
		return ""
	}
	if host == "" || strings.ContainsAny(host, "/:*@ ") {
		return "it is a name without scheme and port"
	}
	return ""
}
