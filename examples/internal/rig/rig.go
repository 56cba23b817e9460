// SPDX-License-Identifier: Apache-2.0

// Package rig runs the built binary the way a user does, for tests that judge
// it from outside: a real Caddy process with Keytoll before an upstream, spoken
// to over real HTTP on loopback.
//
//   - rig.go: the binary under test
//   - gateway.go, process.go: one Caddy process and its Caddyfile
//   - call.go: what is asked of it
//   - secrets.go: what it must never tell
package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Binary is the Caddy under test, built by Main.
var Binary string

// Main builds the Caddy of the package directory at path (with the race
// detector where the tests have it), runs the tests and returns their exit
// code. It is what TestMain calls.
func Main(m *testing.M, path string) int {
	dir, err := os.MkdirTemp("", "keytoll-rig-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "caddy")
	args := []string{"build", "-o", Binary}
	if Raced {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, path)...) //nolint:gosec // the caller names its own package
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the Caddy under test:", err)
		return 1
	}
	return m.Run()
}

// Ports gives n loopback ports that were free a moment ago.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}
