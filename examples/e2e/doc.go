// SPDX-License-Identifier: Apache-2.0

// Package e2e judges the built binary from outside, as a user meets it: a real
// Caddy process, real HTTP, and the upstream's own count.
package e2e
