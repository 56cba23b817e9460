// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestAfterThirtyBadCredentialsAMinuteAClientHasToWait(t *testing.T) {
	g, ip := newGuard(), netip.MustParseAddr("192.0.2.1")
	now := int64(5 * time.Second)
	for i := range guardAllows {
		if r := g.bad(ip, now+int64(i)); r.Reason != InvalidKey {
			t.Fatalf("bad credential %d: %s", i+1, r.Reason)
		}
	}
	later := now + int64(20*time.Second)
	r := g.bad(ip, later)
	if r.Reason != TooManyAttempts || r.RetryAfter != 40*time.Second {
		t.Fatalf("the next: %s, to be tried in %v, want 40 s", r.Reason, r.RetryAfter)
	}
	if r := g.bad(ip, later+int64(r.RetryAfter)); r.Reason != InvalidKey {
		t.Errorf("after the wait: %s", r.Reason)
	}
}

func TestClientsAreToldApart(t *testing.T) {
	for _, test := range []struct {
		what     string
		one, two string
		same     bool
	}{
		{"two IPv4 addresses", "192.0.2.1", "192.0.2.2", false},
		{"an IPv4 address in two spellings", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"two addresses of one /64", "2001:db8::1", "2001:db8::ffff:1", true},
		{"two /64", "2001:db8::1", "2001:db8:0:1::1", false},
	} {
		g := newGuard()
		for range guardAllows {
			g.bad(netip.MustParseAddr(test.one), 0)
		}
		if got := g.bad(netip.MustParseAddr(test.two), 0).Reason == TooManyAttempts; got != test.same {
			t.Errorf("%s: the second is refused for the first: %v", test.what, got)
		}
	}
}

func TestTheGuardRemembersABoundedNumberOfClients(t *testing.T) {
	g := newGuard()
	blocked := netip.MustParseAddr("192.0.2.1")
	for range guardAllows + 1 {
		g.bad(blocked, 0)
	}
	for i := range 3 * guardParts * guardSize {
		var b [16]byte
		b[0] = 0x20
		binary.BigEndian.PutUint32(b[2:], uint32(i))
		g.bad(netip.AddrFrom16(b), 0)
	}
	remembered := 0
	for i := range g.parts {
		remembered += len(g.parts[i].clients)
	}
	if remembered > guardParts*guardSize {
		t.Errorf("%d clients are remembered", remembered)
	}
	if r := g.bad(blocked, 1); r.Reason != TooManyAttempts {
		t.Error("a flood of other clients made the guard forget one that it refuses")
	}
}
