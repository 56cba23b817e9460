// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed schemas.json
var schemas []byte

// An operation says what openapi.json tells of a route.
type operation struct {
	summary string
	takes   string   // schema of the body
	gives   string   // schema of the answer; or a media type
	status  string   // of success; default 200
	query   []string // parameters, see parameters
}

// roleNames lists the roles in the order they are told.
var roleNames = []Role{RoleOwner, RoleProvision, RoleSupport, RoleMeter, RoleRead}

// openapi describes the API, by the table that answers it.
func (s *Server) openapi(context.Context, *call) (*answer, error) {
	paths := map[string]map[string]any{}
	for _, r := range s.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.TrimSuffix(path, "{$}")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = describe(&r, method, path)
	}
	var components map[string]any
	if err := json.Unmarshal(schemas, &components); err != nil {
		return nil, fmt.Errorf("reading the schemas: %w", err)
	}
	version := s.o.Version
	if version == "" {
		version = "0"
	}
	return ok(map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": "Keytoll admin API", "version": version, "license": map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths":   paths,
		"components": map[string]any{
			"schemas":         components,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
		},
		"security": []any{map[string]any{"token": []any{}}},
	}), nil
}

func describe(r *route, method, path string) map[string]any {
	op := operations[r.pattern]
	told := map[string]any{
		"summary":     op.summary,
		"operationId": operationID(method, path),
		"responses":   responses(op, method),
		"description": "Roles: " + strings.Join(allowed(r.roles), ", ") + ".",
	}
	if r.roles == public {
		told["security"], told["description"] = []any{}, "Needs no token."
	}
	var params []any
	if strings.Contains(path, "{id}") {
		params = append(params, map[string]any{"name": "id", "in": "path", "required": true, "schema": text})
	}
	for _, name := range op.query {
		params = append(params, map[string]any{"name": name, "in": "query", "schema": parameters[name]})
	}
	if method == "POST" && r.body == inJSON {
		params = append(params, map[string]any{"name": "Idempotency-Key", "in": "header", "schema": map[string]any{"type": "string", "minLength": 1, "maxLength": 255}})
	}
	if len(params) > 0 {
		told["parameters"] = params
	}
	if op.takes != "" {
		media := "application/json"
		if r.body == inNDJSON {
			media = "application/x-ndjson"
		}
		told["requestBody"] = map[string]any{"content": map[string]any{media: map[string]any{"schema": schemaRef(op.takes)}}}
	}
	return told
}

func responses(op operation, method string) map[string]any {
	status, told := op.status, map[string]any{"description": "Done."}
	if status == "" {
		status = "200"
	}
	switch {
	case strings.HasPrefix(op.gives, "application/x-ndjson "):
		told["content"] = map[string]any{"application/x-ndjson": map[string]any{"schema": schemaRef(strings.TrimPrefix(op.gives, "application/x-ndjson "))}}
	case strings.Contains(op.gives, "/"):
		told["content"] = map[string]any{op.gives: map[string]any{"schema": text}}
	default:
		told["content"] = map[string]any{"application/json": map[string]any{"schema": schemaRef(op.gives)}}
	}
	all := map[string]any{
		status: told,
		"default": map[string]any{
			"description": "A problem (RFC 9457).",
			"content":     map[string]any{"application/problem+json": map[string]any{"schema": schemaRef("Problem")}},
		},
	}
	if method == "PUT" {
		all["201"] = told
	}
	return all
}

// text is the schema of a string.
var text = map[string]any{"type": "string"}

