// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"slices"
	"sort"
)

// A stream gives ids in descending order.
type stream interface {
	// atMost returns the largest id of the stream that is not above bound;
	// nil where there is none. Bounds only ever fall.
	atMost(bound []byte) []byte
}

// indexed is the stream of the ids under one value of an index.
type indexed struct {
	c      Cursor
	prefix []byte
	at     []byte // where the cursor stands; nil: nowhere
	buffer []byte
}

func streamUnder(b Bucket, prefix []byte) *indexed { return &indexed{c: b.Cursor(), prefix: prefix} }

func (s *indexed) atMost(bound []byte) []byte {
	if s.at != nil {
		if bytes.Compare(s.at[len(s.prefix):], bound) <= 0 {
			return s.at[len(s.prefix):]
		}
		// Most bounds are the next id: one step is cheaper than a search.
		if k, _ := s.c.Prev(); !bytes.HasPrefix(k, s.prefix) {
			return nil
		} else if s.at = k; bytes.Compare(k[len(s.prefix):], bound) <= 0 {
			return k[len(s.prefix):]
		}
	}
	s.buffer = append(append(s.buffer[:0], s.prefix...), bound...)
	k, _ := s.c.Seek(s.buffer)
	switch {
	case k == nil:
		k, _ = s.c.Last()
	case !bytes.Equal(k, s.buffer):
		k, _ = s.c.Prev()
	}
	if k == nil || !bytes.HasPrefix(k, s.prefix) || bytes.Compare(k, s.buffer) > 0 {
		return nil
	}
	s.at = k
	return k[len(s.prefix):]
}

// gathered is a stream of ids in memory.
type gathered struct{ ids [][]byte } // ascending, without doubles

func gather(ids [][]byte) *gathered {
	slices.SortFunc(ids, bytes.Compare)
	return &gathered{slices.CompactFunc(ids, bytes.Equal)}
}

func (s *gathered) atMost(bound []byte) []byte {
	n := sort.Search(len(s.ids), func(i int) bool { return bytes.Compare(s.ids[i], bound) > 0 })
	s.ids = s.ids[:n]
	if n == 0 {
		return nil
	}
	return s.ids[n-1]
}

// union is the stream of the ids of any of its parts.
type union []stream

func (u union) atMost(bound []byte) []byte {
	var largest []byte
	for _, s := range u {
		if id := s.atMost(bound); bytes.Compare(id, largest) > 0 {
			largest = id
		}
	}
	return largest
}

// ranged is the stream of the ids in [from, to) of a bucket of records.
type ranged struct {
	all  *indexed
	from []byte
	to   []byte // nil: no end
}

func (s ranged) atMost(bound []byte) []byte {
	if s.to != nil && bytes.Compare(bound, s.to) >= 0 {
		bound = below(s.to)
	}
	if id := s.all.atMost(bound); id != nil && bytes.Compare(id, s.from) >= 0 {
		return id
	}
	return nil
}

// common calls yield with the ids that are in all streams and not above bound,
// in descending order, until it returns false. The work is bounded by the
// shortest stream.
func common(streams []stream, bound []byte, yield func(id []byte) bool) {
	for {
		id, agreed := streams[0].atMost(bound), true
		for _, s := range streams[1:] {
			if id == nil {
				return
			}
			bound = id
			if id = s.atMost(bound); !bytes.Equal(id, bound) {
				agreed = false
				break
			}
		}
		switch {
		case id == nil:
			return
		case !agreed:
			bound = id
		case !yield(id):
			return
		default:
			bound = below(id)
		}
	}
}
