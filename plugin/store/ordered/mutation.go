// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// checkMutations finds a programmer's mistakes before anything is written.
func checkMutations(m store.Mutations) error {
	for i := range m.Keys {
		switch m.Keys[i].State {
		case apikey.Active, apikey.Disabled, apikey.Revoked:
		default:
			return fmt.Errorf("key %s has no state %q", m.Keys[i].ID, m.Keys[i].State)
		}
		if m.Keys[i].ID == "" {
			return errors.New("a key has no id")
		}
	}
	for i := range m.Customers {
		if m.Customers[i].ID == "" {
			return errors.New("a customer has no id")
		}
	}
	for i := range m.Plans {
		if m.Plans[i].ID == "" {
			return errors.New("a plan has no id")
		}
	}
	return checkBatch(m.Records)
}

// current reads the stored record a mutation names: nil for a new one.
func current[T any](b Bucket, kind, id string, named uint64, revision func(*T) uint64) (*T, error) {
	if named == 0 && b.Get([]byte(id)) == nil {
		return nil, nil
	}
	var old T
	switch err := decode(b, kind, []byte(id), &old); {
	case err != nil:
		return nil, err
	case named == 0:
		return nil, &store.DuplicateError{Field: "id", ID: id}
	case revision(&old) != named:
		return nil, fmt.Errorf("%s %s: %w", kind, id, store.ErrConflict)
	}
	return &old, nil
}

// put writes one JSON record, and returns it.
func put(b Bucket, id string, record any) ([]byte, error) {
	raw, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("writing record %s: %w", id, err)
	}
	return raw, b.Put([]byte(id), raw)
}
