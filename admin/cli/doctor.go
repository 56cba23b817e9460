// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

// The results of a finding.
const (
	fine   = "ok"
	warned = "warn"
	broken = "fail"
)

// finding is what one check of the doctor found.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warn or fail
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func (a *app) doctor() *cobra.Command {
	return a.command("doctor", "Look for what is wrong, and say what to do about it", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			findings := append(s.examineAPI(ctx), s.examineDir()...)
			if s.json {
				if err := s.printJSON(map[string]any{"checks": findings}); err != nil {
					return err
				}
			} else {
				t := &table{head: []string{"CHECK", "RESULT", "DETAIL", "REMEDY"}}
				for _, f := range findings {
					t.add(f.Check, f.Result, f.Detail, f.Remedy)
				}
				if err := s.print(t, false); err != nil {
					return err
				}
			}
			for _, f := range findings {
				if f.Result == broken {
					return &failure{exit: Failed, code: "unhealthy", text: "Something is wrong."}
				}
			}
			return nil
		})
}

// examineAPI asks the admin API; after something that makes the rest
// meaningless it stops.
func (s *session) examineAPI(ctx context.Context) []finding {
	api, err := s.api()
	if err != nil {
		return []finding{{"admin token", broken, s.explainFailure(err).text, "start Caddy once, or say --dir or --token-file"}}
	}
	var found []finding
	if _, err := client.Get[json.RawMessage](ctx, api, "/healthz", nil); err != nil {
		return append(found, finding{"admin API", broken, s.explainFailure(err).text, "start Caddy, or say --admin"})
	}
	found = append(found, finding{Check: "admin API", Result: fine, Detail: api.Address()})
	if _, err := client.Get[json.RawMessage](ctx, api, "/readyz", nil); err != nil {
		found = append(found, finding{"requests", broken, s.explainFailure(err).text, "look at Caddy's log: the storage cannot be used"})
	} else {
		found = append(found, finding{Check: "requests", Result: fine, Detail: "can be decided"})
	}
	plans, err := client.Get[client.Page[client.Plan]](ctx, api, "/v1/plans", nil)
	if err != nil {
		return append(found, examineRefusal(s, err))
	}
	found = append(found, finding{Check: "admin token", Result: fine, Detail: "is accepted"})
	return append(found, s.examinePlans(plans.Value.Data)...)
}

func examineRefusal(s *session, err error) finding {
	f := finding{"admin token", broken, s.explainFailure(err).text, ""}
	var problem *client.Error
	if errors.As(err, &problem) && problem.Status == http.StatusForbidden {
		f.Result, f.Remedy = warned, "use a token of the role owner, support or read to see more"
	}
	return f
}

func (s *session) examinePlans(plans []client.Record[client.Plan]) []finding {
	byDefault, retired := "", 0
	for _, p := range plans {
		if p.Value.Default {
			byDefault = p.Value.ID
		}
		if p.Value.Source == "retired" {
			retired++
		}
	}
	var found []finding
	if byDefault == "" {
		found = append(found, finding{"plans", warned, "there is no default plan: a new customer must be given one", "write default_plan in the Caddyfile"})
	} else {
		found = append(found, finding{Check: "plans", Result: fine, Detail: number(int64(len(plans))) + ", by default " + byDefault})
	}
	if retired > 0 {
		found = append(found, finding{"retired plans", warned, number(int64(retired)) + " are gone from the Caddyfile, but customers hold them", "give them another: caddy keytoll plans list"})
	}
	return found
}

// examineDir looks at the data directory, where it is on this machine.
func (s *session) examineDir() []finding {
	dir, err := s.storage()
	if err != nil {
		if s.dir != "" {
			return []finding{{"data directory", broken, err.Error(), ""}}
		}
		return nil // it belongs to another user or machine
	}
	info, err := os.Stat(dir)
	if err != nil {
		return []finding{{"data directory", broken, sentence(err.Error()), "say --dir"}}
	}
	found := []finding{examineMode("data directory", dir, info, "chmod 700 "+dir)}
	file := filepath.Join(dir, tokenName)
	if info, err := os.Stat(file); err == nil {
		found = append(found, examineMode("token file", file, info, "chmod 600 "+file+", and make a new token if anybody might have read it"))
	}
	return found
}

func examineMode(check, name string, info os.FileInfo, remedy string) finding {
	if info.Mode().Perm()&0o077 != 0 {
		return finding{check, warned, name + " can be read by others (" + info.Mode().Perm().String() + ")", remedy}
	}
	return finding{Check: check, Result: fine, Detail: name}
}

func (a *app) status() *cobra.Command {
	return a.command("status", "Say whether the gate decides requests, and what it did today", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			api, err := s.api()
			if err != nil {
				return err
			}
			if _, err := client.Get[json.RawMessage](ctx, api, "/readyz", nil); err != nil {
				return err
			}
			state := gateState{Address: api.Address(), Ready: true, CLI: s.env.Version}
			if found, err := client.Get[about](ctx, api, "/openapi.json", nil); err == nil {
				state.Version = found.Value.Info.Version
			}
			if err := s.countToday(ctx, api, &state); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(state)
			}
			var b block
			b.add("Admin API", state.Address)
			b.add("Version", state.Version)
			b.add("Requests", "are decided")
			b.add("Today, UTC", number(state.Requests)+" passed, "+number(state.Refused)+" were refused")
			return s.printBlock(b)
		})
}

// gateState is what status prints.
type gateState struct {
	Address  string `json:"address"`
	Ready    bool   `json:"ready"`
	Version  string `json:"version"`
	CLI      string `json:"cli_version"`
	Requests int64  `json:"requests_today"`
	Refused  int64  `json:"refused_today"`
}

// about is what the API's description says of itself.
type about struct {
	Info struct {
		Version string `json:"version"`
	} `json:"info"`
}

func (s *session) countToday(ctx context.Context, api *client.Client, state *gateState) error {
	now := s.env.Now().UTC()
	today, err := client.Get[client.Usage](ctx, api, "/v1/usage", map[string][]string{"from": {now.Format("2006-01-02") + "T00:00:00Z"}})
	if err != nil {
		return err
	}
	for _, row := range today.Value.Data {
		state.Requests += row.Value.Requests
		state.Refused += row.Value.Refused
	}
	return nil
}
