// SPDX-License-Identifier: Apache-2.0

// Command caddy is Caddy with its standard modules and Keytoll, and with what
// makes both cheaper: a garbage collector that runs less often (gc.go), and
// default.pgo, a profile of a gated Caddy that go build finds by its name.
// `go run ./examples/bench -steps` measures what they save; the profile was
// written by
//
//	go run ./examples/bench -keys 0 -seconds 30 -profile examples/caddy/default.pgo
package main

import (
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/keytoll/keytoll"
)

func main() {
	if os.Getenv("GOGC") == "" {
		collectLess()
	}
	caddycmd.Main()
}
