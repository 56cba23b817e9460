// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A run holds what is started and built for one table.
type run struct {
	*options
	out          io.Writer
	upstream     string
	stopUpstream func()
	binaries     map[string]string
	subjects     []*subject
	facts        []string // told below the table
}

func (r *run) stop() {
	for _, s := range r.subjects {
		s.process.stop()
	}
	if r.stopUpstream != nil {
		r.stopUpstream()
	}
}

// binary builds one of builds and returns where it is.
func (r *run) binary(ctx context.Context, name string) (string, error) {
	if path := r.binaries[name]; path != "" {
		return path, nil
	}
	say("building %s: go build %s", name, strings.Join(builds[name], " "))
	path, err := filepath.Abs(filepath.Join(r.dir, name))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", append([]string{"build", "-o", path}, builds[name]...)...) //nolint:gosec // of constants
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	r.binaries[name] = path
	return path, nil
}

// begin starts the process of a setup, with its keys.
func (r *run) begin(ctx context.Context, s *setup) (*subject, error) {
	binary, err := r.binary(ctx, s.binary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "process-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	p, err := newProcess(binary, dir, s.env...)
	if err != nil {
		return nil, err
	}
	sub := &subject{setup: s, process: p, load: load{address: p.address, connections: r.connections}}
	r.subjects = append(r.subjects, sub)
	keys, step := 1, 1
	if s.million {
		keys = min(hotKeys, r.keys)
		step = r.keys / keys
	}
	if sub.load.requests, err = requestsOf(p.address, keys, step); err != nil {
		return nil, err
	}
	return sub, r.fill(ctx, sub)
}

// hotKeys is how many of many keys the requests are made with.
const hotKeys = 1000

// fill imports the keys of a subject and starts its process for what follows.
func (r *run) fill(ctx context.Context, s *subject) error {
	p := s.process
	first := &load{address: p.address, requests: s.load.requests[:1], connections: 1}
	answers := func() error { return first.run(ctx, 1) }
	if s.handler != "keytoll" {
		_, err := p.start(ctx, s.caddyfile(p, "", r.upstream), answers)
		return err
	}
	keys, data := 1, filepath.Join(p.dir, "data")
	if s.million {
		keys, data = r.keys, r.millionData()
	}
	config := s.caddyfile(p, data, r.upstream)
	done := filepath.Join(data, "imported")
	if _, err := os.Stat(done); err != nil {
		if err := r.importInto(ctx, p, config, data, keys); err != nil {
			return err
		}
		if err := os.WriteFile(done, nil, 0o600); err != nil {
			return err
		}
	}
	took, err := p.start(ctx, config, answers)
	if err != nil || !s.million {
		return err
	}
	memory, err := p.memory()
	r.fact("start to the first answer with %d keys: %s, RssAnon %s", keys, took.Round(time.Millisecond), megabytes(memory))
	return err
}

// millionData is the directory of the many keys.
func (r *run) millionData() string {
	path, _ := filepath.Abs(filepath.Join(r.dir, fmt.Sprintf("data-%d", r.keys)))
	return path
}

// importInto runs a process for as long as it takes to import keys.
func (r *run) importInto(ctx context.Context, p *process, config, data string, keys int) error {
	lines := filepath.Join(p.dir, "keys.ndjson")
	if err := writeImport(lines, keys); err != nil {
		return err
	}
	defer os.Remove(lines)
	ready := func() error {
		_, err := p.fetch(ctx, "http://"+p.admin+"/readyz", "")
		return err
	}
	if _, err := p.start(ctx, config, ready); err != nil {
		return err
	}
	defer p.stop()
	token, err := p.token(data)
	if err != nil {
		return err
	}
	if keys > 1 {
		say("importing %d keys", keys)
	}
	took, err := p.importKeys(ctx, token, lines, keys)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.lastWords())
	}
	if keys > 1 {
		memory, err := p.memory()
		if err != nil {
			return err
		}
		r.fact("import of %d keys: %s, %.0f a second, RssAnon then %s", keys, took.Round(10*time.Millisecond), float64(keys)/took.Seconds(), megabytes(memory))
	}
	return nil
}

