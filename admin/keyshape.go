// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/plan"
)

// keyShape is how a key looks. A date or text that is not there is null.
type keyShape struct {
	ID              string            `json:"id"`
	Object          string            `json:"object"`
	Customer        string            `json:"customer"`
	Name            *string           `json:"name"`
	Start           *string           `json:"start"` // null for an imported secret
	Mode            apikey.Mode       `json:"mode"`
	Status          apikey.Status     `json:"status"`
	Plan            *string           `json:"plan"` // null: that of the customer
	Scopes          []string          `json:"scopes"`
	AllowedIPs      []netip.Prefix    `json:"allowed_ips"`
	Rates           *[]plan.Rate      `json:"rates"` // null: those of the plan
	Quota           *plan.Quota       `json:"quota"`
	Concurrency     *plan.Concurrency `json:"concurrency"`
	OverridesUntil  *time.Time        `json:"overrides_until"`
	OverridesReason *string           `json:"overrides_reason"`
	ExpiresAt       *time.Time        `json:"expires_at"`
	CreatedAt       time.Time         `json:"created_at"`
	RevokedAt       *time.Time        `json:"revoked_at"`
	LastUsedAt      *time.Time        `json:"last_used_at"` // to the minute
	Secrets         []heldSecret      `json:"secrets"`      // newest first
	Metadata        metadata          `json:"metadata"`
}

// heldSecret is what may be shown of a secret that opens the key.
type heldSecret struct {
	Start  *string    `json:"start"`
	EndsAt *time.Time `json:"ends_at"` // when the grace of a rotation ends
}

// shapeKey shows k as it is at now.
func (s *Server) shapeKey(k *apikey.Key, owner *customer.Customer, lastUsed, now time.Time) keyShape {
	decides, _ := s.plansOf(k, owner, now)
	shape := keyShape{
		ID: k.ID, Object: "key", Customer: k.Customer, Name: unlessZero(k.Name), Start: unlessZero(k.Start()),
		Mode: k.Mode, Status: k.Status(now), Plan: unlessZero(k.Plan),
		Scopes: listed(k.Scopes), AllowedIPs: listed(k.AllowedIPs),
		Rates: k.Overrides.Rates, Quota: s.shownQuota(k.Overrides.Quota, decides), Concurrency: k.Overrides.Concurrency,
		OverridesUntil: unlessZero(k.Overrides.Until), OverridesReason: unlessZero(k.Overrides.Reason),
		ExpiresAt: unlessZero(k.ExpiresAt), CreatedAt: k.CreatedAt, RevokedAt: unlessZero(k.RevokedAt),
		LastUsedAt: unlessZero(lastUsed), Secrets: []heldSecret{}, Metadata: orEmpty(k.Metadata),
	}
	for _, held := range k.Secrets {
		if held.EndsAt.IsZero() || now.Before(held.EndsAt) {
			shape.Secrets = append(shape.Secrets, heldSecret{unlessZero(held.Start), unlessZero(held.EndsAt)})
		}
	}
	return shape
}

// listed returns a copy of a list that JSON shows as one, not as null.
func listed[T any](list []T) []T { return append([]T{}, list...) }

// shownKey is shapeKey with the time of the last use. The customer is read only
// where the key's limits need its plan.
func (s *Server) shownKey(ctx context.Context, k *apikey.Key, now time.Time) (keyShape, error) {
	owner := new(customer.Customer)
	if q := k.Overrides.Quota; q != nil && q.Overage == "" && k.Plan == "" {
		found, err := s.customer(ctx, k.Customer)
		if err != nil {
			return keyShape{}, err
		}
		owner = &found
	}
	lastUsed, err := s.o.Gate.LastUsed(ctx, k.ID)
	if err != nil {
		return keyShape{}, fmt.Errorf("reading the last use of a key: %w", err)
	}
	return s.shapeKey(k, owner, lastUsed, now), nil
}

// createdKey is the answer that shows a new secret, once.
type createdKey struct {
	keyShape
	APIKey          *string `json:"api_key"`
	SecretAvailable bool    `json:"secret_available"`
}

