// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// current is the schema that this release writes.
const current = 1

// schemaKey is where the book Meta says which schema the file has.
const schemaKey = "schema"

var metaBucket = []byte("book_" + store.Meta)

// migration makes a file of one schema one of the next, in one transaction.
type migration func(tx ordered.Tx) error

// migrations holds, by the schema they start from, the ways forward.
var migrations = map[int]migration{}

// begin makes an empty file one of the current schema.
func begin(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	return b.Put([]byte(schemaKey), []byte(strconv.Itoa(current)))
}

// schemaOf returns the schema of a file; an error for a foreign one.
func schemaOf(t *tree) (schema int, err error) {
	err = t.View(func(tx ordered.Tx) error {
		raw := tx.Bucket(string(metaBucket)).Get([]byte(schemaKey))
		if schema, err = strconv.Atoi(string(raw)); err != nil || schema < 1 {
			return fmt.Errorf("%s is a bbolt database of something else: %s", t.path, remedy)
		}
		return nil
	})
	return schema, err
}

// checkSchema refuses files that are foreign or newer than this release.
func checkSchema(t *tree) error {
	schema, err := schemaOf(t)
	if err != nil {
		return err
	}
	if schema > current {
		return fmt.Errorf("%s has schema %d, this release reads up to %d: run the newer release again, or restore a backup made before the upgrade",
			t.path, schema, current)
	}
	return nil
}

// migrate brings the file to the schema to, step by step, in one transaction,
// after a copy of the file was put beside it.
func migrate(t *tree, steps map[int]migration, to int) error {
	from, err := schemaOf(t)
	if err != nil || from == to {
		return err
	}
	kept := fmt.Sprintf("%s.before-schema-%d", t.path, to)
	if err := copyFile(t.db, kept); err != nil {
		return fmt.Errorf("copying %s before its migration: %w", t.path, err)
	}
	err = t.Update(func(tx ordered.Tx) error {
		for schema := from; schema < to; schema++ {
			if steps[schema] == nil {
				return fmt.Errorf("no way leads from schema %d to %d", schema, schema+1)
			}
			if err := steps[schema](tx); err != nil {
				return fmt.Errorf("from schema %d to %d: %w", schema, schema+1, err)
			}
		}
		return tx.Bucket(string(metaBucket)).Put([]byte(schemaKey), []byte(strconv.Itoa(to)))
	})
	if err != nil {
		return fmt.Errorf("migrating %s (nothing was changed, a copy is %s): %w", t.path, kept, err)
	}
	return nil
}

// copyFile writes a consistent copy of db to path, durably and as a whole.
func copyFile(db *bolt.DB, path string) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, path)
}
