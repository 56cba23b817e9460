// SPDX-License-Identifier: Apache-2.0

// Package limit enforces rates by the generic cell rate algorithm (GCRA): a
// pure function (Spend) over one number per bucket, the moment at which the
// bucket is full again. Limiter holds the buckets of this node, and the slots
// of requests in flight.
//
// Over any time t a bucket admits at most Burst + Count·t/Per units; what it
// loses to rounding is at most a thousandth of the rate. Times are nanoseconds
// on a monotonic clock, from an origin of the caller's choice.
package limit

import (
	"math"
	"math/bits"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// fineInterval is the time between units, in nanoseconds, from which on it is
// rounded up once per unit: the loss is then at most one in this number.
const fineInterval = 1000

// maxDebt bounds the time a bucket needs to fill: 73 years, which leaves room
// to add to a clock that has run as long. A burst that would take longer to come
// back is cut to what comes back in that time.
const maxDebt = math.MaxInt64 / 4

// Rate is a plan.Rate prepared for Spend. Its zero value admits nothing; it is
// comparable and never changes.
type Rate struct {
	p, q      uint64 // n units take ceil(n·p/q) nanoseconds to come back
	tolerance int64  // nanoseconds that a rested bucket may be in debt
	burst     int64
}

// New prepares a rate. Count, Per and Burst are at least 1.
//
// Where units are at least a microsecond apart, the distance is rounded up to
// whole nanoseconds, so that any split of a burst costs the same. Faster rates
// round each spend instead.
func New(r plan.Rate) Rate {
	count, per, burst := uint64(max(r.Count, 1)), uint64(max(r.Per, 1)), max(r.Burst, 1)
	out := Rate{p: per, q: count, burst: burst}
	if interval := (per + count - 1) / count; interval >= fineInterval {
		out.p, out.q = interval, 1
	}
	hi, lo := bits.Mul64(uint64(burst), out.p)
	if hi >= out.q {
		out.tolerance = maxDebt
	} else {
		quotient, _ := bits.Div64(hi, lo, out.q)
		out.tolerance = int64(min(quotient, maxDebt))
	}
	return out
}

// debit returns how long n units take to come back, rounded up.
func (r Rate) debit(n int64) int64 {
	if n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), r.p)
	if hi >= r.q {
		return maxDebt
	}
	quotient, rest := bits.Div64(hi, lo, r.q)
	if rest > 0 {
		quotient++
	}
	return int64(min(quotient, maxDebt))
}

// units returns how many whole units come back in d nanoseconds.
func (r Rate) units(d int64) int64 {
	if d <= 0 || r.p == 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(d), r.q)
	if hi >= r.p {
		return r.burst
	}
	quotient, _ := bits.Div64(hi, lo, r.p)
	return int64(min(quotient, uint64(r.burst)))
}

// A Decision is what became of one spend.
type Decision struct {
	Allowed    bool
	Full       int64         // when the bucket is full again: its new state if Allowed, else the old one
	RetryAfter time.Duration // until the same spend would be allowed; 0 if Allowed
}

// Spend decides whether a bucket that is full again at full may give cost units
// at now. A cost above the burst waits for a full bucket and then passes. It is
// pure: who keeps full puts Decision.Full in its place.
func Spend(rate Rate, full, now, cost int64) Decision {
	from, debit := max(full, now), rate.debit(cost)
	if debit <= rate.tolerance {
		if wait := from + debit - rate.tolerance - now; wait > 0 {
			return Decision{Full: full, RetryAfter: time.Duration(wait)}
		}
	} else if full > now {
		return Decision{Full: full, RetryAfter: time.Duration(full - now)}
	}
	return Decision{Allowed: true, Full: from + debit}
}

// Undo returns the state of a bucket that is full again at full, without an
// earlier spend of cost, whose Decision.Full was after. Time in which the bucket
// may have rested without that spend is not given back, so that more than the
// rate is never admitted.
func Undo(rate Rate, full, now, cost, after int64) int64 {
	debit := rate.debit(cost)
	rested := max(now-(after-debit), 0)
	return full - max(debit-rested, 0)
}

// Remaining returns how many units the bucket would give at now.
func Remaining(rate Rate, full, now int64) int64 {
	if full <= now {
		return rate.burst
	}
	return rate.units(rate.tolerance - (full - now))
}
