// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"testing"
	"time"
)

func TestASmallHeapIsCollectedLessOftenAndALargeOneAsGoDoes(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, mostPercent},
		{8 << 20, mostPercent},
		{48 << 20, 200},
		{96 << 20, leastPercent},
		{8 << 30, leastPercent},
	} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%d MB alive: got %d, want %d", c.live>>20, got, c.want)
		}
	}
}

func TestEachCollectionIsSeen(t *testing.T) {
	seen := make(chan int, 100)
	n := 0
	afterEach(func() {
		n++
		seen <- n
	})
	for want := 1; want <= 3; want++ {
		runtime.GC()
		select {
		case got := <-seen:
			if got != want {
				t.Fatalf("got call %d, want %d", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("collection %d was not seen", want)
		}
	}
}
