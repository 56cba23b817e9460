// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inhabited returns a house with two customers, three keys and some calls.
func inhabited(t *testing.T) (h *house, production, mobile string) {
	t.Helper()
	h = newHouse(t)
	h.must("customers", "create", "--email", "ops@lumen.app", "--name", "Lumen", "--plan", "pro", "--external-id", "lumen")
	h.advance(time.Minute)
	production = h.must("keys", "create", "--customer", "dev@northwind.io", "--name", "Production", "--quiet")
	h.advance(time.Minute)
	mobile = h.must("keys", "create", "--customer", "ops@lumen.app", "--name", "Mobile", "--scope", "chat", "--mode", "live", "--quiet")
	h.advance(time.Minute)
	h.must("keys", "create", "--customer", "lumen", "--name", "Try out", "--mode", "test", "--expires", "90d", "--meta", "team=core", "--meta", "n=1", "--quiet")
	h.advance(time.Minute)
	for range 7 {
		h.call(production, "/")
	}
	h.call(mobile, "/chat")
	h.call(mobile, "/chat")
	h.call("", "/")
	h.advance(time.Minute)
	return h, production, mobile
}

func TestWhatIsPrinted(t *testing.T) {
	h, production, mobile := inhabited(t)
	lines := func(command string) []string { return strings.Split(command, "|") }
	for name, args := range map[string][]string{
		"keys-list":         lines("keys|list"),
		"keys-list-used":    lines("keys|list|--sort|used|--limit|2"),
		"keys-list-none":    lines("keys|list|--q|nobody"),
		"customers-list":    lines("customers|list"),
		"customers-show":    lines("customers|show|ops@lumen.app"),
		"plans-list":        lines("plans|list"),
		"plans-show":        lines("plans|show|pro"),
		"usage-outcome":     lines("usage|--by|outcome"),
		"usage-day":         lines("usage|--from|2026-11-20"),
		"usage-customer":    lines("usage|--by|customer"),
		"usage-route":       lines("usage|--by|route|--from|1 day ago|--customer|lumen"),
		"denials":           lines("denials"),
		"denials-since":     lines("denials|--since|1m"),
		"tokens-list":       lines("tokens|list"),
		"status":            lines("status"),
		"doctor":            lines("doctor"),
		"keys-show-missing": lines("keys|show|key_404"),
		"explain":           {"explain", production[:12]},
		"keys-show":         {"keys", "show", mobile[:12]},
		"usage-key":         {"usage", "--key", production[:12]},
	} {
		h.golden(name+".terminal", h.run("", append([]string{terminal}, args...)...))
		h.golden(name+".pipe", h.run("", args...))
		h.golden(name+".json", h.run("", append(args, "--json")...))
	}
	for name, args := range map[string][]string{
		"keys-list": lines("keys|list|--csv"), "customers-list": lines("customers|list|--csv"), "usage-outcome": lines("usage|--by|outcome|--csv"),
		"denials": lines("denials|--csv"), "plans-list": lines("plans|list|--csv"), "tokens-list": lines("tokens|list|--csv"),
	} {
		h.golden(name+".csv", h.run("", args...))
	}
}

func TestWhatChangesIsPrinted(t *testing.T) {
	h, production, mobile := inhabited(t)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"keys-create", strings.Split("keys|create|--customer|dev@halcyon.com|--name|Production", "|")},
		{"keys-create-limits", strings.Split("keys|create|--customer|dev@halcyon.com|--rate|50/s|--burst|80|--quota|100k|--ip|10.0.0.0/8", "|")},
		{"keys-create-json", strings.Split("keys|create|--customer|lumen|--json", "|")},
		{"keys-update", []string{"keys", "update", mobile[:12], "--name", "Mobile app", "--rate", "unlimited", "--quota", "5k/day", "--scope", "none", "--expires", "2027-01-31"}},
		{"keys-update-back", []string{"keys", "update", mobile[:12], "--rate", "plan", "--quota", "plan", "--expires", "never"}},
		{"keys-disable", []string{"keys", "disable", mobile[:12], "--reason", "late"}},
		{"keys-disable-json", []string{"keys", "disable", mobile[:12], "--json"}},
		{"keys-enable", []string{"keys", "enable", mobile[:12]}},
		{"keys-rotate", []string{"keys", "rotate", production[:12], "--keep-old", "7d"}},
		{"keys-revoke", []string{"keys", "revoke", mobile[:12], "--yes", "--reason", "leaked"}},
		{"keys-enable-revoked", []string{"keys", "enable", mobile[:12]}},
		{"customers-create", strings.Split("customers|create|--email|team@fernweh.travel|--plan|pro|--quota|5M|--until|30d|--reason|launch", "|")},
		{"customers-create-taken", strings.Split("customers|create|--email|ops@lumen.app", "|")},
		{"customers-update", strings.Split("customers|update|lumen|--plan|free|--plan-override|pro|--until|2026-12-24|--name|Lumen Inc", "|")},
		{"customers-export", strings.Split("customers|export|lumen", "|")},
		{"customers-delete", strings.Split("customers|delete|dev@northwind.io|--yes", "|")},
		{"customers-delete-json", strings.Split("customers|delete|dev@halcyon.com|--yes|--json", "|")},
		{"tokens-create", strings.Split("tokens|create|--name|backend|--role|provision|--expires|90d", "|")},
		{"tokens-create-wrong-role", strings.Split("tokens|create|--name|backend|--role|king", "|")},
		{"tokens-revoke-missing", strings.Split("tokens|revoke|tok_404|--yes", "|")},
		{"audit", strings.Split("audit|--since|1h|--customer|lumen", "|")},
		{"audit-json", strings.Split("audit|--action|admin_token.create|--json", "|")},
		{"audit-action", strings.Split("audit|--action|key.update|--csv", "|")},
		{"backup", []string{"backup", filepath.Join(h.dir, "backup.tar")}},
		{"init", []string{"init", filepath.Join(h.dir, "Caddyfile"), "--to", "localhost:4000"}},
		{"init-again", []string{"init", filepath.Join(h.dir, "Caddyfile")}},
		{"init-stdout", []string{"init", "-", "--site", "api.example.com"}},
	} {
		h.advance(time.Second) // entries of one moment have no order
		h.golden(c.name, h.run("", c.args...))
	}
}
