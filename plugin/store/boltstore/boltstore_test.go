// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() time.Time { return storetest.Start }

// open opens dir for one test.
func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Dir: dir, Now: now, LockWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestBoltIsCertified(t *testing.T) {
	storetest.Run(t, func(t testing.TB) (store.Engine, func() store.Engine) {
		dir := t.TempDir()
		s := open(t, dir)
		return s, func() store.Engine {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			s = open(t, dir)
			return s
		}
	})
}
