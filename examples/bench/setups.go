// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A setup is one Caddy that is measured, and what is sent to it.
type setup struct {
	name    string
	binary  string   // of the build: stock, bench or shipped
	handler string   // before reverse_proxy
	tuned   bool     // with the transport settings of Caddyfile.example
	million bool     // on the directory of many keys
	log     string   // what is said of the default log
	env     []string // of its process
}

// The setups of the table, in its order. All are asked in turn, so that what
// else the machine does meets them alike.
var setups = []setup{
	{name: stockName, binary: "stock"},
	{name: plainName, binary: "bench"},
	{name: "a no-op handler", binary: "bench", handler: "bench_noop"},
	{name: oneKeyName, binary: "bench", handler: "keytoll"},
	{name: plainLazyName, binary: "bench", log: lazyLog},
	{name: lazyName, binary: "bench", handler: "keytoll", log: lazyLog},
	{name: manyKeysName, binary: "bench", handler: "keytoll", million: true},
	{name: shippedName, binary: "shipped", handler: "keytoll", tuned: true, log: lazyLog},
}

const (
	// the logs that keep secrets in X-API-Key out, the second as shipped
	filterLog = "\tlog default {\n\t\tformat filter {\n\t\t\twrap json\n\t\t\trequest>headers>X-Api-Key delete\n\t\t}\n\t}\n"
	lazyLog   = "\tlog default {\n\t\tformat lazy {\n\t\t\twrap filter {\n\t\t\t\twrap json\n\t\t\t\trequest>headers>X-Api-Key delete\n\t\t\t}\n\t\t}\n\t}\n"

	stockName     = "stock Caddy"
	plainName     = "reverse_proxy alone"
	oneKeyName    = "Keytoll, 1 key"
	plainLazyName = "reverse_proxy, lazy log"
	lazyName      = "Keytoll, lazy log"
	manyKeysName  = "Keytoll, all keys"
	shippedName   = "Keytoll as shipped"
)

// steps are what the settings of the shipped build save, one by one.
var steps = []setup{
	{name: stockName, binary: "stock"},
	{name: "the same again", binary: "stock"},
	{name: plainName, binary: "bench"},
	{name: "a log with a filter", binary: "bench", log: filterLog},
	{name: plainLazyName, binary: "bench", log: lazyLog},
	{name: "GOGC=400", binary: "stock", env: []string{"GOGC=400"}},
	{name: "transport settings", binary: "stock", tuned: true},
	{name: "the profile (PGO)", binary: "stockpgo"},
	{name: "the last three", binary: "stockpgo", tuned: true, env: []string{"GOGC=400"}},
	{name: oneKeyName, binary: "bench", handler: "keytoll"},
	{name: lazyName, binary: "bench", handler: "keytoll", log: lazyLog},
	{name: shippedName, binary: "shipped", handler: "keytoll", tuned: true, log: lazyLog},
}

// planName is the plan of every key.
const planName = "bench"

// transport are the settings that Caddyfile.example ships.
const transport = ` {
		stream_close_delay 30s
		transport http {
			compression off
			keepalive_idle_conns_per_host 256
		}
	}`

// caddyfile returns what the process of a setup runs with. The plan has what a
// real one has, two rates and a pooled quota, none of which is ever reached.
func (s *setup) caddyfile(p *process, data, upstream string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin %s\n\tauto_https off\n\tpersist_config off\n\tgrace_period 2s\n", p.caddyAdmin)
	if s.handler == "keytoll" {
		fmt.Fprintf(&b, `	keytoll {
		storage bbolt %[1]s
		admin %[3]s
		default_plan %[2]s
		plan %[2]s {
			rate 1M/second
			rate 60M/minute per customer
			quota 1_000_000M/month per customer
		}
	}
`, data, planName, p.admin)
	}
	b.WriteString(s.log)
	fmt.Fprintf(&b, "}\nhttp://%s {\n\tbind 127.0.0.1\n", p.address)
	if s.handler != "" {
		fmt.Fprintf(&b, "\t%s\n", s.handler)
	}
	fmt.Fprintf(&b, "\treverse_proxy %s", upstream)
	if s.tuned {
		b.WriteString(transport)
	}
	b.WriteString("\n}\n")
	return b.String()
}

// builds are the binaries, by name: the arguments of go build.
var builds = map[string][]string{
	"stock":    {"-pgo=off", "github.com/caddyserver/caddy/v2/cmd/caddy"},
	"stockpgo": {"-pgo=" + filepath.Join("examples", "caddy", "default.pgo"), "github.com/caddyserver/caddy/v2/cmd/caddy"},
	"bench":    {"-pgo=off", "./examples/bench/caddy"},
	"shipped":  {"./examples/caddy"},
}
