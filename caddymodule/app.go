// SPDX-License-Identifier: Apache-2.0

// Package caddymodule translates between Caddy and Keytoll.
package caddymodule
