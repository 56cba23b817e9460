// SPDX-License-Identifier: Apache-2.0

// Package apikey holds what a caller shows (Secret), what is kept of it (Hash)
// and the record of a key (Key).
package apikey

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"
)

// MaxSecretLength is how many bytes a secret may have; a longer one is invalid
// without a look-up.
const MaxSecretLength = 512

const (
	alphabet       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomBytes    = 32 // 256 bits
	randomDigits   = 43 // base 62
	checksumDigits = 6
	shownDigits    = 4
)

// Secret is what the caller holds: <prefix>_<live|test>_<43 base62 digits, 256
// random bits><6 base62 digits, the CRC-32 of all before>, or any other string
// where it was imported. Printing one by accident prints no secret: only
// Reveal gives it away.
type Secret string

// Reveal returns the secret itself, to be shown once.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string { return "(secret)" }

// GoString hides the secret.
func (s Secret) GoString() string { return "(secret)" }

// MarshalText refuses: a secret is written by who calls Reveal.
func (s Secret) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a secret is not to be written")
}

// Hash returns the SHA-256 of the whole secret. It allocates nothing where s is
// no longer than MaxSecretLength.
func (s Secret) Hash() Hash {
	var onStack [MaxSecretLength]byte
	return sha256.Sum256(append(onStack[:0], s...))
}

// Start returns what may be kept for display: the prefix and four characters.
// It is empty for a secret that is not of our form.
func (s Secret) Start() string {
	if Inspect(string(s)) != Genuine {
		return ""
	}
	return string(s[:len(s)-randomDigits-checksumDigits+shownDigits])
}

// ValidPrefix reports whether prefix may begin our secrets: 1 to 16 letters,
// digits or underscores, the first a letter, the last no underscore.
func ValidPrefix(prefix string) bool {
	if len(prefix) == 0 || len(prefix) > 16 || strings.HasSuffix(prefix, "_") {
		return false
	}
	for i := range len(prefix) {
		c := prefix[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// Mint makes a new secret from 32 bytes of random.
func Mint(prefix string, mode Mode, random io.Reader) (Secret, error) {
	var raw [randomBytes]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	body := prefix + "_" + string(mode) + "_" + base62(new(big.Int).SetBytes(raw[:]), randomDigits)
	return Secret(body + checksum(body)), nil
}

// Form tells whether a string looks like one of our secrets.
type Form int

// The forms of a presented secret.
const (
	Foreign Form = iota // another form: perhaps an imported secret
	Corrupt             // our form with a wrong checksum: never minted here
	Genuine             // our form with the right checksum
)

// Inspect returns the form of s, whatever its prefix. It allocates nothing.
func Inspect(s string) Form {
	const tail = randomDigits + checksumDigits
	mark := len(s) - tail
	if mark < len("a_live_") || len(s) > MaxSecretLength {
		return Foreign
	}
	head := s[:mark]
	prefix, ok := strings.CutSuffix(head, "_live_")
	if !ok {
		prefix, ok = strings.CutSuffix(head, "_test_")
	}
	if !ok || !ValidPrefix(prefix) {
		return Foreign
	}
	for i := mark; i < len(s); i++ {
		if !isDigit(s[i]) {
			return Foreign
		}
	}
	sum := crc32String(s[:len(s)-checksumDigits])
	for i := len(s) - 1; i >= len(s)-checksumDigits; i-- {
		if s[i] != alphabet[sum%62] {
			return Corrupt
		}
		sum /= 62
	}
	return Genuine
}

func isDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func base62(n *big.Int, digits int) string {
	out := make([]byte, digits)
	base, rest := big.NewInt(62), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = alphabet[rest.Int64()]
	}
	return string(out)
}

func checksum(body string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32String(body))), checksumDigits)
}

// crc32String is crc32.ChecksumIEEE of a string. That function's argument goes
// to the heap; this loop over some 50 characters does not.
func crc32String(s string) uint32 {
	sum := ^uint32(0)
	for i := range len(s) {
		sum = crc32.IEEETable[byte(sum)^s[i]] ^ sum>>8
	}
	return ^sum
}
