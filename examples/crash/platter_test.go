// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/boltstore"
)

// A platter plays the disk under a directory: it knows what was synced, and
// what a power cut may leave of the rest.
type platter struct {
	dir, boot string
	numbers   int64         // counters in a file of slots; 0: as always
	write     bool          // files of slots are written, not mapped
	slow      time.Duration // how long a sync takes
	writer    sync.Mutex    // held by the transaction that is under way
	order     sync.Mutex    // held while a sync begins

	mu     sync.Mutex // guards the rest
	synced map[string][]byte
	began  map[string]int // the sync that made synced so
	syncs  int
	bolt   []byte        // the database before the transaction that is under way, if it may be torn
	writes int           // transactions so far
	sick   error         // of every sync, if not nil
	full   error         // of every new file and transaction, if not nil
	mark   func() func() // called when a sync begins; what it returns, when it has succeeded
	trap   func()        // called at each moment at which the power may fail; nil: it does not
}

// newPlatter plays the disk of a machine that has just been switched on: all
// that stands in the directory is durable.
func newPlatter(dir, boot string) *platter {
	p := &platter{dir: dir, boot: boot, synced: make(map[string][]byte), began: make(map[string]int)}
	files, _ := filepath.Glob(filepath.Join(dir, "slots-*"))
	for _, file := range files {
		p.synced[filepath.Base(file)], _ = os.ReadFile(file)
	}
	return p
}

// disk is the platter as the meter sees it.
func (p *platter) disk() *meter.Disk {
	return &meter.Disk{Boot: p.boot, Write: p.write, Numbers: p.numbers, Sync: p.sync, Create: func(string) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.full
	}}
}

// sync makes durable what stands in the file of slots when it begins.
func (p *platter) sync(name string) error {
	p.moment()
	b, began, done, err := p.begin(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	slow := p.slow
	p.mu.Unlock()
	if slow > 0 {
		<-time.After(slow)
	}
	p.mu.Lock()
	if began > p.began[name] { // else one that began later was faster
		p.synced[name], p.began[name] = b, began
	}
	p.mu.Unlock()
	done()
	p.moment()
	return nil
}

// begin reads what a sync makes durable. Of two syncs the one that began later
// has read no less.
func (p *platter) begin(name string) (b []byte, began int, done func(), err error) {
	p.order.Lock()
	defer p.order.Unlock()
	p.mu.Lock()
	p.syncs++
	sick, mark, began := p.sick, p.mark, p.syncs
	p.mu.Unlock()
	if sick != nil {
		return nil, 0, nil, sick
	}
	done = func() {}
	if mark != nil {
		done = mark()
	}
	b, err = os.ReadFile(filepath.Join(p.dir, name))
	return b, began, done, err
}

// moment is one at which the power may fail.
func (p *platter) moment() {
	p.mu.Lock()
	trap := p.trap
	p.mu.Unlock()
	if trap != nil {
		trap()
	}
}

// transaction runs one that writes the database. Every third may be torn.
func (p *platter) transaction(run func() error) error {
	p.moment()
	defer p.moment()
	p.writer.Lock()
	defer p.writer.Unlock()
	p.mu.Lock()
	full := p.full
	if p.writes++; full == nil && p.writes%3 == 0 {
		p.bolt, _ = os.ReadFile(filepath.Join(p.dir, boltstore.FileName))
	}
	p.mu.Unlock()
	if full != nil {
		return full
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.bolt = nil
	}()
	return run()
}

// fail lets every sync, and every new file and transaction, fail.
func (p *platter) fail(sick, full error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick, p.full = sick, full
}

const (
	sector = 512
	page   = 4096
)

// cut writes into dir what a power cut in this moment may leave.
func (p *platter) cut(dir string, r *rand.Rand) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	bolt := p.bolt
	if bolt == nil { // no transaction that may be torn is under way; another one is waited for
		if !p.writer.TryLock() {
			p.mu.Unlock()
			p.writer.Lock()
			p.mu.Lock()
		}
		defer p.writer.Unlock()
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		now, err := os.ReadFile(filepath.Join(p.dir, name))
		if errors.Is(err, os.ErrNotExist) || entry.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case name == boltstore.FileName:
			now = cutBolt(bolt, now, r)
		case name == "slots.state": // replaced as a whole
		case strings.HasPrefix(name, "slots-"):
			now = cutSlots(p.synced[name], now, r)
		case strings.HasPrefix(name, "slots.state"):
			now = now[:r.IntN(len(now)+1)]
		default:
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), now, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cutSlots leaves of each sector what was synced last or what it was to become.
// A file is synced, all zeroes but its first page, before anything refers to it.
func cutSlots(synced, now []byte, r *rand.Rand) []byte {
	if len(synced) != len(now) {
		synced = make([]byte, len(now))
		copy(synced, now[:min(page, len(now))])
	}
	return mix(synced, now, r)
}

// cutBolt leaves what bbolt allows for: pages of a transaction that is under way
// are torn while neither of the two meta pages names them; a meta page is
// written when they are synced.
func cutBolt(committed, now []byte, r *rand.Rand) []byte {
	if len(committed) < 2*page {
		return now // no transaction was under way
	}
	if len(now) >= 2*page && bytes.Equal(committed[:2*page], now[:2*page]) {
		grown := append(bytes.Clone(committed), make([]byte, max(len(now)-len(committed), 0))...)
		torn := mix(grown, now, r)
		if len(now) > len(committed) && r.IntN(2) == 0 { // the tail, too
			torn = torn[:len(committed)+r.IntN(len(now)-len(committed))]
		}
		copy(torn, committed[:2*page])
		return torn
	}
	metas := mix(committed[:2*page], now[:2*page], r)
	return append(metas, now[2*page:]...)
}

// mix takes each sector from one of two states of a file.
func mix(a, b []byte, r *rand.Rand) []byte {
	out := bytes.Clone(a)
	bias := r.Float64()
	for i := 0; i < len(out); i += sector {
		end := min(i+sector, len(out))
		if r.Float64() < bias && !bytes.Equal(a[i:end], b[i:min(end, len(b))]) {
			copy(out[i:end], b[i:end])
		}
	}
	return out
}

// onPlatter is a store whose transactions the platter knows of.
type onPlatter struct {
	store.Engine
	p *platter
}

func (s *onPlatter) Write(ctx context.Context, m store.Mutations) (revision uint64, err error) {
	err = s.p.transaction(func() error {
		revision, err = s.Engine.Write(ctx, m)
		return err
	})
	return revision, err
}

func (s *onPlatter) Commit(ctx context.Context, b store.Batch) error {
	return s.p.transaction(func() error { return s.Engine.Commit(ctx, b) })
}

func (s *onPlatter) Append(ctx context.Context, node string, sequence uint64, rows []store.UsageRow) error {
	return s.p.transaction(func() error { return s.Engine.Append(ctx, node, sequence, rows) })
}

// kill copies what a kill of the process leaves: all that it gave to the kernel.
func (p *platter) kill(dir string) error {
	p.writer.Lock()
	defer p.writer.Unlock()
	files, err := filepath.Glob(filepath.Join(p.dir, "*"))
	for _, file := range files {
		b, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(dir, filepath.Base(file)), b, 0o600))
	}
	return err
}
