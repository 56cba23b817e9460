// SPDX-License-Identifier: Apache-2.0

// Package admin is what people and their programs may do to a gate: the admin
// API, as JSON over HTTP under /v1. It knows no Caddy and no Stripe.
//
// Reading order: server.go holds the whole table of routes with the role each
// needs; guard.go is what every call passes first; write.go is how a call
// changes something (read, change, one transaction with its audit entry and
// its idempotency record, again on a conflict); then one file for each
// resource. Status codes are in problem.go alone.
package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/store"
)

// Options are what a Server needs. Store, Gate, Meter, Now and OwnerToken are
// required. A reload makes a new Server over the same store, gate and meter:
// nothing that a later Server would miss is kept in one.
type Options struct {
	Store store.Engine
	Gate  *gate.Gate
	Meter *meter.Meter
	Now   func() time.Time

	// Logger is told of faults and of what operators should know. Default: none.
	Logger *slog.Logger
	// KeyPrefix begins the secrets that are minted. Default: sk.
	KeyPrefix string
	// OwnerToken is the token of the configuration or of the token file. Only
	// its hash is kept. It always has the role owner and cannot be deleted.
	OwnerToken string
	// Hosts are the Host names that are accepted beside those of loopback,
	// without a port.
	Hosts []string

	// Metrics answers GET /metrics. Default: 404.
	Metrics http.Handler
	// Ready returns why requests cannot be decided, or nil. Default: ready.
	Ready func(ctx context.Context) error
	// Backup writes a whole backup. It is to write nothing before it is sure
	// to succeed: what it returns before its first byte becomes a problem.
	// Default: 404.
	Backup func(ctx context.Context, w io.Writer) error
	// Observe is told of each call that was answered: the pattern of its route,
	// empty where it had none, and the status. Default: nobody is told.
	Observe func(pattern string, status int)
	// Version of the program, for GET / and /openapi.json.
	Version string
}

// ErrNoToken says that the owner's token is empty.
var ErrNoToken = errors.New("the admin token is empty")

// weakToken is the length under which an owner's token is warned about.
const weakToken = 16

// New returns a Server. It does no I/O. Errors: ErrNoToken, and what is wrong
// with an option.
func New(o Options) (*Server, error) {
	if o.OwnerToken == "" {
		return nil, ErrNoToken
	}
	if o.Store == nil || o.Gate == nil || o.Meter == nil || o.Now == nil {
		return nil, errors.New("admin: Store, Gate, Meter and Now are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, int) {}
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = "sk"
	}
	if !apikey.ValidPrefix(o.KeyPrefix) {
		return nil, errors.New("admin: the key prefix '" + o.KeyPrefix + "' is not valid")
	}
	if len(o.OwnerToken) < weakToken {
		o.Logger.Warn("the admin token is short: whoever guesses it owns the gate", slog.Int("characters", len(o.OwnerToken)))
	}
	s := &Server{o: o, hosts: newHosts(o.Hosts), owner: HashToken(o.OwnerToken), running: newRunning(), attempts: newAttempts()}
	s.o.OwnerToken = ""
	s.mount()
	return s, nil
}
