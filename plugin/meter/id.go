// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"encoding/binary"
	"errors"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/usage"
)

// Kind tells what owns a counter.
type Kind byte

// The kinds of owners.
const (
	OfKey Kind = iota + 1
	OfCustomer
	OfGrant
)

// Owner owns counters. Test keys of a customer share one, live ones another.
type Owner struct {
	Kind Kind
	ID   string
	Mode apikey.Mode
}

// Calls is the unit in which the number of requests is counted, whatever they cost.
const Calls = "calls"

// ID names a counter for ever; with an ordinal of its calendar, a slot.
type ID struct {
	Owner    Owner
	Unit     string
	Calendar usage.Calendar
}

// bytes is the ID's form in the book: owners of one kind stand together, and
// what belongs to one owner.
func (id ID) bytes() []byte {
	b := make([]byte, 0, 64)
	b = append(b, byte(id.Owner.Kind))
	for _, s := range []string{id.Owner.ID, string(id.Owner.Mode), id.Unit, string(id.Calendar.Span)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return binary.AppendVarint(b, id.Calendar.Anchor)
}

// parseID is the inverse of ID.bytes.
func parseID(b []byte) (ID, error) {
	var fields [4]string
	bad := errors.New("reading the book of slots: not the name of a counter")
	if len(b) == 0 {
		return ID{}, bad
	}
	kind := Kind(b[0])
	b = b[1:]
	for i := range fields {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return ID{}, bad
		}
		fields[i] = string(b[size : size+int(n)])
		b = b[size+int(n):]
	}
	anchor, size := binary.Varint(b)
	if size <= 0 {
		return ID{}, bad
	}
	return ID{
		Owner:    Owner{Kind: kind, ID: fields[0], Mode: apikey.Mode(fields[1])},
		Unit:     fields[2],
		Calendar: usage.Calendar{Span: plan.Span(fields[3]), Anchor: anchor},
	}, nil
}
