// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The entries of a directory that belong to a restore.
const (
	swapName      = ".swap"
	stagingPrefix = ".restore-"
	formerPrefix  = ".before-restore-"
)

// swap says how the content of a directory is being replaced. Once it is
// written down, the replacement is decided; a crash only delays it.
type swap struct {
	Stamp   string   `json:"stamp"`   // names the directories of what comes and what goes
	Entries []string `json:"entries"` // what comes
	Keep    []string `json:"keep"`    // what stays
}

func (s swap) staging(dir string) string { return filepath.Join(dir, stagingPrefix+s.Stamp) }
func (s swap) former(dir string) string  { return filepath.Join(dir, formerPrefix+s.Stamp) }

// decide writes s down, and carries it out.
func (s swap) decide(dir string) error {
	staged, err := os.ReadDir(s.staging(dir))
	if err != nil {
		return err
	}
	for _, e := range staged {
		s.Entries = append(s.Entries, e.Name())
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	part := filepath.Join(dir, swapName+".part")
	if err := writeSynced(part, raw); err != nil {
		return err
	}
	if err := errors.Join(syncDir(s.staging(dir)), os.Rename(part, filepath.Join(dir, swapName)), syncDir(dir)); err != nil {
		return err
	}
	return s.carryOut(dir)
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// finishSwap carries out what was decided before a crash. Where nothing was, it
// does nothing.
func finishSwap(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, swapName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var s swap
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Join(dir, swapName), err)
	}
	if s.Stamp == "" || strings.ContainsAny(s.Stamp, `/\`) {
		return fmt.Errorf("%s names no restore", filepath.Join(dir, swapName))
	}
	return s.carryOut(dir)
}

// carryOut may be repeated from any point. Of an entry that comes, what still
// is in the staging directory has not come yet: what bears its name is old.
func (s swap) carryOut(dir string) error {
	if err := os.Mkdir(s.former(dir), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	present, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range present {
		if s.stays(dir, e.Name()) {
			continue
		}
		if err := move(dir, s.former(dir), e.Name()); err != nil {
			return err
		}
	}
	for _, name := range s.Entries {
		if err := move(s.staging(dir), dir, name); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(s.former(dir)), syncDir(dir)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, swapName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(s.staging(dir))
}

func (s swap) stays(dir, name string) bool {
	switch {
	case name == swapName, slices.Contains(s.Keep, name),
		strings.HasPrefix(name, stagingPrefix), strings.HasPrefix(name, formerPrefix):
		return true
	case !slices.Contains(s.Entries, name):
		return false
	}
	_, err := os.Lstat(filepath.Join(s.staging(dir), name))
	return errors.Is(err, os.ErrNotExist) // it has come already
}

// move renames from/name to to/name, unless that is done.
func move(from, to, name string) error {
	err := os.Rename(filepath.Join(from, name), filepath.Join(to, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
