// SPDX-License-Identifier: Apache-2.0

// Package id makes the prefixed, sortable identifiers of records.
package id

import (
	"crypto/rand"
	"strings"
	"time"
)

// alphabet is Crockford's base 32 in lower case: its order is the order of bytes.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const (
	timeDigits   = 11 // 55 bits of microseconds: until the year 3111
	randomDigits = 13 // 65 bits
)

// New returns prefix_ followed by 24 digits. Identifiers made later sort later
// as bytes, to the microsecond; within one microsecond their order is random.
// It is safe for concurrent use.
func New(prefix string, now time.Time) string {
	var digits [timeDigits + randomDigits]byte
	micros := uint64(max(now.UnixMicro(), 0))
	for i := timeDigits - 1; i >= 0; i-- {
		digits[i] = alphabet[micros&31]
		micros >>= 5
	}
	var random [randomDigits]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	for i, b := range random {
		digits[timeDigits+i] = alphabet[b&31]
	}
	return prefix + "_" + string(digits[:])
}

// Valid reports whether s has the form that New gives to identifiers of prefix.
func Valid(prefix, s string) bool {
	digits, ok := strings.CutPrefix(s, prefix+"_")
	if !ok || len(digits) != timeDigits+randomDigits {
		return false
	}
	for i := range len(digits) {
		if strings.IndexByte(alphabet, digits[i]) < 0 {
			return false
		}
	}
	return true
}
