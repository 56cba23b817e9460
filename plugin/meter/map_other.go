// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package meter

import (
	"errors"
	"os"
)

// mappable: of other systems nothing is known, so changes are written.
func mappable(string) bool { return false }

func mapWords(*segment, *os.File, int64) error { return errors.ErrUnsupported }

func detach(*segment, *os.File) error { return errors.ErrUnsupported }

// bootID is unknown: after a crash all that was lent counts as used.
func bootID() string { return "" }

func fdatasync(f *os.File) error { return f.Sync() }
