// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// reserveSize holds the pages that ending a key dirties, and a large freelist.
const reserveSize = 4 << 20

// reserve is disk space that is given up when the disk is full and a key must
// be ended all the same.
type reserve struct {
	path string

	mu     sync.Mutex // guards released
	spent  bool
	writes int // since the last try to fill it again
}

// fill writes the reserve where it is missing.
func (r *reserve) fill() error {
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveSize {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(make([]byte, reserveSize))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent = err != nil
	if err != nil {
		_ = os.Remove(r.path)
	}
	return err
}

// release gives the space up, and reports whether there was any.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent, r.writes = true, 0
	return os.Remove(r.path) == nil
}

// refill takes the space again, once writes succeed that needed none of it.
func (r *reserve) refill() {
	r.mu.Lock()
	r.writes++
	due := r.spent && r.writes%refillEvery == 0
	r.mu.Unlock()
	if due {
		_ = r.fill() // tried again later
	}
}

// refillEvery is how many writes pass between two tries to fill the reserve:
// each may cost the time to write it.
const refillEvery = 4

// endsKeys reports whether m does nothing but end keys, by which space is safe
// to spend on it.
func endsKeys(m store.Mutations) bool {
	if len(m.Keys) == 0 || len(m.Customers)+len(m.Plans)+len(m.DeletePlans) > 0 {
		return false
	}
	for i := range m.Keys {
		if m.Keys[i].State != apikey.Revoked && m.Keys[i].State != apikey.Disabled || m.Keys[i].Revision == 0 {
			return false
		}
	}
	return true
}

// isFull reports whether err says that the disk has no space left.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
