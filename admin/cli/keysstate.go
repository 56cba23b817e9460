// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

func (a *app) keysUpdate() *cobra.Command {
	var k keyFlags
	c := a.command("update <id>", "Change a key; prints what was and what is", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			body, err := k.fields(s)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usageError("What is to change? See: caddy keytoll keys update --help")
			}
			before, err := s.key(ctx, args[0])
			if err != nil {
				return err
			}
			after, err := client.Call[client.Key](ctx, s.client, http.MethodPatch, keyPath(before.Value.ID), nil, body)
			if err != nil || s.json {
				return firstOf(err, func() error { return s.printJSON(after) })
			}
			return s.printChanges(before.JSON, after.JSON)
		})
	k.add(a, c)
	c.ValidArgsFunction = a.completeKeys
	return c
}

func keyPath(id string) string { return "/v1/keys/" + url.PathEscape(id) }

// printChanges prints the members in which two objects differ.
func (s *session) printChanges(before, after json.RawMessage) error {
	var old, new map[string]json.RawMessage
	if err := json.Unmarshal(before, &old); err != nil {
		return err
	}
	if err := json.Unmarshal(after, &new); err != nil {
		return err
	}
	var b block
	for _, name := range slices.Sorted(maps.Keys(new)) {
		if !bytes.Equal(old[name], new[name]) && name != "last_used_at" {
			b.add(name, string(old[name])+" → "+string(new[name]))
		}
	}
	if len(b) == 0 {
		s.say("Nothing has changed.")
		return nil
	}
	return s.printBlock(b)
}

func (a *app) keysRotate() *cobra.Command {
	var keepOld string
	var yes bool
	c := a.command("rotate <id>", "Make a new secret for a key; it goes to stdout, once", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			grace, err := parseSpan("keep-old", keepOld)
			if err != nil {
				return err
			}
			found, err := s.key(ctx, args[0])
			if err != nil {
				return err
			}
			k := found.Value
			if grace == 0 {
				question := "End the secret of " + s.labelOf(ctx, k) + " (" + k.ID + ") at once, last used " + age(k.LastUsedAt, s.env.Now()) + "?"
				if err := s.confirm(yes, question); err != nil {
					return err
				}
			}
			made, err := client.Call[client.NewKey](ctx, s.client, http.MethodPost, keyPath(k.ID)+"/rotate", nil, map[string]any{"grace": grace.String()})
			if err != nil {
				return err
			}
			if err := s.showSecret(made); err != nil || s.json {
				return err
			}
			if grace == 0 {
				s.say("Rotated %s (%s). The old secret has ended.", k.ID, s.labelOf(ctx, k))
			} else {
				s.say("Rotated %s (%s). The old secret works until %s.", k.ID, s.labelOf(ctx, k), moment(s.env.Now().Add(grace)))
			}
			s.say("The secret is shown only now; only its SHA-256 is stored.")
			return nil
		})
	c.Flags().StringVar(&keepOld, "keep-old", "24h", "How long the old secret works, up to 30d; 0: not at all")
	c.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	c.ValidArgsFunction = a.completeKeys
	return c
}

func (a *app) keysRevoke() *cobra.Command {
	return a.keysState("revoke", "Revoked", "End keys for good, from the next request on", true)
}

func (a *app) keysDisable() *cobra.Command {
	return a.keysState("disable", "Disabled", "Refuse keys until they are enabled", false)
}

func (a *app) keysEnable() *cobra.Command {
	return a.keysState("enable", "Enabled", "Let disabled keys work again", false)
}

// keysState returns the command that does verb with keys. One that is final
// asks first.
func (a *app) keysState(verb, past, short string, final bool) *cobra.Command {
	var reason string
	var yes bool
	c := a.command(verb+" <id>...", short, cobra.MinimumNArgs(1), func(ctx context.Context, s *session, args []string) error {
		var keys []client.Key
		for _, ref := range args {
			found, err := s.key(ctx, ref)
			if err != nil {
				return err
			}
			keys = append(keys, found.Value)
		}
		done := []client.Record[client.Key]{}
		for _, k := range keys {
			label := s.labelOf(ctx, k)
			if final && k.Status != "revoked" {
				if err := s.confirm(yes, capital(verb)+" "+label+" ("+k.ID+"), last used "+age(k.LastUsedAt, s.env.Now())+"?"); err != nil {
					return err
				}
			}
			body := map[string]any{}
			if reason != "" {
				body["reason"] = reason
			}
			changed, err := client.Call[client.Key](ctx, s.client, http.MethodPost, keyPath(k.ID)+"/"+verb, nil, body)
			if err != nil {
				return err
			}
			done = append(done, changed)
			if !s.json {
				s.say("%s %s (%s).", past, k.ID, label)
			}
		}
		if s.json {
			return s.printJSON(done)
		}
		return nil
	})
	c.Flags().StringVar(&reason, "reason", "", "Why, for the audit log")
	if final {
		c.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	}
	c.ValidArgsFunction = a.completeKeys
	return c
}
