// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyALossIsWarnedOf opens a new directory, then what a power cut leaves
// after units were lent.
func TestOnlyALossIsWarnedOf(t *testing.T) {
	dir, e := t.TempDir(), newEngine()
	openLogging := func(dir string, e *engine) (*Meter, string) {
		var log bytes.Buffer
		m, err := Open(t.Context(), Options{
			Dir: dir, Journal: e, Ledger: e, Node: "one", Now: newHand(start).now, numbers: worldNumbers,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		said := log.String()
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m, said
	}
	m, said := openLogging(dir, e)
	if said != "" {
		t.Errorf("a new directory: got log %q, want none", said)
	}
	take(t, m.Counter(keyID("a")), start, 1, 1000)

	cut := t.TempDir()
	if err := os.CopyFS(cut, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cut, stateFile)); err != nil {
		t.Fatal(err)
	}
	if _, said = openLogging(cut, e.clone()); !strings.Contains(said, "stopped without warning") {
		t.Errorf("after a power cut: got log %q, want a warning", said)
	}
}
