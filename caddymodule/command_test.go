// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/cli"
)

func TestCommandsEndWithTheirCode(t *testing.T) {
	c := &cobra.Command{}
	if err := exit(c, cli.Done); err != nil {
		t.Errorf("done: got %v", err)
	}
	if err := exit(c, cli.Failed); !errors.Is(err, errExit) {
		t.Errorf("failed: got %v", err)
	}
	for code := cli.Cancelled; code <= cli.Unreachable; code++ {
		if err := exit(c, code); err == nil || !strings.HasSuffix(err.Error(), string(rune('0'+code))) {
			t.Errorf("%d: got %v", code, err)
		}
	}
}

func TestTheCaddyfileOfInitIsOne(t *testing.T) {
	for _, site := range []string{"http://:8080", "api.example.com"} {
		text := cli.Caddyfile(site, "localhost:3000", "./keytoll-data")
		config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err != nil || len(warnings) > 0 {
			t.Fatalf("got %v, %v for\n%s", err, warnings, text)
		}
		for _, part := range []string{`"handler":"keytoll"`, `"handler":"keytoll_usage"`, `"dial":"localhost:3000"`, "X-Api-Key"} {
			if !strings.Contains(string(config), part) {
				t.Errorf("%s is not in %s", part, config)
			}
		}
	}
}

// unused is an address that nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// interrupting ends a command once it has printed all there is to know.
type interrupting struct {
	bytes.Buffer
	done func(text string)
}

func (w *interrupting) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), "}\n") {
		w.done(w.String())
	}
	return n, err
}

func TestDevSellsAnAPIThatRunsHere(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Keytoll-Mode") + " " + r.Header.Get("X-Api-Key")))
	}))
	defer backend.Close()
	dir := filepath.Join(t.TempDir(), "keytoll-dev")
	for range 2 { // the second time with what the first has left
		ctx, interrupt := context.WithTimeout(context.Background(), time.Minute)
		var errs bytes.Buffer
		out := &interrupting{done: func(text string) {
			callDev(t, text)
			interrupt()
		}}
		keytoll := &cobra.Command{Use: "keytoll"}
		cli.Add(keytoll, cli.Env{
			In: strings.NewReader(""), Out: out, Err: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
			Serve: serve, Exit: func(code int) error { return exit(keytoll, code) },
		})
		keytoll.SetArgs([]string{"dev", "--json", "--to", strings.TrimPrefix(backend.URL, "http://"), "--listen", unused(t), "--admin", unused(t), "--dir", dir})
		if err := keytoll.ExecuteContext(ctx); err != nil {
			t.Errorf("got %v: %s", err, errs.String())
		}
		interrupt()
	}
}

// callDev calls the API that dev has told of.
func callDev(t *testing.T, text string) {
	t.Helper()
	var told struct {
		API    string `json:"api"`
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		t.Errorf("%v: %s", err, text)
		return
	}
	for secret, want := range map[string]int{told.APIKey: http.StatusOK, "": http.StatusUnauthorized} {
		request, err := http.NewRequest(http.MethodGet, told.API+"/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("X-API-Key", secret)
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Error(err)
			return
		}
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want || want == http.StatusOK && body.String() != "test " {
			t.Errorf("got %d, %q, want %d", response.StatusCode, body, want)
		}
	}
}
