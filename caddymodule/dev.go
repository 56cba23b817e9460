// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// serve runs a Caddyfile in this process, and returns once it serves.
func serve(_ context.Context, caddyfile string) (stop func() error, err error) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return nil, fmt.Errorf("this build has no Caddyfile adapter")
	}
	config, _, err := adapter.Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	if err := caddy.Load(config, true); err != nil {
		return nil, err
	}
	return caddy.Stop, nil
}
