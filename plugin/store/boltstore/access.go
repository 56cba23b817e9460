// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// advise says what to do about a directory that cannot be used.
func advise(err error) error {
	place, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is a file where a directory must be: move it away, or name another directory after `storage bbolt` (%w)", place.Path, err)
	case errors.Is(err, fs.ErrPermission) && permissionsCount:
		return fmt.Errorf("%w: make the directory and its files readable and writable for user %d, as which this process runs", err, os.Geteuid())
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: name a directory that can be written after `storage bbolt`", err)
	}
	return err
}
