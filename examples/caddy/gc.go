// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// mostPercent lets a small heap grow to five times what is alive before it
	// is collected: some 20 MB more for a Caddy that does little else, and a
	// tenth less CPU.
	mostPercent  = 400
	leastPercent = 100 // Go's default
	// room is what a heap may grow by where that is more than Go's default. The
	// memory limit, which Caddy takes from the container or the machine, bounds
	// all of it.
	room = 96 << 20
)

// collectLess lets the heap grow by room, but to five times what is alive at
// most, and sets that anew after each collection.
func collectLess() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := mostPercent
	debug.SetGCPercent(set)
	afterEach(func() {
		metrics.Read(live)
		if next := percent(live[0].Value.Uint64()); next < set*9/10 || next > set*11/10 {
			set = next
			debug.SetGCPercent(set)
		}
	})
}

// percent returns the GC percentage for so many live bytes.
func percent(live uint64) int {
	return int(min(max(room*100/max(live, 1), leastPercent), mostPercent))
}

// afterEach calls fn after each collection, one call after the other.
func afterEach(fn func()) {
	collected := new([16]byte) // not tiny: it is collected by itself
	runtime.SetFinalizer(collected, func(*[16]byte) {
		fn()
		afterEach(fn)
	})
}
