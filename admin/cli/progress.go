// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress tells how far long work has come, on a terminal. It may be written
// to by one goroutine while another ends it.
type progress struct {
	s     *session
	what  string
	total int64 // bytes; 0: not known

	mu    sync.Mutex // guards what follows
	done  int64
	shown time.Time
	ended bool
}

// progressEvery is how often the line is written anew.
const progressEvery = 200 * time.Millisecond

func (s *session) progress(what string, total int64) *progress {
	return &progress{s: s, what: what, total: total, shown: s.env.Now()}
}

// Write counts bytes that pass by.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(p.done+int64(len(b)), p.total)
	return len(b), nil
}

// at is told how much of how much is done.
func (p *progress) at(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(done, total)
}

// show is called with mu held.
func (p *progress) show(done, total int64) {
	p.done, p.total = done, total
	now := p.s.env.Now()
	if !p.s.env.ErrTerminal || p.s.json || p.ended || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	text := number(done)
	if total > 0 {
		text = fmt.Sprintf("%d%%", percent(min(done, total), total))
	}
	fmt.Fprintf(p.s.env.Err, "\r\x1b[K%s %s", p.what, text)
}

// clear takes the line away, for another to be printed.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s.env.ErrTerminal && !p.s.json && !p.ended {
		fmt.Fprint(p.s.env.Err, "\r\x1b[K")
	}
}

// end takes the line away for good.
func (p *progress) end() {
	p.clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}
