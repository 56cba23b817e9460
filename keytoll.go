// SPDX-License-Identifier: Apache-2.0

// Package keytoll turns an HTTP API that already exists into one that is sold.
//
// It is a plugin for the Caddy web server. Its sentence: a key is looked up,
// its rate and quota are spent, the request is proxied, its usage is recorded
// and billed. Every verb of it is one function, every noun one package:
//
//   - plugin: the product. It knows no Caddy, no HTTP server, no Stripe.
//   - admin: what people and Stripe may do: the HTTP API behind the keys.
//   - caddymodule: translation between Caddy and the two above.
//
// Importing this package registers the Caddy modules, which is what
// `xcaddy build --with github.com/keytoll/keytoll` does.
package keytoll

import (
	_ "github.com/keytoll/keytoll/caddymodule" // registers the Caddy modules
)
