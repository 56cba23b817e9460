// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Run starts the process and waits until it is ready.
func (g *Gateway) Run() {
	g.T.Helper()
	g.Spawn()
	g.Await()
}

// Spawn starts the process.
func (g *Gateway) Spawn() {
	g.T.Helper()
	log, err := os.OpenFile(filepath.Join(g.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.T.Fatal(err)
	}
	defer log.Close()
	g.Cmd = exec.Command(Binary(g.T), "run", "--config", g.Config, "--adapter", "caddyfile") //nolint:gosec // built by Main
	g.Cmd.Stdout, g.Cmd.Stderr = log, log
	g.Cmd.Env = g.Env()
	if err := g.Cmd.Start(); err != nil {
		g.T.Fatal(err)
	}
	g.Exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(g.Cmd, g.Exited)
}

// Await waits until the process is ready, and reads its admin token.
func (g *Gateway) Await() {
	g.T.Helper()
	g.WaitFor("readiness", func() bool {
		select {
		case <-g.Exited:
			g.T.Fatalf("the gateway ended at start:\n%s", g.Log())
		default:
		}
		res, err := http.Get(g.Admin + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	token, err := os.ReadFile(filepath.Join(g.Data, "admin.token"))
	if err != nil {
		g.T.Fatal(err)
	}
	g.Token = strings.TrimSpace(string(token))
}

// Env keeps what Caddy writes inside the gateway's directory.
func (g *Gateway) Env() []string {
	return append(os.Environ(), "HOME="+g.Dir, "XDG_DATA_HOME="+g.Dir+"/xdg-data", "XDG_CONFIG_HOME="+g.Dir+"/xdg-config")
}

// WaitFor polls until ok, for at most a minute: other processes set the pace here.
func (g *Gateway) WaitFor(what string, ok func() bool) {
	g.T.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			g.T.Fatalf("no %s within a minute; the log:\n%s", what, g.Log())
		}
	}
}

// Log returns the end of what the process has logged.
func (g *Gateway) Log() string {
	text, _ := os.ReadFile(filepath.Join(g.Dir, "log"))
	return string(text[max(0, len(text)-8000):])
}

// Stop ends the process in order and waits for it.
func (g *Gateway) Stop() {
	if g.Cmd.ProcessState == nil {
		_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	}
	<-g.Exited
	if Raced {
		if text, _ := os.ReadFile(filepath.Join(g.Dir, "log")); bytes.Contains(text, []byte("DATA RACE")) {
			g.T.Errorf("the race detector spoke:\n%s", text)
		}
	}
}

// Kill ends it without order.
func (g *Gateway) Kill() {
	_ = g.Cmd.Process.Kill()
	<-g.Exited
}

// Reload makes the process read its Caddyfile again, and returns what Caddy said.
func (g *Gateway) Reload() (string, error) {
	cmd := exec.Command(Binary(g.T), "reload", "--config", g.Config, "--adapter", "caddyfile", "--address", g.CaddyAdmin, "--force") //nolint:gosec // built by Main
	cmd.Env = g.Env()
	out, err := cmd.CombinedOutput()
	return string(out), err
}
