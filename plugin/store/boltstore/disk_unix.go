// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin || freebsd

package boltstore

import "syscall"

// permissionsCount tells whether modes of files mean what they say.
const permissionsCount = true

// diskFree returns how many bytes an unprivileged process may still write to
// the file system of dir.
func diskFree(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // the types differ between systems
}
