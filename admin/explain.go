// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/store"
)

// explainKey tells how a call with the key ?key= would be decided now.
func (s *Server) explainKey(ctx context.Context, c *call) (*answer, error) {
	q, err := c.query("key")
	if err != nil {
		return nil, err
	}
	if q.text("key") == "" {
		return nil, wrongParameter("key", "It is required: the id of a key.")
	}
	return s.explain(ctx, gate.Subject{Key: q.text("key")}, notFound("key", q.text("key")))
}

// explainSecret does so for whoever holds the secret in the body. The secret is
// hashed at once and appears nowhere.
func (s *Server) explainSecret(ctx context.Context, c *call) (*answer, error) {
	f := c.document.reading()
	secret, hash := apikey.Secret(f.text("secret", apikey.MaxSecretLength)), apikey.Hash{}
	if f.has("hash") {
		hash, _ = readHash(f, "hash")
	}
	if f.has("secret") == f.has("hash") {
		f.fail("secret", "Send either secret or hash.")
	}
	if err := f.finish(); err != nil {
		return nil, err
	}
	if secret != "" {
		hash = secret.Hash()
	}
	p := notFound("key", "")
	p.detail = "No key has this secret."
	return s.explain(ctx, gate.Subject{Hash: hash}, p)
}

func (s *Server) explain(ctx context.Context, of gate.Subject, missing *problem) (*answer, error) {
	explanation, err := s.o.Gate.Explain(ctx, of)
	if errors.Is(err, store.ErrNotFound) {
		return nil, missing
	}
	return ok(explanation), err
}
