// SPDX-License-Identifier: Apache-2.0

//go:build race

package e2e

// raced: the binary under test is built with the race detector, too.
const raced = true
