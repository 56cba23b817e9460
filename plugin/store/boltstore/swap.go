// SPDX-License-Identifier: Apache-2.0

package boltstore

func finishSwap(dir string) error { return nil }
