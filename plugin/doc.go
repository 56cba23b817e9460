// SPDX-License-Identifier: Apache-2.0

// Package plugin is the map of the product. It knows no Caddy, no HTTP server,
// no Prometheus and no Stripe; those live in caddymodule and admin.
//
// A key is looked up, its rate and quota are spent, the request is proxied, its
// usage is recorded and billed:
//
//   - apikey: what a caller holds (Secret), what is kept of it (Hash), the record (Key)
//   - customer: who pays
//   - plan: named limits and prices, the routes of the sold API and their cost
//   - limit: rates, as a pure function and as the buckets of this node
//   - usage: the periods usage is counted in, and what an answer says was used
//   - meter: the exact counters of this node
//   - store: what is kept, behind four small interfaces; storetest certifies engines
//   - gate: Admit and Settle
//   - id: the identifiers of records
//
// Imports point down this list's dependencies only; imports_test.go holds the table.
package plugin
