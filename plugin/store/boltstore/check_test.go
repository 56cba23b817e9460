// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func TestACheckFindsWhatDoesNotAgree(t *testing.T) {
	for _, c := range []struct {
		claim  string
		damage func(tx *bolt.Tx) error
		want   string
	}{
		{"a missing index entry", func(tx *bolt.Tx) error {
			h := storetest.Hash(3)
			return tx.Bucket([]byte("hashes")).Delete(h[:])
		}, "missing from index hashes"},
		{"an entry that no record has", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("keys_by_word")).Put([]byte("ghost\x00\x01key_ghost"), []byte{})
		}, "index keys_by_word has"},
		{"a record that cannot be read", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("keys")).Put([]byte(storetest.ID("key", 2)), []byte("{"))
		}, "cannot be read"},
		{"a key of nobody", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("customers")).Delete([]byte(storetest.ID("cust", 4)))
		}, "belongs to nobody"},
		{"a wrong count", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("counts")).Put([]byte("keys/active"), []byte{0, 0, 0, 0, 0, 0, 0, 9})
		}, "the count of keys/active is 9"},
		{"a revision that was never made", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("counts")).Put([]byte("revision"), []byte{0, 0, 0, 0, 0, 0, 0, 0})
		}, "the store only 0"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			dir := t.TempDir()
			path := filled(t, dir)
			healthy(t, dir)
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(c.damage), db.Close()); err != nil {
				t.Fatal(err)
			}
			findings, err := Check(context.Background(), dir, nil)
			if err != nil || !strings.Contains(strings.Join(findings, "\n"), c.want) {
				t.Errorf("got %q, %v, want %q", findings, err, c.want)
			}
		})
	}
}
