// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"os"
	"path/filepath"
	"testing"
)

// TestACrashDuringTheSwapIsFinishedByTheNextStart stops after every rename.
func TestACrashDuringTheSwapIsFinishedByTheNextStart(t *testing.T) {
	names := []string{FileName, "slots", "old.only", "admin.token"}
	for moved := range 6 {
		dir := t.TempDir()
		sw := swap{Stamp: "T", Entries: []string{FileName, "slots"}, Keep: []string{"admin.token"}}
		for _, d := range []string{dir, sw.staging(dir)} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range names {
			must(t, os.WriteFile(filepath.Join(dir, n), []byte("old"), 0o600))
		}
		for _, n := range sw.Entries {
			must(t, os.WriteFile(filepath.Join(sw.staging(dir), n), []byte("new"), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(dir, swapName), []byte(`{"stamp":"T","entries":["keytoll.db","slots"],"keep":["admin.token"]}`), 0o600))
		renames := [][3]string{
			{dir, sw.former(dir), FileName},
			{dir, sw.former(dir), "old.only"},
			{dir, sw.former(dir), "slots"},
			{sw.staging(dir), dir, FileName},
			{sw.staging(dir), dir, "slots"},
		}
		must(t, os.MkdirAll(sw.former(dir), 0o700))
		for _, r := range renames[:moved] {
			must(t, move(r[0], r[1], r[2]))
		}
		must(t, finishSwap(dir))
		must(t, finishSwap(dir))
		for n, want := range map[string]string{
			FileName: "new", "slots": "new", "admin.token": "old", "old.only": "",
			formerPrefix + "T/" + FileName: "old", formerPrefix + "T/slots": "old", formerPrefix + "T/old.only": "old",
			swapName: "", stagingPrefix + "T/slots": "",
		} {
			if raw, _ := os.ReadFile(filepath.Join(dir, filepath.FromSlash(n))); string(raw) != want {
				t.Errorf("crash after %d renames: %s holds %q, want %q", moved, n, raw, want)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
