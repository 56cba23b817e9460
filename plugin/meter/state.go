// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is how the files were left, in a file beside them.
type state struct {
	Boot   string `json:"boot"`   // of the machine; "": unknown
	Clean  bool   `json:"clean"`  // synced after the last change
	Told   bool   `json:"told"`   // the Ledger knows all that was counted
	Failed bool   `json:"failed"` // a sync failed, and the file has not been replaced
}

const stateFile = "slots.state"

// exact reports whether the words are as they were left, up to the last
// change: the files were closed, or the kernel still has what it was given.
func (s state) exact(boot string) bool {
	return s.Clean || boot != "" && s.Boot == boot && !s.Failed
}

// readState returns the zero state where there is none: nothing is known.
func readState(dir string) (s state, err error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err == nil && json.Unmarshal(b, &s) != nil {
		return state{}, nil
	}
	return s, err
}

// writeState replaces the state and syncs it, name and all.
func (d durability) writeState(dir string, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, stateFile)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("marking the counters: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, d.sync(f), f.Close())
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err == nil {
		err = d.syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("marking the counters: %w", err)
	}
	return nil
}