func (r *run) fact(format string, args ...any) {
	r.facts = append(r.facts, fmt.Sprintf(format, args...))
	say(format, args...)
}

// compare measures setups in turn and prints the table.
func (r *run) compare(ctx context.Context, setups []setup) error {
	for i := range setups {
		if s := &setups[i]; !s.million || r.keys > 0 {
			if _, err := r.begin(ctx, s); err != nil {
				return err
			}
		}
	}
	say("warming up")
	for _, s := range r.subjects {
		if err := s.load.run(ctx, r.requests); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.name, err, s.process.lastWords())
		}
	}
	for n := range r.rounds {
		if n%10 == 0 {
			say("round %d of %d", n+1, r.rounds)
		}
		for i := range r.subjects { // each begins once in a while
			if err := r.subjects[(i+n)%len(r.subjects)].round(ctx, r.requests); err != nil {
				return err
			}
		}
	}
	say("latencies at %d requests a second", r.perSecond)
	for n := range r.rounds {
		for i := range r.subjects {
			if err := r.subjects[(i+n)%len(r.subjects)].pace(ctx, max(r.perSecond/10, 1), r.perSecond); err != nil {
				return err
			}
		}
	}
	if err := r.lookInto(ctx); err != nil {
		return err
	}
	return r.print()
}

// lookInto counts allocations by client, takes a profile of the gated setups
// and, at last, looks at many keys.
func (r *run) lookInto(ctx context.Context) error {
	if err := r.extraAllocations(ctx); err != nil {
		return err
	}
	for _, s := range r.subjects {
		if s.handler != "keytoll" || s.log != "" && s.binary == "bench" || r.steps {
			continue
		}
		say("profiling %s", s.name)
		raw, err := s.takeProfile(ctx, r.seconds)
		if err != nil {
			return err
		}
		p, err := parseProfile(raw)
		if err != nil {
			return fmt.Errorf("reading a profile: %w", err)
		}
		parts := p.shares()
		r.fact("part of the CPU samples, %s: %.2f %% in Keytoll's functions, %.2f %% with what they call\n%s",
			s.name, 100*parts.own, 100*parts.whole, profileText(parts.byFunction, 12))
	}
	for _, s := range r.subjects {
		if !s.million {
			continue
		}
		if err := r.manyKeys(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// extraAllocations tells how many allocations a request costs more with
// Keytoll: that depends on how many header fields the client sends, since Go's
// header maps grow, and on the log, since Caddy has each field encoded for it.
func (r *run) extraAllocations(ctx context.Context) error {
	secret, err := secretOf(0)
	if err != nil {
		return err
	}
	for _, pair := range []struct{ said, plain, gated string }{
		{"with Caddy's own log", plainName, oneKeyName},
		{"with a lazy log", plainLazyName, lazyName},
	} {
		plain, gated := r.subject(pair.plain), r.subject(pair.gated)
		if plain == nil || gated == nil {
			continue
		}
		for _, client := range []struct{ name, header string }{{"an SDK", sdkHeader}, {"curl", curlHeader}} {
			var costs [2]cost
			for i, s := range []*subject{plain, gated} {
				l := load{address: s.load.address, connections: r.connections, requests: [][]byte{requestAs(client.header, s.load.address, secret.Reveal())}}
				if costs[i], err = s.process.costOf(ctx, &l, r.requests); err != nil {
					return err
				}
			}
			r.fact("allocations a request of %s, %s: %.1f, with Keytoll %.1f: %+.1f",
				client.name, pair.said, costs[0].mallocs, costs[1].mallocs, costs[1].mallocs-costs[0].mallocs)
		}
	}
	return nil
}

func (r *run) subject(name string) *subject {
	for _, s := range r.subjects {
		if s.name == name {
			return s
		}
	}
	return nil
}
