// SPDX-License-Identifier: Apache-2.0

//go:build !race

package rig

// Raced: the binary under test is built with the race detector, too.
const Raced = false
