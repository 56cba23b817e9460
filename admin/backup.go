// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// backup streams a whole backup.
func (s *Server) backup(ctx context.Context, c *call) (*answer, error) {
	if s.o.Backup == nil {
		p := notFound("backup", "")
		p.detail = "This storage is in memory: there is nothing to back up."
		return nil, p
	}
	if c.r.Method == http.MethodHead {
		return nil, methodNotAllowed(http.MethodGet)
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", `attachment; filename="keytoll-`+c.now.UTC().Format("20060102-150405")+`.tar"`)
	out := c.patient() // it is spooled first: only from its first byte on a time-out runs
	err := s.o.Backup(ctx, out)
	switch {
	case err == nil:
		return nil, nil
	case !out.written:
		h.Del("Content-Disposition")
		return nil, err
	}
	s.o.Logger.Error("backup broke off", "request_id", c.requestID, "error", err)
	panic(http.ErrAbortHandler) // the caller must not take what it has for a whole one
}

// patience is how long one write to a slow caller may take.
const patience = 2 * time.Minute

// patient writes to a caller that may take its time in all, but must go on.
type patient struct {
	w          io.Writer
	controller *http.ResponseController
	written    bool
}

// patient lifts the server's time-out for writing off a call.
func (c *call) patient() *patient {
	p := &patient{w: c.w, controller: http.NewResponseController(c.w)}
	_ = p.controller.SetWriteDeadline(time.Time{}) // where there is none, none is lifted
	return p
}

func (p *patient) Write(b []byte) (int, error) {
	p.written = true
	if err := p.controller.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}
