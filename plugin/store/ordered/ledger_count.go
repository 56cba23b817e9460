// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/keytoll/keytoll/plugin/store"
)

func isZero(c store.UsageCount) bool {
	return c.Requests == 0 && c.Refused == 0 && c.Refunded == 0 && len(c.Units) == 0
}

// plus returns the sum. It keeps neither map.
func plus(a, b store.UsageCount) store.UsageCount {
	sum := store.UsageCount{
		Requests: a.Requests + b.Requests,
		Refused:  a.Refused + b.Refused,
		Refunded: a.Refunded + b.Refunded,
	}
	if len(a.Units)+len(b.Units) > 0 {
		sum.Units = make(map[string]int64, max(len(a.Units), len(b.Units)))
		maps.Copy(sum.Units, a.Units)
		for unit, n := range b.Units {
			sum.Units[unit] += n
		}
	}
	return sum
}

// countBytes writes a count as varints: requests, refused, refunded, then the
// length of each unit's name, the name and its sum.
func countBytes(c store.UsageCount) []byte {
	to := make([]byte, 0, 32)
	to = binary.AppendVarint(to, c.Requests)
	to = binary.AppendVarint(to, c.Refused)
	to = binary.AppendVarint(to, c.Refunded)
	for _, unit := range slices.Sorted(maps.Keys(c.Units)) {
		to = binary.AppendUvarint(to, uint64(len(unit)))
		to = append(to, unit...)
		to = binary.AppendVarint(to, c.Units[unit])
	}
	return to
}

var errCount = errors.New("a row of usage is damaged")

func asCount(b []byte) (c store.UsageCount, err error) {
	for _, to := range []*int64{&c.Requests, &c.Refused, &c.Refunded} {
		if b, err = varint(b, to); err != nil {
			return c, err
		}
	}
	for len(b) > 0 {
		length, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < length {
			return c, errCount
		}
		unit := string(b[n : n+int(length)])
		var sum int64
		if b, err = varint(b[n+int(length):], &sum); err != nil {
			return c, err
		}
		if c.Units == nil {
			c.Units = make(map[string]int64, 1)
		}
		c.Units[unit] = sum
	}
	return c, nil
}

func varint(b []byte, to *int64) ([]byte, error) {
	v, n := binary.Varint(b)
	if n <= 0 {
		return nil, errCount
	}
	*to = v
	return b[n:], nil
}
