// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/usage"
)

// statusGone is what Caddy writes where the client hung up.
const statusGone = 499

// A recorder passes an answer on and settles the request by it: a fixed cost at
// the status line, before the client sees it; a cost from the answer, and the
// concurrency slot, before the last byte.
type recorder struct {
	x         *exchange
	w         http.ResponseWriter
	route     *plan.Route
	status    int   // 0 before the status line
	left      int64 // bytes of the body still to come; -1: not known
	settled   bool  // for good
	released  bool
	ended     bool // the handler has returned
	extractor *usage.Extractor
	cut       atomic.Bool // by the watch

	mu    sync.Mutex  // guards what the watch of a stream also sees:
	watch *time.Timer // nil where nothing is watched
	conn  net.Conn    // of a hijacked connection
	over  bool        // nobody is to be cut any more
}

// begin prepares r for an answer to w.
func (r *recorder) begin(w http.ResponseWriter, route *plan.Route) {
	r.w, r.route, r.left = w, route, -1
}

// reset makes r fit for another exchange, and reports whether it is: not where
// the watch may be looking at it just now.
func (r *recorder) reset() bool {
	if !r.unwatch() {
		return false
	}
	r.w, r.route, r.status, r.left, r.extractor, r.conn = nil, nil, 0, 0, nil, nil
	r.settled, r.released, r.ended, r.over = false, false, false, false
	r.cut.Store(false)
	return true
}

// Header returns the answer's header.
func (r *recorder) Header() http.Header { return r.w.Header() }

// Unwrap gives http.ResponseController what this does not do itself.
func (r *recorder) Unwrap() http.ResponseWriter { return r.w }

// WriteHeader settles what can be settled and sends the status line.
// Informational ones are passed on, all but 101.
func (r *recorder) WriteHeader(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if r.status == 0 && !informational {
		r.atStatus(status)
	}
	r.w.WriteHeader(status)
}

func (r *recorder) atStatus(status int) {
	r.status = status
	x := r.x
	x.h.series.of(x.ticket.Route).answered(status, time.Since(x.decided))
	header := r.w.Header()
	a := gate.Answer{Status: status, Gone: status == statusGone && x.r.Context().Err() != nil}
	if a.Gone {
		a.Status = 0
	}
	if r.route.Cost.Header != "" {
		a.Units, a.Known = takeUnits(header, r.route.Cost.Header)
	}
	empty := bodyless(x.r.Method, status, header)
	if r.route.Cost.JSON != "" && !empty && !a.Gone && r.route.Charges(status) {
		a.Pending = true
		r.extractor = newExtractor(r.route, header)
	}
	x.settle(a)
	r.settled = !a.Pending
	x.tell(header)
	switch {
	case empty:
		r.finish()
	case status == http.StatusSwitchingProtocols:
		r.watchStream()
	default:
		if r.left = contentLength(header); r.left < 0 {
			r.watchStream()
		}
	}
}

// Write passes a part of the body on; the last part only after the request is
// settled.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.cut.Load() {
		return 0, errCut
	}
	if r.extractor != nil {
		_, _ = r.extractor.Write(p)
	}
	if r.left >= 0 {
		if r.left -= int64(len(p)); r.left <= 0 {
			r.finish()
			r.left = 0
		}
	}
	return r.w.Write(p)
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom copies through Write, which must see every byte.
func (r *recorder) ReadFrom(from io.Reader) (int64, error) {
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	return io.CopyBuffer(writerOnly{r}, from, buffer[:])
}

// writerOnly hides ReadFrom from io.CopyBuffer.
type writerOnly struct{ io.Writer }

// FlushError sends what was written so far.
func (r *recorder) FlushError() error {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(r.w).Flush()
}

// Flush is FlushError for those who do not want to know.
func (r *recorder) Flush() { _ = r.FlushError() }

// Hijack hands the connection over. The request keeps its concurrency slot
// until the handler returns.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if r.status == 0 {
		r.atStatus(http.StatusSwitchingProtocols)
	}
	r.mu.Lock()
	r.conn = conn
	r.mu.Unlock()
	return conn, brw, nil
}

// answered settles the request after the handler has returned.
func (r *recorder) answered(err error) {
	r.ended = true
	if r.status == 0 {
		r.unwritten(err)
	}
	r.finish()
}

// unwritten settles a request whose handler wrote nothing: Caddy will write
// the status of its error, or 200 where there is none.
func (r *recorder) unwritten(err error) {
	if err == nil {
		r.atStatus(http.StatusOK)
		return
	}
	status := http.StatusInternalServerError
	if handled, ok := errors.AsType[caddyhttp.HandlerError](err); ok && handled.StatusCode != 0 {
		status = handled.StatusCode
	}
	a := gate.Answer{Status: status}
	switch status {
	case statusGone:
		a = gate.Answer{Gone: true}
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		// The upstream gave none: for want of the rest of the request, perhaps.
		a = gate.Answer{Gone: r.x.body.cutShort()}
	}
	r.x.settle(a)
	r.settled = true
	r.x.tell(r.w.Header())
}

// abandon settles what a handler that panicked has left.
func (r *recorder) abandon() {
	if r.ended {
		return
	}
	if r.status == 0 {
		r.x.settle(gate.Answer{Gone: r.x.r.Context().Err() != nil || r.x.body.cutShort()})
		r.settled = true
	}
	r.finish()
}

// finish settles a cost from the answer and gives the concurrency slot back.
func (r *recorder) finish() {
	if !r.settled {
		a := gate.Answer{Status: r.status}
		if r.extractor != nil {
			a.Units, a.Known = r.extractor.Units()
		}
		r.x.settle(a)
		r.settled = true
	}
	if !r.released {
		r.x.ticket.Release()
		r.released = true
	}
}

// newExtractor returns what reads the units from the body; nil where it cannot
// be read, being compressed.
func newExtractor(route *plan.Route, header http.Header) *usage.Extractor {
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return usage.NewExtractor(route.Cost.JSON, strings.EqualFold(strings.TrimSpace(kind), "text/event-stream"))
}

// takeUnits reads the units that the upstream names, and strips the header.
func takeUnits(header http.Header, name string) (units int64, known bool) {
	name = http.CanonicalHeaderKey(name)
	values, ok := header[name]
	if !ok {
		return 0, false
	}
	delete(header, name)
	if len(values) != 1 {
		return 0, false
	}
	units, err := strconv.ParseInt(values[0], 10, 64)
	return units, err == nil && units >= 0 && units <= plan.MaxCount
}

// bodyless reports whether the header is all there is of an answer.
func bodyless(method string, status int, header http.Header) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified ||
		contentLength(header) == 0
}

// contentLength returns the length of the body that the header names, or -1.
func contentLength(header http.Header) int64 {
	values := header["Content-Length"]
	if len(values) == 0 {
		return -1
	}
	length, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || length < 0 {
		return -1
	}
	return length
}

// Interface guards
var (
	_ http.ResponseWriter = (*recorder)(nil)
	_ http.Flusher        = (*recorder)(nil)
	_ http.Hijacker       = (*recorder)(nil)
	_ io.ReaderFrom       = (*recorder)(nil)
)
