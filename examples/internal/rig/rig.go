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
	"sync"
	"testing"
)

var build struct {
	once   sync.Once
	source string // directory of the package
	binary string
	err    error
}

// Main runs the tests and returns their exit code. It is what TestMain calls.
// The Caddy under test is that of the package directory at path.
func Main(m *testing.M, path string) int {
	dir, err := os.MkdirTemp("", "keytoll-rig-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build.source, build.binary = path, filepath.Join(dir, "caddy")
	return m.Run()
}

// Binary returns the Caddy under test. It is built when it is first asked for,
// with the race detector where the tests have it, and without the profile, by
// which the compiler would have to go through all of Caddy once more.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		args := []string{"build", "-pgo=off", "-o", build.binary}
		if Raced {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, build.source)...).CombinedOutput() //nolint:gosec // the tests name their own package
		if err != nil {
			build.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatalf("building the Caddy under test: %v", build.err)
	}
	return build.binary
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
