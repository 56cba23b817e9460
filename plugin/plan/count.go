// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

// MaxCount is the largest count of units: 2⁵³, which every JSON reader holds exactly.
const MaxCount = 1 << 53

const (
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)
