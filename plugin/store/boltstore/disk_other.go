// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !freebsd

package boltstore

import "errors"

// permissionsCount tells whether modes of files mean what they say.
const permissionsCount = false

func diskFree(string) (int64, error) { return 0, errors.ErrUnsupported }
