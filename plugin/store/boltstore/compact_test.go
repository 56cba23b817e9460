// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"testing"

	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

func TestCompactGivesSpaceBackAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 2000)
	var big []store.Record
	for n := range 200 {
		big = append(big, store.Record{Book: store.Audit, Key: []byte(storetest.ID("a", n)), Value: make([]byte, 100_000)})
	}
	must(t, s.Commit(context.Background(), store.Batch{Put: big}))
	for i := range big {
		big[i].Value = nil
	}
	must(t, s.Commit(context.Background(), store.Batch{Put: big}))
	must(t, s.Close())
	told := int64(0)
	before, after, err := Compact(context.Background(), dir, func(done, total int64) {
		if done < told || done > total {
			t.Errorf("progress went from %d to %d of %d", told, done, total)
		}
		told = done
	})
	if err != nil || after >= before || told == 0 {
		t.Errorf("got %d → %d bytes, %v, told of %d", before, after, err, told)
	}
	healthy(t, dir)
	if n, err := open(t, dir).Count(context.Background()); err != nil || n.Customers != 2000 {
		t.Errorf("got %+v, %v, want 2000 customers", n, err)
	}
	if _, _, err := Compact(context.Background(), dir, nil); err == nil {
		t.Error("a store in use was compacted")
	}
}
