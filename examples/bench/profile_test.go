// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"math"
	"path"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAProfileOfThisProcessIsRead(t *testing.T) {
	var raw bytes.Buffer
	var p *profile
	for range 20 { // others may have had the processor all the while
		raw.Reset()
		if err := pprof.StartCPUProfile(&raw); err != nil {
			t.Skip("another profile runs:", err)
		}
		for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
			busy(64 << 10)
		}
		pprof.StopCPUProfile()
		var err error
		if p, err = parseProfile(raw.Bytes()); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(p.samples, func(s sample) bool {
			return slices.ContainsFunc(p.stack(s), func(name string) bool { return strings.HasSuffix(name, ".busy") })
		}) {
			break
		}
		p = nil
	}
	if p == nil {
		t.Fatal("no stack has the function that was busy")
	}
	if _, err := parseProfile(raw.Bytes()[:raw.Len()/2]); err == nil {
		t.Error("half a profile was taken for a whole one")
	}
	struck, err := withoutPaths(raw.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if q, err := parseProfile(struck); err != nil || len(q.samples) != len(p.samples) || len(q.names) != len(p.names) {
		t.Errorf("without paths it is another profile: %v", err)
	} else if at := slices.IndexFunc(q.names, path.IsAbs); at >= 0 {
		t.Errorf("a path is left: %s", q.names[at])
	}
}

//go:noinline
func busy(n int) byte { return sha256.New().Sum(make([]byte, n))[0] }

func TestOnlyWhatKeytollDoesItselfIsItsShare(t *testing.T) {
	names := []string{
		"", "runtime.mallocgc", own + "caddymodule.(*Handler).ServeHTTP", "crypto/sha256.block", own + "plugin/gate.(*Gate).Admit",
		"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*Handler).ServeHTTP", own + "caddymodule.(*recorder).Write",
		"net/http.(*response).Write", "net/http.(*conn).serve", "net/http.Header.Get",
	}
	const malloc, serve, sha, admit, proxy, recorder, write, conn, get = 1, 2, 3, 4, 5, 6, 7, 8, 9
	p := &profile{names: names, functions: map[uint64]uint64{}, locations: map[uint64][]uint64{}}
	for i := range names {
		p.functions[uint64(i)], p.locations[uint64(i)] = uint64(i), []uint64{uint64(i)}
	}
	for _, s := range []struct {
		stack []uint64
		value int64
		ours  bool
	}{
		{[]uint64{sha, admit, serve, conn}, 1, true},
		{[]uint64{get, serve, conn}, 2, true},
		{[]uint64{malloc, recorder, proxy, serve, conn}, 4, true},
		{[]uint64{malloc, proxy, serve, conn}, 16, false},
		{[]uint64{malloc, write, recorder, proxy, serve, conn}, 32, false},
		{[]uint64{malloc, conn}, 64, false},
	} {
		p.samples = append(p.samples, sample{s.stack, s.value})
		if got := spender(p.stack(sample{locations: s.stack})) != ""; got != s.ours {
			t.Errorf("%v: got %v, want %v", p.stack(sample{locations: s.stack}), got, s.ours)
		}
	}
	p.samples = append(p.samples, sample{[]uint64{admit, serve, conn}, 8})
	parts := p.shares()
	if want := 15.0 / 127; math.Abs(parts.whole-want) > 1e-9 {
		t.Errorf("got a part of %v, want %v", parts.whole, want)
	}
	if want := 8.0 / 127; math.Abs(parts.own-want) > 1e-9 {
		t.Errorf("got %v in functions of ours, want %v", parts.own, want)
	}
	if got, want := parts.byFunction["plugin/gate.(*Gate).Admit"], 9.0/127; math.Abs(got-want) > 1e-9 {
		t.Errorf("got %v for Admit, want %v", got, want)
	}
}