// keyFields is what may be set of a key, as the document that sets it.
func keyFields(k *apikey.Key) map[string]any {
	fields := map[string]any{
		"name": unlessZero(k.Name), "plan": unlessZero(k.Plan), "expires_at": unlessZero(k.ExpiresAt),
		"scopes": k.Scopes, "allowed_ips": k.AllowedIPs, "metadata": k.Metadata,
		"rates": k.Overrides.Rates, "quota": k.Overrides.Quota, "concurrency": k.Overrides.Concurrency,
		"overrides_until": unlessZero(k.Overrides.Until), "overrides_reason": unlessZero(k.Overrides.Reason),
	}
	return tree(fields)
}

// readKey sets the fields of k.
func readKey(f *fields, k *apikey.Key) {
	k.Name = f.text("name", maxName)
	k.Plan = f.text("plan", 64)
	k.ExpiresAt = f.when("expires_at")
	k.Scopes = f.texts("scopes", maxList, plan.ScopeProblem)
	k.AllowedIPs = readIPs(f)
	k.Overrides = readKeyLimits(f)
	k.Metadata = readMetadata(f)
}

// readIPs reads addresses and prefixes (CIDR). What is set of an address past
// its prefix is cleared.
func readIPs(f *fields) []netip.Prefix {
	texts := f.texts("allowed_ips", maxList, func(s string) string {
		if _, err := parseIP(s); err != nil {
			return "is not an IP address or a prefix in CIDR notation"
		}
		return ""
	})
	var list []netip.Prefix
	for _, text := range texts {
		if p, err := parseIP(text); err == nil && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

var errZone = errors.New("an address with a zone")

func parseIP(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err == nil && p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return p, errZone
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), err
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if ip.Zone() != "" {
		return netip.Prefix{}, errZone
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

// plansOf returns the id of the plan that decides the key's limits, and the
// plans that bound how many keys its customer may have.
func (s *Server) plansOf(k *apikey.Key, owner *customer.Customer, now time.Time) (decides string, bounding []*plan.Plan) {
	settings := s.settings()
	decides, _ = owner.PlanAt(now, settings.FallbackPlan, settings.DefaultPlan)
	for _, id := range []string{decides, k.Plan} {
		if p, known := s.o.Gate.Plan(id); known {
			bounding = append(bounding, p)
		}
	}
	if k.Plan != "" {
		decides = k.Plan
	}
	return decides, bounding
}

// liveKeys returns how many live keys the plans allow; 0 for no limit.
func liveKeys(plans []*plan.Plan) int {
	least := 0
	for _, p := range plans {
		if p.MaxKeys > 0 && (least == 0 || p.MaxKeys < least) {
			least = p.MaxKeys
		}
	}
	return least
}

// checkScopes makes sure that the plan allows what the key may do.
func (s *Server) checkScopes(f *fields, k *apikey.Key, planID string) {
	p, known := s.o.Gate.Plan(planID)
	if !known {
		return
	}
	for i, scope := range k.Scopes {
		if !p.AllowsScope(scope) {
			f.fail(at("scopes", i), "The plan "+p.ID+" does not allow it.")
		}
	}
}

// readHash reads a SHA-256 in hex or base64; ok is false where there is none.
func readHash(f *fields, name string) (hash apikey.Hash, ok bool) {
	text := f.text(name, 128)
	if !f.has(name) {
		return hash, false
	}
	hash, err := apikey.ParseHash(text)
	if err != nil {
		f.fail(name, "It must be a SHA-256 in hex (64 characters) or base64 (43 or 44).")
	}
	return hash, err == nil
}

// readGrace reads how long the old secret of a rotation works: a duration in
// Go's form or in days, or a number of seconds.
func readGrace(f *fields) time.Duration {
	const longest = 30 * 24 * time.Hour
	grace, problem := 24*time.Hour, `It must be a duration from "0" to "30d", as "24h".`
	switch value := f.member("grace").(type) {
	case nil:
		return grace
	case json.Number:
		return time.Duration(f.integer("grace", 0, int64(longest/time.Second))) * time.Second
	case string:
		if value == "0" || value == "0s" {
			return 0
		}
		parsed, err := plan.ParseRetention(value)
		if err != nil || parsed > longest {
			f.fail("grace", problem)
		}
		return parsed
	}
	f.fail("grace", problem)
	return grace
}
