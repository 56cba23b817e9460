// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, "../caddy")) }

type object = rig.Object

// A gateway is the Caddy process under test.
type gateway struct{ *rig.Gateway }

// start runs one before the upstream u until the test ends.
func start(t *testing.T, u *upstream, options, site string) *gateway {
	t.Helper()
	return &gateway{rig.Start(t, u.URL, options, site)}
}

// An upstream is the API that is sold. It counts for itself.
type upstream struct {
	*httptest.Server
	answered atomic.Int64 // answers it has given
	mu       sync.Mutex
	byKey    map[string]int64 // of them, by Keytoll-Key-Id
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{byKey: make(map[string]int64)}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		u.answered.Add(1)
		u.mu.Lock()
		u.byKey[r.Header.Get("Keytoll-Key-Id")]++
		u.mu.Unlock()
		if status := r.URL.Query().Get("status"); status != "" {
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.WriteHeader(code)
			return
		}
		if r.URL.Path == "/slow" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: begun\n\n")
			w.(http.Flusher).Flush()
			wait, _ := time.ParseDuration(r.URL.Query().Get("for"))
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "data: ended\n\n")
			return
		}
		_, _ = io.WriteString(w, "hello\n")
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) count(key string) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byKey[key]
}
