// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
)

// Hash is the SHA-256 of a whole secret, the only form of it that is stored.
type Hash [sha256.Size]byte

// Equal compares in constant time.
func (h Hash) Equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// String returns h in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes h in hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what ParseHash reads.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// errHash does not repeat what was given: it may be a secret by mistake.
var errHash = errors.New("a hash is a SHA-256 in hex (64 characters) or base64 (43 or 44)")

// ParseHash reads a SHA-256 in hex or in base64 (standard or URL alphabet, with
// or without padding).
func ParseHash(s string) (Hash, error) {
	var raw []byte
	var err error
	switch len(s) {
	case hex.EncodedLen(sha256.Size):
		raw, err = hex.DecodeString(s)
	case base64.StdEncoding.EncodedLen(sha256.Size):
		if raw, err = base64.StdEncoding.DecodeString(s); err != nil {
			raw, err = base64.URLEncoding.DecodeString(s)
		}
	case base64.RawStdEncoding.EncodedLen(sha256.Size):
		if raw, err = base64.RawStdEncoding.DecodeString(s); err != nil {
			raw, err = base64.RawURLEncoding.DecodeString(s)
		}
	default:
		return Hash{}, errHash
	}
	if err != nil || len(raw) != sha256.Size {
		return Hash{}, errHash
	}
	return Hash(raw), nil
}
