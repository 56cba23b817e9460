// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

func rate(count int64, per time.Duration, burst int64) plan.Rate {
	return plan.Rate{Unit: plan.Requests, Count: count, Per: per, Burst: burst}
}

// drain spends one unit after the other at one moment until the bucket refuses.
func drain(r Rate, full, now int64, most int) (given int, state int64) {
	for given < most {
		d := Spend(r, full, now, 1)
		if !d.Allowed {
			break
		}
		full = d.Full
		given++
	}
	return given, full
}

func TestARestedBucketGivesItsBurstAtOnce(t *testing.T) {
	for _, r := range []plan.Rate{
		rate(1, time.Second, 1),
		rate(10, time.Second, 20),
		rate(3, time.Second, 3),
		rate(7, time.Minute, 700),
		rate(999_983, time.Second, 5_000),
		rate(1, 24*time.Hour, 20_000),
	} {
		given, full := drain(New(r), 0, 1e9, 100_000)
		if int64(given) != r.Burst {
			t.Errorf("%+v: a rested bucket gave %d at once, want %d", r, given, r.Burst)
		}
		if left := Remaining(New(r), full, 1e9); left != 0 {
			t.Errorf("%+v: %d remain of a drained bucket", r, left)
		}
		if left := Remaining(New(r), 0, 1e9); left != r.Burst {
			t.Errorf("%+v: %d remain of a rested bucket, want %d", r, left, r.Burst)
		}
	}
}

func TestRetryAfterIsTheMomentAtWhichTheSpendPasses(t *testing.T) {
	r := New(rate(3, time.Second, 3))
	now := int64(5e9)
	_, full := drain(r, 0, now, 10)
	d := Spend(r, full, now, 2)
	if d.Allowed || d.RetryAfter <= 0 {
		t.Fatalf("a drained bucket gave %+v", d)
	}
	if again := Spend(r, full, now+int64(d.RetryAfter)-1, 2); again.Allowed {
		t.Error("a nanosecond before RetryAfter the spend passed")
	}
	if again := Spend(r, full, now+int64(d.RetryAfter), 2); !again.Allowed {
		t.Error("after RetryAfter the spend did not pass")
	}
}

func TestACostAboveTheBurstWaitsForAFullBucketAndThenPasses(t *testing.T) {
	r := New(rate(10, time.Second, 20))
	now := int64(1e9)
	first := Spend(r, 0, now, 100)
	if !first.Allowed {
		t.Fatal("a full bucket did not give more than its burst to one spend")
	}
	second := Spend(r, first.Full, now, 100)
	if second.Allowed || second.RetryAfter != 10*time.Second {
		t.Fatalf("the next got %+v, want a wait of 10 s", second)
	}
	if third := Spend(r, first.Full, now+10e9, 100); !third.Allowed {
		t.Error("after the wait it did not pass")
	}
}

func TestARefusalCostsNothing(t *testing.T) {
	r := New(rate(2, time.Second, 2))
	_, full := drain(r, 0, 0, 10)
	if d := Spend(r, full, 1, 1); d.Allowed || d.Full != full {
		t.Errorf("a refused spend changed the bucket from %d to %d", full, d.Full)
	}
}

func TestNothingIsSpentByACostOfZero(t *testing.T) {
	r := New(rate(2, time.Second, 2))
	if d := Spend(r, 0, 5, 0); !d.Allowed || Remaining(r, d.Full, 5) != 2 {
		t.Errorf("a cost of zero gave %+v", d)
	}
}

func TestAnUndoneSpendLeavesWhatAnUnspentBucketWouldHave(t *testing.T) {
	r := New(rate(10, time.Second, 20))
	a := Spend(r, 0, 1e9, 5)
	b := Spend(r, a.Full, 1e9, 3)
	if got, want := Undo(r, b.Full, 1e9, 5, a.Full), Spend(r, 0, 1e9, 3).Full; got != want {
		t.Errorf("after undoing 5 of 5+3 the bucket is full at %d, want %d", got, want)
	}
}

func TestALateUndoGivesNothingBackThatRestWouldHaveGiven(t *testing.T) {
	r := New(rate(10, time.Second, 20))
	undone := Spend(r, 0, 0, 20)
	later := undone.Full + 1e9 // the bucket has rested for a second
	b := Spend(r, undone.Full, later, 20)
	if got := Undo(r, b.Full, later, 20, undone.Full); got != b.Full {
		t.Errorf("a late undo moved %d to %d: more than the rate could pass", b.Full, got)
	}
}

// allows reports burst + count·t/per in exact arithmetic.
func allows(r plan.Rate, t int64) *big.Int {
	sum := new(big.Int).Mul(big.NewInt(r.Count), big.NewInt(t))
	sum.Div(sum, big.NewInt(int64(r.Per)))
	return sum.Add(sum, big.NewInt(r.Burst))
}

