// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"net/http"
	"time"
)

// watchEvery is how often an open stream asks whether its key still opens. A
// revoked key's streams end within two of these.
const watchEvery = 10 * time.Second

// errCut ends a stream whose key was revoked.
var errCut = errors.New("the key was revoked")

// watchStream begins to look after an answer that may last: an upgraded
// connection, or one of unknown length.
func (r *recorder) watchStream() {
	if r.x.ticket.Key == nil {
		return
	}
	rc := http.NewResponseController(innermost(r.w))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch = time.AfterFunc(watchEvery, func() { r.look(rc) })
}

// look cuts the stream if its key was revoked: the next write fails, and a read
// that waits ends, by which the handler learns of it.
func (r *recorder) look(rc *http.ResponseController) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case !r.x.ticket.Revoked():
		r.watch.Reset(watchEvery)
	case r.conn != nil:
		r.cut.Store(true)
		_ = r.conn.Close()
	default:
		r.cut.Store(true)
		past := time.Unix(1, 0)
		_ = rc.SetReadDeadline(past)
		_ = rc.SetWriteDeadline(past)
		r.watch.Reset(watchEvery) // a write that has just begun may have moved them
	}
}

// unwatch ends the watch, and reports whether nobody is looking any more.
func (r *recorder) unwatch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	stopped := r.watch == nil || r.watch.Stop()
	r.watch = nil
	return stopped
}

// innermost returns what w wraps: the deadlines of a connection may be set while
// somebody writes to it, those that its wrappers keep may not.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}
