// SPDX-License-Identifier: Apache-2.0

package plan

import "strings"

// calls is the unit that the meter counts requests in whatever they cost.
const calls = "calls"

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	letter = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digit  = "0123456789"
)

// UnitProblem says why unit cannot name a unit; "" where it can: a lower-case
// letter, then up to 63 of a-z, 0-9, _ and -.
func UnitProblem(unit string) string {
	switch {
	case unit == calls:
		return "is reserved: requests are counted anyway, name another unit"
	case !consistsOf(unit, 64, lower+digit+"_-") || !strings.Contains(lower, unit[:1]):
		return "is not a unit: write a word of a-z, 0-9, _ and -, as tokens"
	}
	return ""
}

// NameProblem says why name cannot name a plan or a route; "" where it can: 1
// to 64 of a-z, 0-9, _ and -.
func NameProblem(name string) string {
	if !consistsOf(name, 64, lower+digit+"_-") {
		return "is not a name: write 1 to 64 of a-z, 0-9, _ and -"
	}
	return ""
}

// ScopeProblem says why scope cannot name what a key may do; "" where it can:
// 1 to 64 letters, digits and _-.:/ as in images:write.
func ScopeProblem(scope string) string {
	if !consistsOf(scope, 64, letter+digit+"_-.:/") {
		return "is not a scope: write 1 to 64 letters, digits and _-.:/ as in images:write"
	}
	return ""
}

func eventProblem(event string) string {
	if !consistsOf(event, 100, letter+digit+"_-.:") {
		return "is not the name of a meter event: write 1 to 100 letters, digits and _-.:"
	}
	return ""
}

func consistsOf(s string, most int, alphabet string) bool {
	return s != "" && len(s) <= most && strings.Trim(s, alphabet) == ""
}
