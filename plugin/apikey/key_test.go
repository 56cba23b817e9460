// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func held(name string) HeldSecret { return HeldSecret{Hash: Secret(name).Hash(), Start: name} }

func opens(k *Key, at time.Time, names string) string {
	var which []string
	for name := range strings.FieldsSeq(names) {
		if k.Opens(Secret(name).Hash(), at) {
			which = append(which, name)
		}
	}
	return strings.Join(which, " ")
}

func TestARotatedSecretWorksForItsGrace(t *testing.T) {
	k := Key{Secrets: []HeldSecret{held("one")}}
	k.Rotate(held("two"), time.Hour, now)
	for at, want := range map[time.Duration]string{0: "one two", time.Hour - 1: "one two", time.Hour: "two"} {
		if got := opens(&k, now.Add(at), "one two three"); got != want {
			t.Errorf("after %v: got %q, want %q", at, got, want)
		}
	}
	if k.Start() != "two" {
		t.Errorf("start: got %s, want the newest's", k.Start())
	}
}

func TestAThirdSecretEndsTheOldest(t *testing.T) {
	k := Key{Secrets: []HeldSecret{held("one")}}
	k.Rotate(held("two"), 24*time.Hour, now)
	k.Rotate(held("three"), 24*time.Hour, now)
	if got := opens(&k, now, "one two three"); got != "two three" {
		t.Errorf("got %q, want two three", got)
	}
	if len(k.Secrets) != MaxSecrets {
		t.Errorf("got %d secrets, want %d", len(k.Secrets), MaxSecrets)
	}
}

func TestWithoutGraceTheOldSecretEndsAtOnce(t *testing.T) {
	k := Key{Secrets: []HeldSecret{held("one")}}
	k.Rotate(held("two"), 0, now)
	if got := opens(&k, now, "one two"); got != "two" {
		t.Errorf("got %q, want two", got)
	}
}

func TestRotatingDoesNotChangeACopyOfTheKey(t *testing.T) {
	k := Key{Secrets: []HeldSecret{held("one")}}
	before := k
	k.Rotate(held("two"), time.Hour, now)
	if got := opens(&before, now.Add(2*time.Hour), "one two"); got != "one" {
		t.Errorf("the copy opens with %q, want one", got)
	}
}

func TestStatusFollowsFromStateAndClock(t *testing.T) {
	for want, k := range map[Status]Key{
		StatusActive:   {State: Active, ExpiresAt: now.Add(1)},
		StatusExpired:  {State: Active, ExpiresAt: now},
		StatusDisabled: {State: Disabled, ExpiresAt: now},
		StatusRevoked:  {State: Revoked, ExpiresAt: now},
	} {
		if got := k.Status(now); got != want {
			t.Errorf("%+v: got %s, want %s", k, got, want)
		}
	}
	if got := (&Key{State: Active}).Status(now); got != StatusActive {
		t.Errorf("without an end: got %s", got)
	}
}

func TestAllowedIPs(t *testing.T) {
	k := Key{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.7/32")}}
	for ip, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "192.0.2.7": true, "2001:db8::1": true, "2001:db8::1%eth0": true,
		"11.0.0.1": false, "192.0.2.8": false, "2001:db9::1": false, "::1": false, "::ffff:11.0.0.1": false,
	} {
		if got := k.AllowsIP(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: got %v, want %v", ip, got, want)
		}
	}
	if k.AllowsIP(netip.Addr{}) {
		t.Error("an unknown address is allowed")
	}
	if !(&Key{}).AllowsIP(netip.Addr{}) {
		t.Error("a key without a list is not allowed from everywhere")
	}
}

func TestScopes(t *testing.T) {
	if !(&Key{}).HasScope("chat") {
		t.Error("a key without scopes has not all")
	}
	k := Key{Scopes: []string{"chat"}}
	if !k.HasScope("chat") || k.HasScope("images") || k.HasScope("") {
		t.Error("a key has other scopes than it names")
	}
}

func TestHashesAreReadInEveryForm(t *testing.T) {
	want := Secret("sk_live_0").Hash()
	for _, text := range []string{
		want.String(), strings.ToUpper(want.String()),
		base64.StdEncoding.EncodeToString(want[:]), base64.RawStdEncoding.EncodeToString(want[:]),
		base64.URLEncoding.EncodeToString(want[:]), base64.RawURLEncoding.EncodeToString(want[:]),
	} {
		got, err := ParseHash(text)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	text, err := want.MarshalText()
	var again Hash
	if err != nil || again.UnmarshalText(text) != nil || again != want {
		t.Errorf("%s reads back as %s, %v", text, again, err)
	}
}

func TestAHashThatMayBeASecretIsNotRepeated(t *testing.T) {
	for _, text := range []string{"", "sk_live_secret", strings.Repeat("g", 64), strings.Repeat("!", 43), strings.Repeat("=", 44)} {
		if _, err := ParseHash(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
