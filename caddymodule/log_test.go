// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// logged runs a gate with these log options and returns what it has logged.
func logged(t *testing.T, options, gate string, calls func(h *house)) string {
	t.Helper()
	h := open(t, blueprint{})
	text := strings.Replace(h.caddyfile(blueprint{gate: gate, site: "log"}), "log {\n\t\toutput discard\n\t}", strings.ReplaceAll(options, "{dir}", h.dir), 1)
	if err := h.tryLoad(text); err != nil {
		t.Fatal(err)
	}
	if calls != nil {
		calls(h)
	}
	h.load(blueprint{})
	out, err := os.ReadFile(filepath.Join(h.dir, "log.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const (
	unfiltered   = "log {\n\t\toutput file {dir}/log.json\n\t}"
	withFilter   = "log {\n\t\toutput file {dir}/log.json\n\t\tformat filter {\n\t\t\twrap json\n\t\t\trequest>headers>X-Api-Key delete\n\t\t}\n\t}"
	withWholeCut = "log {\n\t\toutput file {dir}/log.json\n\t\tformat filter {\n\t\t\twrap json\n\t\t\trequest>headers delete\n\t\t}\n\t}"
	warning      = "log would hold API keys"
)

func TestALogWithoutAFilterIsWarnedAbout(t *testing.T) {
	if out := logged(t, unfiltered, "", nil); !strings.Contains(out, warning) {
		t.Error("got no warning")
	}
	for _, options := range []string{withFilter, withWholeCut} {
		if out := logged(t, options, "", nil); strings.Contains(out, warning) {
			t.Errorf("got a warning in spite of the filter:\n%s", out)
		}
	}
	if out := logged(t, unfiltered, "key_from bearer", nil); strings.Contains(out, warning) {
		t.Error("got a warning for Bearer, which Caddy hides itself")
	}
}

func TestSecretsDoNotReachLogs(t *testing.T) {
	var secrets []string
	out := logged(t, withFilter, "", func(h *house) {
		for range 3 {
			secret, _ := h.mint()
			secrets = append(secrets, secret.Reveal())
			h.call("GET", "/", bearerOf(secret)...)
			h.call("GET", "/", "X-API-Key", secret.Reveal())
			h.call("GET", "/", append(bearerOf(secret), "X-API-Key", secrets[0])...)
		}
	})
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Errorf("the log holds a secret:\n%s", out)
		}
	}
	if !strings.Contains(out, `"user_id":"cust_`) || !strings.Contains(out, `"request_id":"req_`) {
		t.Errorf("the log names neither customer nor refusal:\n%s", out)
	}
}
