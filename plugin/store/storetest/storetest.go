// SPDX-License-Identifier: Apache-2.0

// Package storetest certifies engines: an engine's whole test of conformance is
// to open it and to run this.
package storetest

import (
	"context"
	"testing"

	"github.com/keytoll/keytoll/plugin/store"
)

// Open makes an engine that is empty, for one test. Reopen closes the engine it
// was given last and opens what that left behind, as after a restart; it is nil
// where the engine keeps nothing. What is open at the test's end, Open's
// cleanup closes.
type Open func(t testing.TB) (e store.Engine, reopen func() store.Engine)

// Run certifies the engine that open makes.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"directory", runDirectory},
		{"lists", runLists},
		{"changes", runChanges},
		{"journal", runJournal},
		{"ledger", runLedger},
		{"lender", runLender},
		{"durability", runDurability},
		{"bad days", runBadDays},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open) })
	}
}

// each runs one claim on an engine of its own.
func each(t *testing.T, open Open, claim string, run func(t *testing.T, e store.Engine)) {
	t.Helper()
	t.Run(claim, func(t *testing.T) {
		e, _ := open(t)
		run(t, e)
	})
}

func write(t testing.TB, e store.Directory, m store.Mutations) uint64 {
	t.Helper()
	revision, err := e.Write(context.Background(), m)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return revision
}