func schemaRef(name string) map[string]any {
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// allowed returns the roles that may make a call.
func allowed(rs roles) (names []string) {
	for _, role := range roleNames {
		if rs.allow(role) {
			names = append(names, string(role))
		}
	}
	return names
}

// operationID makes a name as getCustomersUsage of a route.
func operationID(method, path string) string {
	var name strings.Builder
	name.WriteString(strings.ToLower(method))
	for _, part := range strings.FieldsFunc(path, func(c rune) bool { return strings.ContainsRune("/-._{}", c) }) {
		if part != "v1" {
			name.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return name.String()
}

// words is the schema of one of some strings.
func words(list ...string) map[string]any {
	return map[string]any{"type": "string", "enum": list}
}

var moment = map[string]any{"type": "string", "format": "date-time"}

// parameters are those of queries: one name means the same in every call.
var parameters = map[string]map[string]any{
	"limit": {"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit},
	"after": text, "q": text, "customer": text, "key": text, "plan": text, "route": text, "email": text, "external_id": text,
	"stripe_customer_id": text, "reason": text, "target": text, "actor": text, "action": text,
	"status": words("active", "disabled", "revoked", "expired"),
	"mode":   words("live", "test"), "bucket": words("day", "hour", "month"),
	"group_by": words("key", "customer", "route", "outcome", "plan"),
	"format":   words("json", "csv", "html"), "dry_run": words("true", "false"),
	"from": moment, "to": moment, "since": moment,
	"period": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
}

var pages = []string{"limit", "after", "q"}

// operations tell of each route, by its pattern.
var operations = map[string]operation{
	"POST /v1/customers":                  {summary: "Create a customer", takes: "CustomerInput", gives: "Customer", status: "201"},
	"GET /v1/customers":                   {summary: "List customers, newest first", gives: "CustomerList", query: append(pages, "plan", "email", "external_id", "stripe_customer_id")},
	"GET /v1/customers/{id}":              {summary: "Show a customer", gives: "Customer"},
	"PATCH /v1/customers/{id}":            {summary: "Change a customer: a merge patch, null clears", takes: "CustomerInput", gives: "Customer"},
	"DELETE /v1/customers/{id}":           {summary: "Erase a customer: revoke its keys, settle its usage, forget personal data, keep what bills are made of", gives: "Customer"},
	"GET /v1/customers/{id}/export":       {summary: "Stream all that is held of a customer, an object a line", gives: "application/x-ndjson ExportLine"},
	"GET /v1/customers/{id}/usage":        {summary: "What the customer's keys of one mode have used this month, exactly", gives: "UsageReport", query: []string{"mode"}},
	"POST /v1/customers/{id}/adjustments": {summary: "Correct what a customer has used", takes: "AdjustmentInput", gives: "Adjustment", status: "201"},
	"GET /v1/customers/{id}/adjustments":  {summary: "List adjustments, newest first", gives: "AdjustmentList", query: pages},
	"GET /v1/customers/{id}/statement":    {summary: "What a customer has used in the billing period that begins in a month, by day and route", gives: "Statement", query: []string{"period", "format"}},

	"POST /v1/keys":              {summary: "Create a key and mint its secret, or take the hash of one made elsewhere", takes: "KeyInput", gives: "CreatedKey", status: "201"},
	"GET /v1/keys":               {summary: "List keys, newest first", gives: "KeyList", query: append(pages, "customer", "status", "plan")},
	"GET /v1/keys/{id}":          {summary: "Show a key", gives: "Key"},
	"PATCH /v1/keys/{id}":        {summary: "Change a key: a merge patch, null clears", takes: "KeyPatch", gives: "Key"},
	"POST /v1/keys/{id}/rotate":  {summary: "Give a key a new secret; the old one works for the grace", takes: "RotateInput", gives: "CreatedKey"},
	"POST /v1/keys/{id}/disable": {summary: "Refuse a key from the next request on, until it is enabled", takes: "ReasonInput", gives: "Key"},
	"POST /v1/keys/{id}/enable":  {summary: "Let a disabled key call again", takes: "ReasonInput", gives: "Key"},
	"POST /v1/keys/{id}/revoke":  {summary: "Refuse a key from the next request on, for ever", takes: "ReasonInput", gives: "Key"},
	"POST /v1/keys/revoke":       {summary: "Revoke the keys that hashes open", takes: "RevokeInput", gives: "Revoked"},
	"POST /v1/keys/import":       {summary: "Take over keys, an object a line; lines that are here already change nothing", takes: "ImportInput", gives: "application/x-ndjson ImportLine", query: []string{"dry_run"}},
	"GET /v1/keys/{id}/usage":    {summary: "What a key has used this month, exactly", gives: "UsageReport"},

	"GET /v1/usage":         {summary: "Usage by bucket of time and one dimension", gives: "Usage", query: []string{"customer", "key", "route", "from", "to", "bucket", "group_by", "format"}},
	"GET /v1/plans":         {summary: "List the plans in force, by id", gives: "PlanList", query: pages},
	"GET /v1/plans/{id}":    {summary: "Show a plan", gives: "Plan"},
	"PUT /v1/plans/{id}":    {summary: "Create or replace a plan; those of the configuration are read-only", takes: "PlanInput", gives: "Plan"},
	"DELETE /v1/plans/{id}": {summary: "Delete a plan that nobody holds", gives: "Deleted"},

	"GET /v1/explain":              {summary: "How a call with a key would be decided now, and why", gives: "Explanation", query: []string{"key"}},
	"POST /v1/explain":             {summary: "The same for the key that a secret or a hash opens", takes: "ExplainInput", gives: "Explanation"},
	"GET /v1/denials":              {summary: "List the last denials, newest first", gives: "DenialList", query: []string{"limit", "after", "reason", "key", "customer", "route", "since"}},
	"GET /v1/stream":               {summary: "Totals and denials every two seconds, as server-sent events of StreamEvent", gives: "text/event-stream"},
	"GET /v1/audit":                {summary: "List who changed what, newest first", gives: "AuditList", query: append(pages[:2:2], "customer", "target", "actor", "action", "from", "to")},
	"GET /v1/backup":               {summary: "Stream a whole backup", gives: "application/x-tar"},
	"POST /v1/admin-tokens":        {summary: "Create an admin token; it is shown once", takes: "AdminTokenInput", gives: "CreatedAdminToken", status: "201"},
	"GET /v1/admin-tokens":         {summary: "List admin tokens, newest first", gives: "AdminTokenList", query: pages},
	"DELETE /v1/admin-tokens/{id}": {summary: "Delete an admin token", gives: "Deleted"},

	"GET /openapi.json": {summary: "This description", gives: "OpenAPI"},
	"GET /metrics":      {summary: "Metrics for Prometheus", gives: "text/plain"},
	"GET /healthz":      {summary: "The process answers", gives: "Health"},
	"GET /readyz":       {summary: "Requests can be decided", gives: "Health"},
	"GET /{$}":          {summary: "What listens here", gives: "text/html"},
}
