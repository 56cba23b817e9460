// SPDX-License-Identifier: Apache-2.0

//go:build !race

package rig

// Raced tells whether the binary under test is built with the race detector.
const Raced = false
