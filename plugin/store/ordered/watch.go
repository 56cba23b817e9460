// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"slices"
	"sync"

	"github.com/keytoll/keytoll/plugin/store"
)

// watches are the functions that are told of changes.
type watches struct {
	mu  sync.RWMutex // held for reading while they are called
	fns []*func(store.Change)
}

// Watch implements store.Directory.
func (e *Engine) Watch(fn func(store.Change)) (stop func()) {
	w := &e.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fns = append(w.fns, &fn)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fns = slices.DeleteFunc(w.fns, func(have *func(store.Change)) bool { return have == &fn })
	}
}

// tell is called by one Write at a time, in order of revisions.
func (w *watches) tell(c store.Change) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, fn := range w.fns {
		(*fn)(c)
	}
}
