// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// The engines that are linked in.
const (
	engineBolt   = "bbolt"
	engineMemory = "memory"
)

const defaultLockWait = 5 * time.Second

// Storage says where customers, keys, plans and usage are kept.
type Storage struct {
	// `bbolt`: one file in a directory. `memory`: nothing outlives the process.
	// Default: `bbolt`
	Engine string `json:"engine,omitempty"`

	// The directory, made with mode 0700 where it is missing. Only one process
	// at a time can use it. Default: `keytoll` in Caddy's data directory
	Directory string `json:"directory,omitempty"`

	// How long to wait for another process to let go of the directory.
	// Default: `5s`
	LockWait caddy.Duration `json:"lock_wait,omitempty"`

	directory string // absolute; "" in memory
}

// errOtherBuild names what is missing in this build.
func errOtherBuild(engine, pkg string) error {
	return fmt.Errorf("storage %s is not part of this build: add `--with github.com/keytoll/keytoll/caddymodule/%s` to xcaddy build", engine, pkg)
}

// checkEngine refuses engines that this build has not.
func checkEngine(engine string) error {
	switch engine {
	case engineBolt, engineMemory, "":
		return nil
	case "postgres", "postgresql":
		return errOtherBuild(engine, "postgres")
	case "redis", "valkey":
		return errors.New("redis holds rates only: it is a limiter, not a storage")
	}
	return unknownWord("storage", engine, engineBolt, engineMemory, "postgres")
}

func (s *Storage) resolve(repl *caddy.Replacer) error {
	if err := checkEngine(s.Engine); err != nil {
		return err
	}
	if s.LockWait < 0 {
		return errors.New("lock_wait is negative")
	}
	if s.memory() {
		if s.Directory != "" {
			return errors.New("memory takes no directory")
		}
		return nil
	}
	dir, err := repl.ReplaceOrErr(s.Directory, true, true)
	if err != nil {
		return err
	}
	if dir == "" {
		dir = defaultDirectory()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("finding the directory: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	s.directory = dir
	return nil
}

func defaultDirectory() string { return filepath.Join(caddy.AppDataDir(), "keytoll") }

func (s *Storage) memory() bool { return s.Engine == engineMemory }

func (s *Storage) lockWait() time.Duration {
	if s.LockWait == 0 {
		return defaultLockWait
	}
	return time.Duration(s.LockWait)
}

// place is where the storage is, the same for all configurations that mean the
// same data.
func (s *Storage) place() string {
	if s.memory() {
		return engineMemory
	}
	return s.directory
}

// adminDirectory is where the admin token is kept.
func (s *Storage) adminDirectory() string {
	if s.memory() {
		return defaultDirectory()
	}
	return s.directory
}
