// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// stripes is how many cells a counter has, so that requests of two cores rarely
// write the same cache line.
const stripes = 8

// A counter counts up. Adding takes no lock and allocates nothing.
type counter struct {
	cells [stripes]struct {
		n atomic.Uint64
		_ [56]byte // to the end of the cache line
	}
}

func (c *counter) add(n uint64) { c.cells[stripe()].n.Add(n) }

// stripe picks a cell: any will do.
func stripe() uint32 {
	return rand.Uint32() % stripes //nolint:gosec // it spreads writes, it hides nothing
}

func (c *counter) sum() (sum uint64) {
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// A histogram counts durations by the first of its bounds that they do not
// exceed.
type histogram struct {
	bounds []float64 // seconds, rising
	cells  [stripes]histogramCell
}

type histogramCell struct {
	counts [16]atomic.Uint64 // by bound; what exceeds all is in the one after
	nanos  atomic.Uint64
}

func newHistogram(bounds ...float64) *histogram {
	if len(bounds) > 15 {
		panic("a histogram has at most 15 bounds")
	}
	return &histogram{bounds: bounds}
}

func (h *histogram) observe(d time.Duration) {
	cell := &h.cells[stripe()]
	seconds, i := d.Seconds(), 0
	for i < len(h.bounds) && seconds > h.bounds[i] {
		i++
	}
	cell.counts[i].Add(1)
	cell.nanos.Add(uint64(max(d, 0)))
}

// read returns how many were observed, their sum in seconds, and how many do
// not exceed each bound.
func (h *histogram) read() (count uint64, sum float64, below map[float64]uint64) {
	below = make(map[float64]uint64, len(h.bounds))
	var nanos uint64
	for i := range len(h.bounds) + 1 {
		for c := range h.cells {
			count += h.cells[c].counts[i].Load()
		}
		if i < len(h.bounds) {
			below[h.bounds[i]] = count
		}
	}
	for c := range h.cells {
		nanos += h.cells[c].nanos.Load()
	}
	return count, float64(nanos) / math.Pow10(9), below
}
