// SPDX-License-Identifier: Apache-2.0

package id

import (
	"strings"
	"testing"
	"time"
)

func TestLaterIdentifiersSortLater(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	before := ""
	for _, step := range []time.Duration{0, time.Microsecond, time.Millisecond, time.Hour, 1000 * 24 * time.Hour, 250 * 365 * 24 * time.Hour} {
		now = now.Add(step)
		got := New("key", now)
		if got <= before {
			t.Errorf("%s at %v does not sort behind %s", got, now, before)
		}
		before = got
	}
}

func TestIdentifiersOfOneMomentDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		seen[New("cust", time.Unix(0, 0))] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("got %d identifiers of 10000", len(seen))
	}
}

func TestValidKnowsTheFormOfIdentifiers(t *testing.T) {
	good := New("key", time.Unix(1_800_000_000, 0))
	if !Valid("key", good) || !Valid("key", New("key", time.Unix(-5, 0))) {
		t.Errorf("%s is not valid", good)
	}
	for _, bad := range []string{
		"", "key", "key_", good[:len(good)-1], good + "0", strings.ToUpper(good), "cust" + good[3:],
		strings.Replace(good, "_", "-", 1), good[:len(good)-1] + "l", good[:len(good)-1] + "\x00",
	} {
		if Valid("key", bad) {
			t.Errorf("%q is valid", bad)
		}
	}
}
