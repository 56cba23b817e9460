// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/keytoll/keytoll/plugin/gate"
)

// engines are all engines in use, by their place.
var engines = caddy.NewUsagePool()

// A tenancy is one configuration's hold on an engine: from Provision until
// Cleanup, and on until the last of its requests has ended. As long as there
// is one, a new configuration adopts the engine instead of opening another.
type tenancy struct {
	engine *engine
	users  atomic.Int64 // requests in flight, and 1 until end; 0 for ever after
	over   atomic.Bool  // after end
}

// rent takes a hold on the engine of a place. It opens nothing.
func rent(place string) (*tenancy, error) {
	value, _, err := engines.LoadOrNew(place, func() (caddy.Destructor, error) { return newEngine(place), nil })
	if err != nil {
		return nil, fmt.Errorf("sharing the storage: %w", err)
	}
	t := &tenancy{engine: value.(*engine)}
	t.users.Store(1)
	t.engine.metrics.tenants.add(t)
	return t, nil
}

// requests returns how many requests are in flight.
func (t *tenancy) requests() int64 {
	users := t.users.Load()
	if !t.over.Load() {
		users--
	}
	return max(users, 0)
}

// end ends the configuration's own hold. It is called once.
func (t *tenancy) end() error {
	t.over.Store(true)
	return t.release()
}

// release takes one user away; the last one gives the engine back.
func (t *tenancy) release() error {
	if t.users.Add(-1) > 0 {
		return nil
	}
	t.engine.metrics.tenants.remove(t)
	_, err := engines.Delete(t.engine.place)
	return err
}

// enter keeps the engine open for one request, and waits until it decides. The
// tenancy that is returned is to be left; it is nil on an error.
func (t *tenancy) enter(ctx context.Context) (*tenancy, *gate.Gate, error) {
	for {
		users := t.users.Load()
		if users == 0 {
			return t.again(ctx)
		}
		if t.users.CompareAndSwap(users, users+1) {
			break
		}
	}
	g, err := t.engine.wait(ctx)
	if err != nil {
		t.leave()
		return nil, nil, err
	}
	return t, g, nil
}

var errOver = errors.New("the configuration is over, and no other uses its storage")

// again lets in a request of a configuration that is over: it came late, and
// another configuration may have adopted the engine.
func (t *tenancy) again(ctx context.Context) (*tenancy, *gate.Gate, error) {
	late, err := rent(t.engine.place)
	if err != nil {
		return nil, nil, err
	}
	if late.engine.gate.Load() == nil {
		late.leave()
		return nil, nil, errOver
	}
	g, err := late.engine.wait(ctx)
	if err != nil {
		late.leave()
		return nil, nil, err
	}
	return late, g, nil
}

// leave ends what enter began. What closing the engine reports is logged by it.
func (t *tenancy) leave() { _ = t.release() }
