// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConcurrentSpendersOfOneBucketGetItsBurstAndNoMore(t *testing.T) {
	r, bucket := New(rate(1, time.Hour, 1000)), &Bucket{}
	var passed atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 100 {
				if bucket.Spend(r, 1, 1).Allowed {
					passed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if passed.Load() != 1000 {
		t.Errorf("%d passed, want 1000", passed.Load())
	}
}

func TestABucketIsOneToAllWhoHoldIt(t *testing.T) {
	l, id := NewLimiter(), ID{Owner: "key_a", Unit: "requests", Per: time.Second}
	if one, two := l.Hold(id), l.Hold(id); one != two {
		t.Error("two holders got two buckets")
	}
	other := id
	other.Owner = "key_b"
	if l.Hold(id) == l.Hold(other) {
		t.Error("two owners share a bucket")
	}
}

func TestASweepForgetsOnlyRestedBucketsThatNobodyHolds(t *testing.T) {
	l, r := NewLimiter(), New(rate(1, time.Second, 5))
	held, dropped := ID{Owner: "held"}, ID{Owner: "dropped"}
	h, d := l.Hold(held), l.Hold(dropped)
	h.Spend(r, 0, 5)
	d.Spend(r, 0, 5)
	l.Drop(dropped)

	l.Sweep(4e9)
	if l.Hold(dropped) != d {
		t.Fatal("a bucket that has not rested was forgotten")
	}
	l.Drop(dropped)
	l.Sweep(5e9)
	if l.Hold(dropped) == d {
		t.Error("a rested bucket was kept")
	}
	if l.Hold(held) != h {
		t.Error("a bucket that is held was forgotten")
	}
}

func TestDebtsOutliveARestartAndRestInBetween(t *testing.T) {
	before, r := NewLimiter(), New(rate(1, time.Second, 5))
	id := ID{Owner: "key_a", Unit: "requests", Per: time.Second}
	before.Hold(id).Spend(r, 7e9, 5)
	before.Hold(ID{Owner: "rested"})

	debts := before.Debts(7e9)
	if len(debts) != 1 {
		t.Fatalf("got debts %v, want one", debts)
	}
	after := NewLimiter()
	after.Restore(debts, 100, 2*time.Second)
	if left := Remaining(r, after.Peek(id), 100); left != 2 {
		t.Errorf("after 2 s of rest %d of 5 remain, want 2", left)
	}
	rested := NewLimiter()
	rested.Restore(debts, 100, time.Minute)
	if full := rested.Peek(id); full != 0 {
		t.Errorf("after a minute the bucket is full at %d, want a new one", full)
	}
}

func TestOnlySoManyRequestsAreInFlight(t *testing.T) {
	l := NewLimiter()
	f := l.HoldInFlight("key_a")
	for i, want := range []bool{true, true, false} {
		if f.Enter(2) != want {
			t.Fatalf("request %d of two may enter: %v, want %v", i+1, !want, want)
		}
	}
	if f.Leave(); !f.Enter(2) {
		t.Error("one left, and nobody may enter")
	}
	if n := l.PeekInFlight("key_a"); n != 2 {
		t.Errorf("%d are in flight, want 2", n)
	}
	f.Leave()
	f.Leave()
	l.DropInFlight("key_a")
	if l.HoldInFlight("key_a") == f {
		t.Error("the count of who left and was dropped is kept")
	}
}
