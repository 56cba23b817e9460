// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"sync"
	"time"
)

const (
	maxAttempts    = 10 // wrong tokens that one address may show in each attemptWindow
	attemptWindow  = time.Minute
	maxAttemptRows = 4096 // addresses remembered at once
)

// attempts counts wrong tokens by address. A right token is never refused for
// them: a neighbour behind the same address cannot lock the owner out.
type attempts struct {
	mu   sync.Mutex
	rows map[string]attempt // guarded by mu
}

type attempt struct {
	since time.Time
	count int
}

func newAttempts() *attempts { return &attempts{rows: map[string]attempt{}} }

// failed counts one wrong token and returns how long the address is to wait, 0
// while it has attempts left.
func (a *attempts) failed(from string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	row, known := a.rows[from]
	if !known || now.Sub(row.since) >= attemptWindow {
		a.makeRoom(now)
		row = attempt{since: now}
	}
	row.count++
	a.rows[from] = row
	if row.count <= maxAttempts {
		return 0
	}
	return max(row.since.Add(attemptWindow).Sub(now), time.Second)
}

// makeRoom forgets addresses whose window is over, or all where none is.
func (a *attempts) makeRoom(now time.Time) {
	if len(a.rows) < maxAttemptRows {
		return
	}
	for from, row := range a.rows {
		if now.Sub(row.since) >= attemptWindow {
			delete(a.rows, from)
		}
	}
	if len(a.rows) >= maxAttemptRows {
		clear(a.rows)
	}
}
