// SPDX-License-Identifier: Apache-2.0

package apikey

// Mode tells keys that are sold from keys that are tried out with.
type Mode string

// The modes of a key. Test keys have counters of their own, are never billed
// and never share a pooled limit with live ones.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Valid reports whether m is one of the modes.
func (m Mode) Valid() bool { return m == Live || m == Test }
