// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// A requestBody is what a client sends, on its way to the upstream. It deletes
// identity headers that come as trailers after it, declared or not, in the same
// Read that makes them known, and remembers whether the client failed to send
// all of it.
type requestBody struct {
	io.ReadCloser
	r      *http.Request
	broken atomic.Bool // the transport reads while the handler looks
}

// guardBody puts a requestBody in the place of r's body; nil where it has none.
func guardBody(r *http.Request) *requestBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &requestBody{ReadCloser: r.Body, r: r}
	r.Body = b
	return b
}

// Read reads what the client sends.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		for name := range b.r.Trailer {
			if isIdentity(name) {
				delete(b.r.Trailer, name)
			}
		}
	case !errors.Is(err, http.ErrBodyReadAfterClose): // that is the transport's doing
		b.broken.Store(true)
	}
	return n, err
}

// cutShort reports whether the client failed to send all of it: it hung up, or
// what it sent is malformed.
func (b *requestBody) cutShort() bool { return b != nil && b.broken.Load() }
