// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strconv"
	"strings"
)

// MaxCount is the largest count of units: 2⁵³, which every JSON reader holds exactly.
const MaxCount = 1 << 53

// Unlimited stands for a count that bounds nothing.
const Unlimited = int64(-1)

// unlimited is the word for Unlimited.
const unlimited = "unlimited"

// ParseCount reads a count of units: 1 … 2⁵³, with _ between digits, k for a
// thousand and M for a million. Its errors are *WordError.
func ParseCount(word string) (int64, error) {
	digits, factor := word, int64(1)
	if before, ok := strings.CutSuffix(word, "k"); ok {
		digits, factor = before, 1_000
	} else if before, ok := strings.CutSuffix(word, "M"); ok {
		digits, factor = before, 1_000_000
	}
	n, ok := parseDigits(digits)
	switch {
	case word == unlimited:
		return 0, &WordError{word, "stands alone, not in place of this number"}
	case strings.HasPrefix(word, "-"):
		return 0, &WordError{word, "a count is not negative"}
	case !ok:
		return 0, &WordError{word, "is not a count: write 1000, 1_000, 1k or 2M"}
	case n == 0:
		return 0, &WordError{word, "a count is at least 1"}
	case n > MaxCount/factor:
		return 0, &WordError{word, "is more than " + strconv.FormatInt(MaxCount, 10)}
	}
	return n * factor, nil
}

// parseDigits reads digits with single underscores between them. What exceeds
// MaxCount comes back as MaxCount+1.
func parseDigits(s string) (n int64, ok bool) {
	afterDigit := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			n = min(n*10+int64(c-'0'), MaxCount+1)
			afterDigit = true
		case c == '_' && afterDigit:
			afterDigit = false
		default:
			return 0, false
		}
	}
	return n, afterDigit
}

// formatCount writes what ParseCount and the word unlimited read.
func formatCount(n int64) string {
	if n == Unlimited {
		return unlimited
	}
	return strconv.FormatInt(n, 10)
}
