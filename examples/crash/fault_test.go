// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/store"
)

// spend makes plain requests of an account until one does not pass.
func (h *house) spend(a *account, most int64) (n int64, refusal *gate.Refusal, err error) {
	h.t.Helper()
	for n < most {
		ticket, refusal, err := h.admit(a.secrets[0], plainRoute)
		if refusal != nil || err != nil {
			return n, refusal, err
		}
		a.forwarded.Add(1)
		a.answered.Add(1)
		ticket.Settle(gate.Answer{Status: 200})
		ticket.Release()
		n++
	}
	return n, nil, nil
}

// newHouse opens a house on an empty directory until the test ends.
func newHouse(t testing.TB, p *platter, now func() time.Time, elapsed func() time.Duration) *house {
	t.Helper()
	h, err := openHouse(t, p, now, elapsed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// enrolled makes an account of a plan.
func (h *house) enrolled(plan string) *account {
	h.t.Helper()
	a := &account{name: plan, plan: plan}
	for _, p := range plans {
		if p.id == plan {
			a.bound = p.bound
		}
	}
	if err := h.enrol(a); err != nil {
		h.t.Fatal(err)
	}
	return a
}

// exact judges an account of which nothing may be missing.
func (h *house) exact(when string, a *account) {
	h.t.Helper()
	c, err := h.count(a)
	if err != nil {
		h.t.Fatal(err)
	}
	convicted(h.t.(*testing.T), when, judge(a, c, slack{exact: true}))
}

var errDisk = errors.New("input/output error")

func TestLeasesAreServedToTheirEndOnAFailingDiskAndServiceReturnsByItself(t *testing.T) {
	for _, write := range []bool{false, true} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			p := newPlatter(dir, "boot")
			p.write = write
			h := newHouse(t, p, time.Now, nil)
			a, late, doomed := h.enrolled("pool"), h.enrolled("pool"), h.enrolled("solo")
			if n, refusal, err := h.spend(a, 10); n != 10 {
				t.Fatalf("got %d requests, %v, %v; want 10", n, refusal, err)
			}
			time.Sleep(time.Second)

			p.fail(errDisk, syscall.ENOSPC)
			n, refusal, err := h.spend(a, a.bound)
			if !errors.Is(err, meter.ErrUnavailable) || refusal != nil {
				t.Errorf("when the lease ends: got %v and %v, want ErrUnavailable", refusal, err)
			}
			if n == 0 || n > a.bound/2 {
				t.Errorf("%d requests were served from the lease, want some of %d", n, a.bound)
			}
			if _, refusal, err := h.spend(late, 1); !errors.Is(err, meter.ErrUnavailable) || refusal != nil {
				t.Errorf("a key without a lease: got %v and %v, want ErrUnavailable", refusal, err)
			}
			time.Sleep(time.Minute)
			if _, _, err := h.spend(a, 1); !errors.Is(err, meter.ErrUnavailable) {
				t.Errorf("a minute later: got %v, want ErrUnavailable", err)
			}

			p.fail(errDisk, nil) // transactions are possible, syncs are not
			h.revoke(doomed)
			if _, refusal, err := h.admit(doomed.secrets[0], plainRoute); err != nil || refusal == nil || refusal.Reason != gate.InvalidKey {
				t.Errorf("a key revoked on a failing disk: got %v and %v, want invalid_key", refusal, err)
			}

			p.fail(nil, nil)
			time.Sleep(time.Minute)
			if n, refusal, err := h.spend(a, a.bound); err != nil || refusal == nil || refusal.Reason != gate.QuotaExceeded {
				t.Errorf("on a sound disk: got %d requests, %v, %v; want all that is left of the quota", n, refusal, err)
			}
			h.exact("after the disk has failed", a)
			if a.forwarded.Load() != a.bound {
				t.Errorf("%d requests passed in all, want %d", a.forwarded.Load(), a.bound)
			}
		})
	}
}

// revoke ends an account's keys.
func (h *house) revoke(a *account) {
	h.t.Helper()
	for _, id := range a.keys {
		k, err := h.store.Key(h.t.Context(), id)
		if err != nil {
			h.t.Fatal(err)
		}
		k.State, k.RevokedAt = apikey.Revoked, h.now()
		if _, err := h.store.Write(h.t.Context(), store.Mutations{Keys: []apikey.Key{k}}); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestASlowDiskRefusesNobodyWhoHasALease(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlatter(dir, "boot")
		h := newHouse(t, p, time.Now, nil)
		a := h.enrolled("pool")
		h.spendAll(a, 5)
		p.mu.Lock()
		p.slow = 700 * time.Millisecond
		p.mu.Unlock()
		for a.forwarded.Load() < a.bound {
			n, refusal, err := h.spend(a, 3)
			if err != nil || refusal != nil {
				t.Fatalf("after %d requests: got %d, %v, %v", a.forwarded.Load(), n, refusal, err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if _, refusal, _ := h.spend(a, 1); refusal == nil {
			t.Error("a request past the quota was admitted")
		}
		h.exact("on a slow disk", a)
	})
}

func (h *house) spendAll(a *account, n int64) {
	h.t.Helper()
	if got, refusal, err := h.spend(a, n); got != n {
		h.t.Fatalf("got %d requests, %v, %v; want %d", got, refusal, err, n)
	}
}

// TestAProcessCrashAfterAFailedSyncGivesNothingTwice: the kernel may have
// dropped what it could not write, whatever boot it is.
func TestAProcessCrashAfterAFailedSyncGivesNothingTwice(t *testing.T) {
	r := dice(t.Name())
	for range 10 {
		dir, left := t.TempDir(), t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			p := newPlatter(dir, "boot")
			h := newHouse(t, p, time.Now, nil)
			a := h.enrolled("solo")
			h.spendAll(a, 10)
			time.Sleep(time.Second)
			p.fail(errDisk, syscall.ENOSPC)
			_, _, _ = h.spend(a, int64(r.IntN(40)))
			time.Sleep(time.Second)
			if err := p.cut(left, r); err != nil {
				t.Fatal(err)
			}
			p.fail(nil, nil)
			time.Sleep(time.Minute) // what was left behind is mended, and can be closed
			again := newHouse(t, newPlatter(left, "boot"), time.Now, nil)
			if _, refusal, err := again.spend(a, 2*a.bound); refusal == nil {
				t.Fatal(err)
			}
			if a.forwarded.Load() > a.bound {
				t.Errorf("%d requests were forwarded at a quota of %d", a.forwarded.Load(), a.bound)
			}
		})
	}
}
