// SPDX-License-Identifier: Apache-2.0

// Command caddy is the Caddy that is measured: the standard modules, Keytoll,
// and a handler that does nothing, without the settings of examples/caddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/keytoll/keytoll"
	_ "github.com/keytoll/keytoll/examples/bench/noop"
)

func main() {
	caddycmd.Main()
}
