// SPDX-License-Identifier: Apache-2.0

// Command caddy is Caddy with its standard modules and Keytoll.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/keytoll/keytoll"
)

func main() {
	caddycmd.Main()
}
