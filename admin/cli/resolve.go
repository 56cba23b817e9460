// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keytoll/keytoll/admin/client"
	"github.com/keytoll/keytoll/plugin/id"
)

// keyID returns the id of the key that ref names: an id, the start of a secret
// as lists show it, or - for a secret on stdin.
func (s *session) keyID(ctx context.Context, ref string) (string, error) {
	if ref == "-" {
		return s.keyOfSecret(ctx)
	}
	if err := noSecret(ref); err != nil {
		return "", err
	}
	if strings.HasPrefix(ref, "key_") {
		return ref, nil
	}
	api, err := s.api()
	if err != nil {
		return "", err
	}
	wanted := strings.TrimRight(ref, "….")
	page, err := client.Get[client.Page[client.Key]](ctx, api, "/v1/keys", url.Values{"q": {wanted}, "limit": {"3"}})
	if err != nil {
		return "", err
	}
	switch found := page.Value.Data; {
	case len(found) == 1:
		return found[0].Value.ID, nil
	case len(found) == 0:
		return "", notFound("No key %s. See: caddy keytoll keys list", ref)
	}
	return "", usageError("Several keys begin with %s: write an id. See: caddy keytoll keys list --q %s", ref, wanted)
}

func (s *session) keyOfSecret(ctx context.Context) (string, error) {
	explanation, err := s.explainSecret(ctx)
	return explanation.Value.Key, err
}

func (s *session) explainSecret(ctx context.Context) (client.Record[client.Explanation], error) {
	secret, err := s.readSecret()
	if err != nil {
		return client.Record[client.Explanation]{}, err
	}
	api, err := s.api()
	if err != nil {
		return client.Record[client.Explanation]{}, err
	}
	return client.Call[client.Explanation](ctx, api, http.MethodPost, "/v1/explain", nil, map[string]any{"secret": secret})
}

// key reads the key that ref names.
func (s *session) key(ctx context.Context, ref string) (client.Record[client.Key], error) {
	keyID, err := s.keyID(ctx, ref)
	if err != nil {
		return client.Record[client.Key]{}, err
	}
	api, err := s.api()
	if err != nil {
		return client.Record[client.Key]{}, err
	}
	found, err := client.Get[client.Key](ctx, api, "/v1/keys/"+url.PathEscape(keyID), nil)
	return found, s.missing(err, "No key %s. See: caddy keytoll keys list", ref)
}

// customer reads the customer that ref names by its id, e-mail address or
// external id.
func (s *session) customer(ctx context.Context, ref string) (client.Record[client.Customer], error) {
	api, err := s.api()
	if err != nil {
		return client.Record[client.Customer]{}, err
	}
	const missing = "No customer %s. See: caddy keytoll customers list"
	if id.Valid("cust", ref) {
		found, err := client.Get[client.Customer](ctx, api, "/v1/customers/"+ref, nil)
		return found, s.missing(err, missing, ref)
	}
	field := "external_id"
	if strings.Contains(ref, "@") {
		field = "email"
	}
	page, err := client.Get[client.Page[client.Customer]](ctx, api, "/v1/customers", url.Values{field: {ref}})
	if err != nil {
		return client.Record[client.Customer]{}, err
	}
	if len(page.Value.Data) == 0 {
		return client.Record[client.Customer]{}, notFound(missing, ref)
	}
	return page.Value.Data[0], nil
}

// missing says what to do where the API found nothing.
func (s *session) missing(err error, format, ref string) error {
	var problem *client.Error
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return notFound(format, ref)
	}
	return err
}

// nameOf returns what people call a customer; its id where that cannot be read.
func (s *session) nameOf(ctx context.Context, customerID string) string {
	c, known := s.known[customerID]
	if !known {
		if api, err := s.api(); err == nil {
			if found, err := client.Get[client.Customer](ctx, api, "/v1/customers/"+url.PathEscape(customerID), nil); err == nil {
				c = found.Value
			}
		}
		s.known[customerID] = c
	}
	return called(c, customerID)
}

func called(c client.Customer, otherwise string) string {
	for _, name := range []string{c.Email, c.Name, c.ExternalID} {
		if name != "" {
			return name
		}
	}
	return otherwise
}

// labelOf names a key: Production, dev@northwind.io.
func (s *session) labelOf(ctx context.Context, k client.Key) string {
	owner := s.nameOf(ctx, k.Customer)
	if k.Name == "" {
		return owner
	}
	return k.Name + ", " + owner
}
