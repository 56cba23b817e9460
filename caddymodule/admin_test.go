// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// adminListeners returns the admin listeners that there are.
func adminListeners() (all []*adminListener) {
	listeners.Range(func(_, value any) bool {
		all = append(all, value.(*adminListener))
		return true
	})
	return all
}

func ask(t *testing.T, client *http.Client, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

const onLoopback = openPlan + "admin 127.0.0.1:0\n"

func TestTheAdminTokenIsMadeAtTheFirstStartAndKept(t *testing.T) {
	h := open(t, blueprint{globals: onLoopback})
	file := filepath.Join(h.dir, "data", "admin.token")
	state, err := os.Stat(file)
	if err != nil || state.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v, want mode 0600", state, err)
	}
	text, _ := os.ReadFile(file)
	token := strings.TrimSpace(string(text))
	if !strings.HasPrefix(token, "kta_") {
		t.Errorf("got %q, want the prefix kta_", token)
	}
	base := "http://" + adminListeners()[0].Addr().String()
	if status, body := ask(t, http.DefaultClient, base+"/v1/plans", token); status != http.StatusOK || !strings.Contains(body, `"p"`) {
		t.Errorf("got %d %s, want the plans", status, body)
	}
	if status, _ := ask(t, http.DefaultClient, base+"/v1/plans", "kta_wrong"); status != http.StatusUnauthorized {
		t.Errorf("got %d for a wrong token, want 401", status)
	}
	if status, body := ask(t, http.DefaultClient, base+"/readyz", ""); status != http.StatusOK {
		t.Errorf("got %d %s, want ready", status, body)
	}
	if status, body := ask(t, http.DefaultClient, base+"/metrics", token); status != http.StatusOK || !strings.Contains(body, "keytoll_build_info") {
		t.Errorf("got %d %s, want metrics", status, body)
	}
	if again, _ := ownerToken(file, slog.New(slog.DiscardHandler)); again != token {
		t.Errorf("got %q the second time, want the token kept", again)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestATokenThatOthersCanReadIsClosedToThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.token")
	if err := os.WriteFile(file, []byte("kta_x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var warned strings.Builder
	token, err := ownerToken(file, slog.New(slog.NewTextHandler(&warned, nil)))
	state, _ := os.Stat(file)
	if err != nil || token != "kta_x" || state.Mode().Perm() != 0o600 || !strings.Contains(warned.String(), "could be read by others") {
		t.Errorf("got %q, %v, mode %v, log %s: want the token, 0600 and a warning", token, err, state.Mode(), warned.String())
	}
	if strings.Contains(warned.String(), "kta_x") {
		t.Error("the log holds the token")
	}
}

func TestAnEmptyTokenFileIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.token")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ownerToken(file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestAnEmptyTokenFromTheEnvironmentIsRefused(t *testing.T) {
	t.Setenv("KEYTOLL_TEST_TOKEN", "")
	h := open(t, blueprint{})
	err := h.tryLoad(h.caddyfile(blueprint{globals: "admin 127.0.0.1:0 {\n\t\t\ttoken {env.KEYTOLL_TEST_TOKEN}\n\t\t}"}))
	if err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("got %v, want an error that names the token", err)
	}
}

func TestAReloadHandsTheAdminListenerOverWithoutAGap(t *testing.T) {
	h := open(t, blueprint{globals: onLoopback})
	text, _ := os.ReadFile(filepath.Join(h.dir, "data", "admin.token"))
	token := strings.TrimSpace(string(text))
	first := adminListeners()[0]
	url := "http://" + first.Addr().String() + "/v1/plans"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asked := 0
	asking.Go(func() {
		for ctx.Err() == nil {
			r, _ := http.NewRequest("GET", url, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := client.Do(r)
			if err != nil {
				t.Errorf("after %d calls: %v", asked, err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("got %d", res.StatusCode)
			}
			asked++
		}
	})
	for i := range 10 {
		h.load(blueprint{globals: onLoopback, site: "header X-Load " + strings.Repeat("x", i+1)})
	}
	cancel()
	asking.Wait()
	if all := adminListeners(); len(all) != 1 || all[0] != first || len(first.endpoints) != 1 {
		t.Errorf("got %d listeners with %d endpoints, want the first with one", len(all), len(first.endpoints))
	}
	h.load(blueprint{globals: openPlan + "admin off", site: ""})
	if all := adminListeners(); len(all) != 0 {
		t.Errorf("got %d listeners with admin off, want 0", len(all))
	}
}

func TestTheAdminSocketHasItsMode(t *testing.T) {
	h := open(t, blueprint{globals: openPlan + "admin unix/{dir}/a.sock|0660"})
	socket := filepath.Join(h.dir, "a.sock")
	state, err := os.Stat(socket)
	if err != nil || state.Mode().Perm() != 0o660 || state.Mode()&fs.ModeSocket == 0 {
		t.Fatalf("got %v, %v, want a socket with mode 0660", state, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	if status, body := ask(t, client, "http://localhost/healthz", ""); status != http.StatusOK {
		t.Errorf("got %d %s, want 200", status, body)
	}
}

func TestASocketThatNobodyListensOnIsReplaced(t *testing.T) {
	h := open(t, blueprint{})
	socket := filepath.Join(h.dir, "a.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	h.load(blueprint{globals: "admin unix/{dir}/a.sock"})
	other, err := net.Listen("unix", filepath.Join(h.dir, "b.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = h.tryLoad(h.caddyfile(blueprint{globals: "admin unix/{dir}/b.sock"}))
	if err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("got %v, want the socket of another left alone", err)
	}
}

func TestAnotherProcessOnTheAddressFailsTheStartClearly(t *testing.T) {
	h := open(t, blueprint{})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = h.tryLoad(h.caddyfile(blueprint{globals: "admin " + other.Addr().String()}))
	if err == nil || !strings.Contains(err.Error(), "listening for the admin API") || !strings.Contains(err.Error(), other.Addr().String()) {
		t.Errorf("got %v, want the address named", err)
	}
}
