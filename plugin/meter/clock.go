// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"sync"
	"time"
)

const (
	leap    = time.Hour       // a wall clock this far ahead is not believed
	settles = 5 * time.Minute // until it has held for so long
)

// clock tells which wall-clock times are to be believed.
type clock struct {
	mu      sync.Mutex // guards the rest
	elapsed func() time.Duration
	start   time.Time // for monotonic readings where elapsed is nil

	wall    time.Time     // believed
	at      time.Duration // elapsed at wall
	leaping bool
	since   time.Duration // elapsed when the leap was first seen
}

func newClock(now time.Time, elapsed func() time.Duration) *clock {
	c := &clock{elapsed: elapsed, start: now, wall: now.Round(0)}
	c.at = c.monotonic(now)
	return c
}

// trust returns the time that now stands for: now itself, unless the wall clock
// has leapt ahead of the monotonic one and has not held for five minutes.
func (c *clock) trust(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	monotonic := c.monotonic(now)
	wall := now.Round(0)
	expected := c.wall.Add(monotonic - c.at)
	ahead := wall.Sub(expected)
	switch {
	case ahead > leap && !c.leaping:
		c.leaping, c.since = true, monotonic
		return expected
	case ahead > leap && monotonic-c.since < settles:
		return expected
	case ahead > leap || ahead < -leap:
		c.wall, c.at = wall, monotonic
	}
	c.leaping = false
	return wall
}

// monotonic is the time since the clock was made; a time without a monotonic
// reading is believed whatever it says.
func (c *clock) monotonic(now time.Time) time.Duration {
	if c.elapsed != nil {
		return c.elapsed()
	}
	return now.Sub(c.start)
}
