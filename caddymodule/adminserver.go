// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keytoll/keytoll/admin"
)

// listeners are the admin listeners in use, by their address. A reload that
// keeps the address hands the listener over: no connection is refused.
var listeners = caddy.NewUsagePool()

// An adminEndpoint is one configuration's admin API. The nil one serves nothing.
type adminEndpoint struct {
	config  *Admin
	logger  *slog.Logger
	handler http.Handler
	tls     *tls.Config // nil: HTTP
	key     string      // in listeners; "" while it does not listen
}

// start makes the server and listens, or takes the listener over.
func (p *adminEndpoint) start(ctx context.Context, a *App) (err error) {
	if p == nil {
		return nil
	}
	if p.tls, err = p.config.certificate(); err != nil {
		return err
	}
	token := p.config.token
	if token == "" {
		if token, err = ownerToken(p.config.tokenFile, p.logger); err != nil {
			return err
		}
	}
	server, err := a.tenancy.engine.adminServer(a, token, p.config.hosts)
	if err != nil {
		return fmt.Errorf("making the admin API: %w", err)
	}
	p.handler = server
	key := p.listenerKey(a)
	value, _, err := listeners.LoadOrNew(key, func() (caddy.Destructor, error) {
		return listenAdmin(ctx, p.config, server.HTTPServer())
	})
	if err != nil {
		return fmt.Errorf("listening for the admin API: %w", err)
	}
	p.key = key
	l := value.(*adminListener)
	l.push(p)
	p.announce(l)
	return nil
}

// listenerKey is the address; with a port that the system chooses, one for
// each storage.
func (p *adminEndpoint) listenerKey(a *App) string {
	key := p.config.network + "/" + p.config.address
	if _, port, err := net.SplitHostPort(p.config.address); err == nil && port == "0" {
		key += "@" + a.Storage.place()
	}
	return key
}

// announce says where the admin API is and how to make the first key.
func (p *adminEndpoint) announce(l *adminListener) {
	scheme := "http://"
	switch {
	case p.config.network == "unix":
		scheme = "unix/"
	case p.tls != nil:
		scheme = "https://"
	}
	attrs := []any{"address", scheme + l.Addr().String()}
	if p.config.token == "" {
		attrs = append(attrs, "token_file", p.config.tokenFile)
	}
	attrs = append(attrs, "first_key", "caddy keytoll keys create --customer you@example.com")
	p.logger.Info("admin API is up", attrs...)
	if p.config.Plaintext && p.config.network != "unix" {
		p.logger.Warn("admin API is served in plaintext: whoever can listen in reads the admin token", "address", p.config.address)
	}
}

// stop gives the listener back; the last one closes it.
func (p *adminEndpoint) stop() error {
	if p == nil || p.key == "" {
		return nil
	}
	listeners.Range(func(key, value any) bool {
		if key == p.key {
			value.(*adminListener).remove(p)
		}
		return key != p.key
	})
	key := p.key
	p.key = ""
	_, err := listeners.Delete(key)
	return err
}

// An adminListener is one address, served by the newest endpoint on it.
type adminListener struct {
	net.Listener
	server *http.Server
	served chan struct{} // closed when the server has ended
	newest atomic.Pointer[adminEndpoint]

	mu        sync.Mutex // guards endpoints
	endpoints []*adminEndpoint
}

// listenAdmin opens the address and serves it, with the time-outs of server.
func listenAdmin(ctx context.Context, c *Admin, server *http.Server) (*adminListener, error) {
	if c.network == "unix" {
		if err := removeStale(ctx, c.address); err != nil {
			return nil, err
		}
	}
	inner, err := new(net.ListenConfig).Listen(ctx, c.network, c.address)
	if err != nil {
		return nil, err
	}
	l := &adminListener{Listener: inner, server: server, served: make(chan struct{})}
	server.Handler = l
	server.ErrorLog = slog.NewLogLogger(logHandler{}, slog.LevelDebug)
	go func() {
		defer close(l.served)
		_ = server.Serve(l)
	}()
	return l, nil
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(ctx context.Context, path string) error {
	state, err := os.Lstat(path)
	if err != nil || state.Mode()&os.ModeSocket == 0 {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return nil
}

// push puts p in force.
func (l *adminListener) push(p *adminEndpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endpoints = append(l.endpoints, p)
	l.choose()
}

// remove takes p back; the newest of the others is in force.
func (l *adminListener) remove(p *adminEndpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.endpoints {
		if other == p {
			l.endpoints = append(l.endpoints[:i:i], l.endpoints[i+1:]...)
			break
		}
	}
	l.choose()
}

func (l *adminListener) choose() {
	if len(l.endpoints) == 0 {
		return // the last one stays until the listener closes
	}
	p := l.endpoints[len(l.endpoints)-1]
	l.newest.Store(p)
	if p.config.network == "unix" && p.config.address[0] != '@' {
		if err := os.Chmod(p.config.address, p.config.mode); err != nil {
			p.logger.Error("setting the mode of the admin socket", "error", err)
		}
	}
}

// Accept returns the next connection, by TLS where the newest endpoint has it.
func (l *adminListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if p := l.newest.Load(); p != nil && p.tls != nil {
		return tls.Server(conn, p.tls), nil
	}
	return conn, nil
}

// ServeHTTP answers by the newest endpoint.
func (l *adminListener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := l.newest.Load()
	if p == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.handler.ServeHTTP(w, r)
}

// adminGrace is how long calls in flight have to end.
const adminGrace = 5 * time.Second

// Destruct closes the address and waits for what is in flight.
func (l *adminListener) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
	defer cancel()
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.server.Close()
	}
	<-l.served
	return err
}

// adminServer returns an admin API over the open engine.
func (e *engine) adminServer(a *App, token string, hosts []string) (*admin.Server, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return admin.New(admin.Options{
		Store: e.store, Gate: e.decider, Meter: e.meter, Now: time.Now, Logger: e.logger,
		KeyPrefix: a.keyPrefix, OwnerToken: token, Hosts: hosts,
		Metrics: e.metrics.page(), Ready: e.readiness, Backup: e.backup, Version: version(), Observe: e.metrics.adminCall,
	})
}

// readiness says why requests cannot be decided; nil where they can.
func (e *engine) readiness(ctx context.Context) error {
	if e.gate.Load() == nil {
		return errNotStarted
	}
	e.mu.Lock()
	s := e.store
	e.mu.Unlock()
	if s == nil {
		return errNotStarted
	}
	_, err := s.Revision(ctx)
	return err
}
