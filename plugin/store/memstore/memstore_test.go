// SPDX-License-Identifier: Apache-2.0

package memstore_test

import (
	"testing"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/memstore"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func TestMemoryIsCertified(t *testing.T) {
	storetest.Run(t, func(t testing.TB) (store.Engine, func() store.Engine) {
		e := memstore.New()
		t.Cleanup(func() { e.Close() })
		return e, nil
	})
}
