// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
)

// A Server answers the admin API. It may be used concurrently.
type Server struct {
	o        Options
	hosts    hosts
	owner    apikey.Hash
	running  *running
	attempts *attempts
	mux      *http.ServeMux
	writing  sync.Mutex // calls that change something take turns
}

// handler answers one call that has passed the guard. A nil answer means that
// it has written its answer itself.
type handler func(ctx context.Context, c *call) (*answer, error)

// A route is one call of the API.
type route struct {
	pattern string // method and path
	roles   roles  // who may, beside the owner
	body    body
	handle  handler
}

// mounted is a route that a mux can find.
type mounted struct {
	route
	segment int // of the path that is {id}; 0: none
}

// ServeHTTP is not called: the mux only finds a route, see Server.find.
func (*mounted) ServeHTTP(http.ResponseWriter, *http.Request) {}

// mount prepares the routes for find.
func (s *Server) mount() {
	s.mux = http.NewServeMux()
	for _, r := range s.routes() {
		_, path, _ := strings.Cut(r.pattern, " ")
		s.mux.Handle(r.pattern, &mounted{r, max(slices.Index(strings.Split(path, "/"), "{id}"), 0)})
	}
}

// routes is the whole API.
func (s *Server) routes() []route {
	return []route{
		{"POST /v1/customers", provision, inJSON, s.createCustomer},
		{"GET /v1/customers", provision | reads, noBody, s.listCustomers},
		{"GET /v1/customers/{id}", provision | reads, noBody, s.showCustomer},
		{"PATCH /v1/customers/{id}", provision, inJSON, s.patchCustomer},
		{"DELETE /v1/customers/{id}", provision, noBody, s.eraseCustomer},
		{"GET /v1/customers/{id}/export", provision, noBody, s.exportCustomer},
		{"GET /v1/customers/{id}/usage", provision | metering | reads, noBody, s.customerUsage},
		{"POST /v1/customers/{id}/adjustments", ownerOnly, inJSON, s.adjust},
		{"GET /v1/customers/{id}/adjustments", reads, noBody, s.listAdjustments},
		{"GET /v1/customers/{id}/statement", reads, noBody, s.statement},

		{"POST /v1/keys", provision, inJSON, s.createKey},
		{"GET /v1/keys", provision | reads, noBody, s.listKeys},
		{"GET /v1/keys/{id}", provision | reads, noBody, s.showKey},
		{"PATCH /v1/keys/{id}", provision, inJSON, s.patchKey},
		{"POST /v1/keys/{id}/rotate", provision, inJSON, s.rotateKey},
		{"POST /v1/keys/{id}/disable", provision | support, inJSON, s.disableKey},
		{"POST /v1/keys/{id}/enable", provision | support, inJSON, s.enableKey},
		{"POST /v1/keys/{id}/revoke", provision | support, inJSON, s.revokeKey},
		{"POST /v1/keys/revoke", provision | support, inJSON, s.revokeHashes},
		{"POST /v1/keys/import", provision, inNDJSON, s.importKeys},
		{"GET /v1/keys/{id}/usage", provision | metering | reads, noBody, s.keyUsage},

		{"GET /v1/usage", metering | reads, noBody, s.usage},
		{"GET /v1/plans", reads, noBody, s.listPlans},
		{"GET /v1/plans/{id}", reads, noBody, s.showPlan},
		{"PUT /v1/plans/{id}", ownerOnly, inJSON, s.putPlan},
		{"DELETE /v1/plans/{id}", ownerOnly, noBody, s.deletePlan},

		{"GET /v1/explain", reads, noBody, s.explainKey},
		{"POST /v1/explain", support, inJSON, s.explainSecret},
		{"GET /v1/denials", reads, noBody, s.listDenials},
		{"GET /v1/stream", reads, noBody, s.stream},
		{"GET /v1/audit", reads, noBody, s.listAudit},
		{"GET /v1/backup", ownerOnly, noBody, s.backup},
		{"POST /v1/admin-tokens", ownerOnly, inJSON, s.createToken},
		{"GET /v1/admin-tokens", reads, noBody, s.listTokens},
		{"DELETE /v1/admin-tokens/{id}", ownerOnly, noBody, s.deleteToken},

		{"GET /openapi.json", anyRole, noBody, s.openapi},
		{"GET /metrics", reads, noBody, s.metrics},
		{"GET /healthz", public, noBody, s.healthz},
		{"GET /readyz", public, noBody, s.readyz},
		{"GET /{$}", public, noBody, s.home},
	}
}

// HTTPServer returns a server for one listener that answers by s. Its time-outs
// do not hold for import, backup, export and stream, which set their own.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}
