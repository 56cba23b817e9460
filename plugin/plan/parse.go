// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

// WordError says which word of a limit is wrong, and why.
type WordError struct {
	Word    string
	Problem string
}

func (e *WordError) Error() string { return "'" + e.Word + "': " + e.Problem }

// Unlimited stands for a count that bounds nothing.
const Unlimited = int64(-1)

// ParseRate reads `N [unit]/D [burst B] [per customer|per key]`, split into
// words; modifiers come in any order. The single word `unlimited` gives a Rate
// whose Count is Unlimited. Its errors are *WordError.
func ParseRate(words []string) (Rate, error) { panic("stub") }

// ParseQuota reads `N [unit]/(hour|day|month) [per key|per customer]
// [overage block|bill [max N]]`, or `unlimited`.
func ParseQuota(words []string) (Quota, error) { panic("stub") }

// ParseConcurrency reads `N [per key|per customer]`, or `unlimited` (Limit 0).
func ParseConcurrency(words []string) (Concurrency, error) { panic("stub") }

// ParseStripeMeter reads `<event> [unit] [all]`.
func ParseStripeMeter(words []string) (StripeMeter, error) { panic("stub") }

// ParseCount reads a count of units: 1 … 2⁵³, with _ between digits, k and M.
func ParseCount(word string) (int64, error) { panic("stub") }

// ParsePer reads second, minute, hour, day or a Go duration.
func ParsePer(word string) (time.Duration, error) { panic("stub") }

// ParseRetention reads a Go duration or days: 35d.
func ParseRetention(word string) (time.Duration, error) { panic("stub") }

// ParseStatusRange reads 404, 2xx or 400-499.
func ParseStatusRange(word string) (StatusRange, error) { panic("stub") }
