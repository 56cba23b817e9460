// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// coldKeys is how many keys are looked up that were not before.
const coldKeys = 20_000

// manyKeys tells how a gate with many keys bears what is asked of it: lists and
// changes over the admin API, requests by all keys in turn, and look-ups of
// keys that it has not in memory. It stops the process.
func (r *run) manyKeys(ctx context.Context, s *subject) error {
	if err := r.adminCalls(ctx, s); err != nil {
		return err
	}
	n := min(coldKeys, r.keys)
	uniform := load{address: s.load.address, connections: r.connections}
	var err error
	if uniform.requests, err = requestsOf(s.load.address, n, max(r.keys/n, 1)); err != nil {
		return err
	}
	for _, time := range []string{"first", "second"} {
		begin, err := s.process.cpu()
		if err != nil {
			return err
		}
		took, err := uniform.paced(ctx, n, 2*r.perSecond)
		if err != nil {
			return err
		}
		end, err := s.process.cpu()
		if err != nil {
			return err
		}
		r.fact("%d keys in turn, their %s request at %d a second: p50 %s, p99 %s, CPU %s a request",
			n, time, 2*r.perSecond, micros(percentile(took, 50)), micros(percentile(took, 99)), micros((end-begin)/timeOf(n)))
	}
	memory, err := s.process.memory()
	if err != nil {
		return err
	}
	r.fact("RssAnon after that: %s", megabytes(memory))
	s.process.stop()
	took, err := coldLookups(ctx, r.millionData(), r.keys, n)
	if err != nil {
		return err
	}
	r.fact("look-up of a cold key among %d: p50 %s, p99 %s", r.keys, micros(percentile(took, 50)), micros(percentile(took, 99)))
	return nil
}

func timeOf(n int) time.Duration { return time.Duration(n) }

// adminCalls times what an operator does.
func (r *run) adminCalls(ctx context.Context, s *subject) error {
	token, err := s.process.token(r.millionData())
	if err != nil {
		return err
	}
	middle := r.keys / 2
	pages := []struct{ what, path string }{
		{"the first page", "/v1/keys?limit=50"},
		{"one name found", "/v1/keys?q=" + url.QueryEscape(fmt.Sprintf("key %d", middle))},
		{"one e-mail found", fmt.Sprintf("/v1/customers?q=dev%d@", middle/keysPerCustomer)},
		{"a prefix of all", "/v1/keys?q=key"},
		{"active keys of a plan", "/v1/keys?status=active&plan=" + planName},
		{"revoked keys", "/v1/keys?status=revoked"},
	}
	for _, page := range pages {
		begin := time.Now()
		if _, err := s.process.fetch(ctx, "http://"+s.process.admin+page.path, token); err != nil {
			return err
		}
		r.fact("list, %s: %s", page.what, time.Since(begin).Round(10*time.Microsecond))
	}
	return nil
}
