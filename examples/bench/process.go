// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// readyWithin is how long a process may take until it answers.
const readyWithin = 2 * time.Minute

// A process is one Caddy that is measured.
type process struct {
	binary     string
	dir        string // everything it writes
	address    string // of the site
	caddyAdmin string // Caddy's own admin API: /debug
	admin      string // Keytoll's
	env        []string

	cmd    *exec.Cmd
	exited chan struct{}
}

// newProcess gives a process ports that were free a moment ago.
func newProcess(binary, dir string, env ...string) (*process, error) {
	p := &process{binary: binary, dir: dir}
	for _, address := range []*string{&p.address, &p.caddyAdmin, &p.admin} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		*address = l.Addr().String()
	}
	p.env = append(withoutGoSettings(os.Environ()), "HOME="+dir, "XDG_DATA_HOME="+dir+"/xdg-data", "XDG_CONFIG_HOME="+dir+"/xdg-config")
	p.env = append(p.env, env...)
	return p, os.MkdirAll(dir, 0o700)
}

// withoutGoSettings takes away what would change the runtime of what is measured.
func withoutGoSettings(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GODEBUG=")
	})
}

// start runs Caddy with a Caddyfile and returns how long it took until ready
// returned no error.
func (p *process) start(ctx context.Context, caddyfile string, ready func() error) (time.Duration, error) {
	config := filepath.Join(p.dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile), 0o600); err != nil {
		return 0, err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	p.cmd = exec.Command(p.binary, "run", "--config", config, "--adapter", "caddyfile") //nolint:gosec // the binary was built by this program
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, log, log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting %s: %w", p.binary, err)
	}
	exited := make(chan struct{})
	p.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(exited)
	}(p.cmd)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = ready(); err == nil {
			return time.Since(begin), nil
		}
		if ctx.Err() != nil || time.Since(begin) > readyWithin {
			return 0, fmt.Errorf("no answer of %s: %w\n%s", p.binary, err, p.lastWords())
		}
		select {
		case <-p.exited:
			return 0, fmt.Errorf("%s ended at start:\n%s", p.binary, p.lastWords())
		case <-tick.C:
		}
	}
}

func (p *process) lastWords() []byte {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return text[max(0, len(text)-4000):]
}

// stop ends the process in order, and at last without.
func (p *process) stop() {
	if p.cmd == nil || p.exited == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	p.exited = nil
}

// cpu returns the processor time used so far.
func (p *process) cpu() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// mallocs returns how many objects were allocated so far.
func (p *process) mallocs(ctx context.Context) (uint64, error) {
	var vars struct {
		Memstats struct{ Mallocs uint64 } `json:"memstats"`
	}
	raw, err := p.debug(ctx, "/debug/vars")
	if err != nil {
		return 0, err
	}
	err = json.Unmarshal(raw, &vars)
	return vars.Memstats.Mallocs, err
}

// debug reads a page of Caddy's admin API.
func (p *process) debug(ctx context.Context, page string) ([]byte, error) {
	return p.fetch(ctx, "http://"+p.caddyAdmin+page, "")
}

// token reads the token of Keytoll's admin API.
func (p *process) token(data string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(data, "admin.token"))
	return strings.TrimSpace(string(raw)), err
}

// fetch reads a page whole, with a token where there is one. Any status but a
// 2xx is an error.
func (p *process) fetch(ctx context.Context, url, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s: %s", url, res.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// memory returns the resident memory that is not of files, in bytes.
func (p *process) memory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the kernel does not tell RssAnon")
}
