// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// TestTheReadmeTranscriptIsWhatHappens starts Caddyfile.example and types what
// the README's console block types. `…` in its output stands for anything.
func TestTheReadmeTranscriptIsWhatHappens(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "```console\n")
	if !ok {
		t.Fatal("the README has no console block")
	}
	block, _, _ = strings.Cut(block, "```")
	example, err := os.ReadFile("../../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}

	g := rig.New(t)
	dir, p := g.Dir, rig.Ports(t, 4)
	moved := strings.NewReplacer(
		":8080", fmt.Sprintf(":%d", p[0]), ":8090", fmt.Sprintf(":%d", p[1]), ":2021", fmt.Sprintf(":%d", p[2]),
		"auto_https off", fmt.Sprintf("auto_https off\n\tadmin 127.0.0.1:%d", p[3]))
	g.Admin = fmt.Sprintf("http://127.0.0.1:%d", p[2])
	text := strings.Replace(moved.Replace(string(example)), "./keytoll-data", filepath.Join(dir, "data"), 1)
	if err := os.WriteFile(g.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Run()
	t.Cleanup(g.Stop)
	if err := os.Symlink(rig.Binary(t), filepath.Join(dir, "caddy")); err != nil {
		t.Fatal(err)
	}

	// One shell types it all, and says which line it is at.
	var script strings.Builder
	var lines []string // as they stand in the README
	outputs := make(map[int][]string)
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			fmt.Fprintf(&script, "echo '@@%d'\n%s\n", len(lines), moved.Replace(command))
			lines = append(lines, command)
			continue
		}
		outputs[len(lines)-1] = append(outputs[len(lines)-1], line)
	}
	shell := exec.Command("sh")
	shell.Stdin = strings.NewReader("exec 2>&1\n" + script.String())
	shell.Dir = dir
	shell.Env = append(g.Env(), "PATH="+dir+":"+os.Getenv("PATH"), "KEYTOLL_ADMIN="+g.Admin,
		"KEYTOLL_ADMIN_TOKEN="+g.Token, "NO_COLOR=1")
	raw, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	parts := regexp.MustCompile(`(?m)@@\d+\r?\n`).Split(strings.ReplaceAll(string(raw), "\r", ""), -1)[1:]
	if len(parts) != len(lines) {
		t.Fatalf("%d commands, %d outputs:\n%s", len(lines), len(parts), raw)
	}
	for i, command := range lines {
		want := strings.Join(outputs[i], "\n")
		pattern := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "\n?$"
		if !regexp.MustCompile(pattern).MatchString(parts[i]) {
			t.Errorf("$ %s\ngot  %s\nwant %s", command, parts[i], want)
		}
	}
}

// TestEveryCaddyfileInTheReadmeAdapts adapts the README's Caddyfiles and those
// of the examples.
func TestEveryCaddyfileInTheReadmeAdapts(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for i, block := range strings.Split(string(readme), "```caddyfile\n")[1:] {
		files[fmt.Sprintf("README block %d", i+1)], _, _ = strings.Cut(block, "```")
	}
	paths, err := filepath.Glob("../*/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "../../Caddyfile.example") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(text)
	}
	if len(files) < 3 {
		t.Fatalf("%d Caddyfiles found, want at least 3", len(files))
	}
	for name, text := range files {
		cmd := exec.Command(rig.Binary(t), "adapt", "--config", "-", "--adapter", "caddyfile")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestValidateBesideARunningServerTouchesNothing validates a Caddyfile on the
// storage and the ports of a running server.
func TestValidateBesideARunningServerTouchesNothing(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "", "keytoll")
	_, secret := g.Mint(object{"customer": "v@example.com"})
	before := listing(t, filepath.Join(g.Dir, "data"))
	for _, verb := range []string{"validate", "adapt"} {
		cmd := exec.Command(rig.Binary(t), verb, "--config", g.Config, "--adapter", "caddyfile")
		cmd.Env = g.Env()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", verb, err, out)
		}
	}
	if after := listing(t, filepath.Join(g.Dir, "data")); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	if got := g.Get("/", secret); got != http.StatusOK {
		t.Errorf("a request after it: got %d, want 200", got)
	}
}

// TestASecondProcessOnTheStorageIsToldWhoHoldsIt starts one with other ports.
func TestASecondProcessOnTheStorageIsToldWhoHoldsIt(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "", "keytoll")
	text, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	p := rig.Ports(t, 3)
	other := strings.NewReplacer(
		g.CaddyAdmin, fmt.Sprintf("127.0.0.1:%d", p[0]),
		strings.TrimPrefix(g.Admin, "http://"), fmt.Sprintf("127.0.0.1:%d", p[1]),
		g.SiteAddress(), fmt.Sprintf("http://:%d", p[2]),
		"/data\n", "/data {\n lock_wait 200ms\n }\n").Replace(string(text))
	path := filepath.Join(g.Dir, "Caddyfile.second")
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(rig.Binary(t), "run", "--config", path, "--adapter", "caddyfile")
	cmd.Env = g.Env()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("a second process opened the storage")
	}
	for _, want := range []string{"keytoll.db", fmt.Sprint(g.Cmd.Process.Pid)} {
		if !strings.Contains(string(out), want) {
			t.Errorf("its message does not name %s:\n%s", want, out)
		}
	}
}

// listing names the files below dir with their sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, info.Name(), info.Mode(), info.Size())
	}
	return out.String()
}
