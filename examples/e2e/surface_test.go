// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// keytoll runs a command of the CLI in the gateway's directory and returns its
// exit status and what it printed.
func (g *gateway) keytoll(args ...string) (code int, stdout, stderr string) {
	g.T.Helper()
	cmd := exec.Command(rig.Binary(g.T), append([]string{"keytoll"}, args...)...)
	cmd.Dir, cmd.Env = g.Dir, g.Env()
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		g.T.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), words.String()
}

// reconfigure replaces the rig's admin option.
func (g *gateway) reconfigure(admin string) {
	g.T.Helper()
	text, err := os.ReadFile(g.Config)
	if err != nil {
		g.T.Fatal(err)
	}
	own := "admin " + strings.TrimPrefix(g.Admin, "http://") + "\n"
	if !strings.Contains(string(text), own) {
		g.T.Fatalf("no %q in the Caddyfile", own)
	}
	write(g.T.(*testing.T), g.Config, []byte(strings.Replace(string(text), own, admin+"\n", 1)))
}

func TestTheAdminAPIOnAUnixSocketIsForWhoMayOpenIt(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := &gateway{rig.New(t)}
	// Paths of sockets are short: the test's directory may be too deep.
	dir, err := os.MkdirTemp("", "keytoll-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "admin.sock")
	g.Configure(u.URL, "", "keytoll")
	g.reconfigure("admin unix/" + socket + "|0660")
	g.Spawn()
	t.Cleanup(g.Stop)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	g.WaitFor("readiness", func() bool {
		res, err := client.Get("http://localhost/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("mode of the socket: got %o, want 660", got)
	}
	res, err := client.Get("http://localhost/v1/keys")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: got %d, want 401", res.StatusCode)
	}
	code, secret, words := g.keytoll("keys", "create", "--customer", "a@example.com", "--admin", "unix/"+socket, "--token-file", filepath.Join(g.Data, "admin.token"))
	if code != 0 {
		t.Fatalf("keys create over the socket: exit %d, %s", code, words)
	}
	if got := g.Get("/", strings.TrimSpace(secret)); got != http.StatusOK {
		t.Errorf("the key made: got %d, want 200", got)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(g.Admin, "http://")); err == nil {
		t.Error("it listens on TCP as well")
	}
	// After a reload, and after a crash that left the socket, it is there again.
	if out, err := g.Reload(); err != nil {
		t.Errorf("reload: %v\n%s", err, out)
	}
	if code, _, words := g.keytoll("keys", "list", "--admin", "unix/"+socket, "--token-file", filepath.Join(g.Data, "admin.token")); code != 0 {
		t.Errorf("after a reload: exit %d, %s", code, words)
	}
	client.CloseIdleConnections()
	g.Kill()
	g.Spawn()
	g.WaitFor("an answer on the socket a crash left", func() bool {
		res, err := client.Get("http://localhost/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func TestAdminOffListensNowhereAndDecidesAllTheSame(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := &gateway{rig.New(t)}
	g.Configure(u.URL, "", "keytoll")
	g.Run()
	_, secret := g.Mint(object{"customer": "a@example.com"})
	g.Stop()
	g.reconfigure("admin off")
	g.Spawn()
	t.Cleanup(g.Stop)
	ask := func(secret string) int {
		req, err := http.NewRequest(http.MethodGet, g.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", secret)
		res, err := g.Client.Do(req)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	g.WaitFor("first answer", func() bool { return ask(secret) != 0 })
	if got := ask(secret); got != http.StatusOK {
		t.Errorf("a key: got %d, want 200", got)
	}
	if got := ask("sk_live_nobody"); got != http.StatusForbidden {
		t.Errorf("nobody's key: got %d, want 403", got)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(g.Admin, "http://")); err == nil {
		conn.Close()
		t.Error("the admin API listens")
	}
}

// TestDevPutsAGateBeforeAnAPIInOneCommand runs `caddy keytoll dev --to` and
// types what it says.
func TestDevPutsAGateBeforeAnAPIInOneCommand(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := &gateway{rig.New(t)}
	listen, admin := strings.TrimPrefix(g.URL, "http://"), strings.TrimPrefix(g.Admin, "http://")
	cmd := exec.Command(rig.Binary(t), "keytoll", "dev", "--to", strings.TrimPrefix(u.URL, "http://"),
		"--listen", listen, "--admin", admin, "--dir", g.Data, "--json")
	cmd.Dir, cmd.Env = g.Dir, g.Env()
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var told struct {
		API    string `json:"api"`
		Secret string `json:"api_key"`
		Key    string `json:"key"`
		State  string `json:"backend_state"`
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&told); err != nil {
		_ = cmd.Wait()
		t.Fatalf("%v\n%s", err, &words)
	}
	if !strings.HasPrefix(told.Secret, "sk_test_") || !strings.HasPrefix(told.State, "answers (200") {
		t.Errorf("it tells %+v", told)
	}
	g.URL = told.API
	if got := g.Get("/", told.Secret); got != http.StatusOK {
		t.Errorf("its key: got %d, want 200", got)
	}
	if got := g.Get("/", ""); got != http.StatusUnauthorized {
		t.Errorf("no key: got %d, want 401", got)
	}
	if got := u.count(told.Key); got != 1 {
		t.Errorf("the upstream answered %d, want 1", got)
	}

	other := rig.Ports(t, 1)[0]
	_, port, _ := net.SplitHostPort(listen)
	code, _, said := g.keytoll("dev", "--to", strings.TrimPrefix(u.URL, "http://"), "--listen", listen, "--admin", fmt.Sprintf("127.0.0.1:%d", other), "--dir", g.Data+"-2")
	if code == 0 || !strings.Contains(said, "Port "+port+" is in use") || !strings.Contains(said, "--listen") {
		t.Errorf("on a port that is taken: exit %d, %s", code, said)
	}
	_, port, _ = net.SplitHostPort(admin)
	code, _, said = g.keytoll("dev", "--to", strings.TrimPrefix(u.URL, "http://"), "--listen", "127.0.0.1:"+strconv.Itoa(other), "--admin", admin, "--dir", g.Data+"-2")
	if code == 0 || !strings.Contains(said, "Port "+port+" is in use") || !strings.Contains(said, "--admin") {
		t.Errorf("on an admin port that is taken: exit %d, %s", code, said)
	}

	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("at Ctrl+C: %v\n%s", err, &words)
	}
	if strings.Contains(words.String(), "panic") {
		t.Errorf("it panicked:\n%s", &words)
	}
}

// TestDevSaysWhenNothingAnswersBehindIt has no API at all.
func TestDevSaysWhenNothingAnswersBehindIt(t *testing.T) {
	t.Parallel()
	g := &gateway{rig.New(t)}
	to := fmt.Sprintf("127.0.0.1:%d", rig.Ports(t, 1)[0])
	cmd := exec.Command(rig.Binary(t), "keytoll", "dev", "--to", to, "--listen", strings.TrimPrefix(g.URL, "http://"),
		"--admin", strings.TrimPrefix(g.Admin, "http://"), "--dir", g.Data)
	cmd.Dir, cmd.Env = g.Dir, g.Env()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	found := false
	for lines := bufio.NewScanner(out); !found && lines.Scan(); {
		found = strings.Contains(lines.Text(), "Nothing answers at http://"+to+" (connection refused)")
	}
	if !found {
		t.Error("it does not say that nothing answers")
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}