func TestNoTimeAdmitsMoreThanItsBurstAndRate(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		p := rate(1+random.Int64N(5_000_000), time.Duration(1+random.Int64N(int64(time.Hour))), 1+random.Int64N(5_000))
		checkBound(t, p, random, seed)
	}
}

func checkBound(t *testing.T, p plan.Rate, random *rand.Rand, seed uint64) {
	t.Helper()
	r, full, now, sum := New(p), int64(0), int64(0), int64(0)
	for range 400 {
		cost := 1 + random.Int64N(p.Burst)
		d := Spend(r, full, now, cost)
		switch {
		case d.Allowed && random.IntN(5) == 0:
			full = Undo(r, d.Full, now, cost, d.Full)
		case d.Allowed:
			full = d.Full
			sum += cost
		case random.IntN(2) == 0:
			now += int64(d.RetryAfter)
		}
		now += random.Int64N(int64(p.Per)/8 + 1)
		if most := allows(p, now); big.NewInt(sum).Cmp(most) > 0 {
			t.Fatalf("%+v, seed %d: %d units passed in %d ns, at most %s may", p, seed, sum, now, most)
		}
	}
}

func TestABusyBucketGivesItsWholeRate(t *testing.T) {
	for _, p := range []plan.Rate{
		rate(100, time.Second, 10), rate(3, time.Second, 1), rate(700_001, time.Second, 9), rate(1_300_000_007, time.Minute, 999),
	} {
		r, full, now, sum := New(p), int64(0), int64(0), int64(0)
		cost := max(p.Burst/3, 1)
		for now < int64(p.Per)/20*19 || sum < 100 {
			d := Spend(r, full, now, cost)
			if d.Allowed {
				full = d.Full
				sum += cost
			}
			now += int64(d.RetryAfter)
			if sum > 3_000_000 {
				break
			}
		}
		if most := allows(p, now).Int64() - p.Burst; sum < most*998/1000 {
			t.Errorf("%+v: %d passed in %d ns, want at least 99.8 %% of %d", p, sum, now, most)
		}
	}
}

// FuzzRateArithmetic looks for a rate, a state and a cost for which rounding or
// overflow would admit too much, or the promised wait is not enough.
func FuzzRateArithmetic(f *testing.F) {
	f.Add(int64(10), int64(time.Second), int64(20), int64(5), int64(0), int64(3))
	f.Add(int64(1<<53), int64(time.Millisecond), int64(1<<53), int64(1<<53), int64(1<<40), int64(1))
	f.Add(int64(1), int64(365*24*time.Hour), int64(1<<53), int64(1<<53), int64(1<<60), int64(1<<53))
	f.Fuzz(func(t *testing.T, count, per, burst, cost, now, debt int64) {
		if count < 1 || per < 1 || burst < 1 || cost < 0 || count > plan.MaxCount || burst > plan.MaxCount || cost > plan.MaxCount || per > int64(365*24*time.Hour) {
			t.Skip()
		}
		p := rate(count, time.Duration(per), burst)
		r := New(p)
		now &= 1<<61 - 1
		debt &= 1<<60 - 1
		full := now + min(debt, r.tolerance)
		d := Spend(r, full, now, cost)
		if left := Remaining(r, full, now); left < 0 || left > burst {
			t.Fatalf("%d of %d remain", left, burst)
		}
		if !d.Allowed {
			if d.RetryAfter <= 0 || d.Full != full {
				t.Fatalf("refused with %+v", d)
			}
			if !Spend(r, full, now+int64(d.RetryAfter), cost).Allowed {
				t.Fatalf("refused after the wait of %v", d.RetryAfter)
			}
			return
		}
		if d.Full < full {
			t.Fatalf("a spend of %d moved full from %d back to %d", cost, full, d.Full)
		}
		if r.debit(cost) < maxDebt {
			exact := new(big.Int).Mul(big.NewInt(cost), big.NewInt(per))
			charged := new(big.Int).Mul(big.NewInt(d.Full-max(full, now)), big.NewInt(count))
			if charged.Cmp(exact) < 0 {
				t.Fatalf("%d units were charged %d ns, too little for %+v", cost, d.Full-max(full, now), p)
			}
		}
		if undone := Undo(r, d.Full, now, cost, d.Full); undone != max(full, now) {
			t.Fatalf("undone at once, full is %d, want %d", undone, max(full, now))
		}
	})
}

func BenchmarkSpend(b *testing.B) {
	r, bucket, now := New(rate(1_000_000, time.Second, 1000)), &Bucket{}, int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		bucket.Spend(r, now, 1)
	}
}
