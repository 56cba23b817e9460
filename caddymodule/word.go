// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"slices"
	"strings"
)

// unknownWord is the error for a word that is none of the known ones. It names
// the nearest of them where one is near, else all.
func unknownWord(what, word string, known ...string) error {
	if near := nearest(word, known); near != "" {
		return fmt.Errorf("unknown %s '%s': did you mean '%s'?", what, word, near)
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return fmt.Errorf("unknown %s '%s': there are %s", what, word, strings.Join(known, ", "))
}

// nearest returns the known word that is at most two changes (or a third of
// the word's letters) away from word; "" where there is none.
func nearest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := distance(strings.ToLower(word), k)
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 { // nobody mistypes this much
		return len(a)
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
