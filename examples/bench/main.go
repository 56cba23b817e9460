// SPDX-License-Identifier: Apache-2.0

// Command bench measures what the gate costs: it builds Caddy without and with
// Keytoll, runs them side by side before one small upstream, sends them the
// same requests in turn, and prints CPU and allocations per request, latencies
// at a fixed rate, and which part of the CPU samples is Keytoll's.
//
//	go run ./examples/bench            # the table
//	go run ./examples/bench -steps     # what each setting of the shipped build saves
//	go run ./examples/bench -profile examples/caddy/default.pgo
//
// Only ratios within one run tell something: other load on the machine meets
// all alike. It needs Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// options are the flags.
type options struct {
	keys        int
	rounds      int
	requests    int
	connections int
	perSecond   int
	seconds     int
	dir         string
	steps       bool
	profile     string
	upstream    bool
}

func main() {
	var o options
	flag.IntVar(&o.keys, "keys", 1_000_000, "how many keys to import; 0: none, and without their rows")
	flag.IntVar(&o.rounds, "rounds", 60, "how many rounds; the table shows medians")
	flag.IntVar(&o.requests, "requests", 1000, "requests a round")
	flag.IntVar(&o.connections, "connections", 16, "connections that stay open")
	flag.IntVar(&o.perSecond, "rate", 1000, "requests a second when latencies are taken")
	flag.IntVar(&o.seconds, "seconds", 10, "how long a CPU profile takes")
	flag.StringVar(&o.dir, "dir", "", "where to work; kept, and imported keys used again. Default: a temporary directory")
	flag.BoolVar(&o.steps, "steps", false, "measure what each setting of the shipped build saves")
	flag.StringVar(&o.profile, "profile", "", "only write a CPU profile to this file, to build with")
	flag.BoolVar(&o.upstream, "upstream", false, "be the upstream")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

func (o *options) run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	if o.upstream {
		return serveUpstream(in, out)
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "keytoll-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	r := &run{options: o, out: out, binaries: map[string]string{}}
	defer r.stop()
	if r.upstream, r.stopUpstream, err = startUpstream(ctx); err != nil {
		return err
	}
	switch {
	case o.profile != "":
		return r.writeProfile(ctx)
	case o.steps:
		o.keys = 0
		return r.compare(ctx, steps)
	}
	return r.compare(ctx, setups)
}

// say tells what goes on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
