// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Keys of several parts are written so that their order as bytes is the order
// of the parts: each part but the last ends with 0x00 0x01, and a 0x00 within
// one is written as 0x00 0xff.

func part(to []byte, s string) []byte { return append(beginning(to, s), 0, 1) }

// beginning appends s without its end: the beginning of every part that begins so.
func beginning(to []byte, s string) []byte {
	for i := range len(s) {
		to = append(to, s[i])
		if s[i] == 0 {
			to = append(to, 0xff)
		}
	}
	return to
}

// cut returns the first part of key and what follows it.
func cut(key []byte) (s string, rest []byte) {
	end := bytes.Index(key, []byte{0, 1})
	if end < 0 {
		return string(key), nil
	}
	raw := key[:end]
	if bytes.IndexByte(raw, 0) >= 0 {
		raw = bytes.ReplaceAll(raw, []byte{0, 0xff}, []byte{0})
	}
	return string(raw), key[end+2:]
}

// under returns the key of an index entry: value, then the record's id.
func under(value, id string) []byte {
	return append(part(make([]byte, 0, len(value)+len(id)+2), value), id...)
}

// stamp returns t so that its order as bytes is the order of time, to the
// microsecond; the zero time is all zero.
func stamp(t time.Time) []byte {
	if t.IsZero() {
		return make([]byte, 8)
	}
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.UnixMicro(), 0))+1)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func asNumber(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// below returns the largest bound that is less than id: nothing between the two
// can be an id.
func below(id []byte) []byte {
	n := len(id)
	if n == 0 {
		return nil
	}
	if id[n-1] == 0 {
		return bytes.Clone(id[:n-1])
	}
	bound := make([]byte, n, n+4)
	copy(bound, id)
	bound[n-1]--
	return append(bound, 0xff, 0xff, 0xff, 0xff)
}

// newest is a bound no id is above.
var newest = []byte{0xff, 0xff, 0xff, 0xff}
