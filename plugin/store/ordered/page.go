// SPDX-License-Identifier: Apache-2.0

package ordered

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/store"
)

// effort bounds what a list does before it takes another way.
type effort struct {
	few   int // ids that are gathered and sorted at once
	tests int // records that are tested
}

// Where more than a few records pass a filter that is not ordered by id, they
// are not gathered and sorted at once: a page is looked for by testing records,
// newest first, and only where many tests did not fill it, all ids are gathered
// after all.
func usualEffort() effort { return effort{few: 20_000, tests: 4_000} }

var errTooManyTests = errors.New("too many records were tested")

// list is one page in the making.
type list[T any] struct {
	ctx context.Context
	tx  Tx
	effort
	page  store.PageQuery
	kind  string // the bucket of the records
	words string // the index of their beginnings

	filters []func() stream                              // ordered by id
	test    func(id []byte) bool                         // by index alone; nil: none
	has     func(record *T, prefix string) (bool, error) // all that was asked, by the record
	gathers []func(most int) [][]byte                    // filters not ordered by id; nil: more than most
	tested  int
}

// under adds the filter of an index.
func (l *list[T]) under(index, value string) {
	l.filters = append(l.filters, func() stream { return streamUnder(l.tx.Bucket(index), part(nil, value)) })
}

// underPlan adds the filter of a plan.
func (l *list[T]) underPlan(index, plan string, orNone bool) {
	if !orNone {
		l.under(index, plan)
		return
	}
	l.filters = append(l.filters, func() stream {
		b := l.tx.Bucket(index)
		return union{streamUnder(b, part(nil, plan)), streamUnder(b, part(nil, ""))}
	})
}

// withStatus adds the filter of a status.
func (l *list[T]) withStatus(q store.KeyQuery) {
	switch q.Status {
	case apikey.StatusExpired:
		l.under(keysByState, string(apikey.Active))
		l.test = testExpiry(l.tx, q)
		l.gathers = append(l.gathers, func(most int) [][]byte { return expired(l.tx, q.Now, most) })
	case apikey.StatusActive:
		l.under(keysByState, string(apikey.Active))
		l.test = testExpiry(l.tx, q)
	default:
		l.under(keysByState, string(q.Status))
	}
}

func (l *list[T]) run() (store.Page[T], error) {
	if l.page.Limit < 1 {
		return store.Page[T]{}, fmt.Errorf("a page of %d records", l.page.Limit)
	}
	prefix := fold(l.page.Prefix)
	if prefix != "" {
		l.gathers = append(l.gathers, func(most int) [][]byte { return starting(l.tx.Bucket(l.words), prefix, most) })
	}
	p, err := l.fill(prefix, l.few)
	if errors.Is(err, errTooManyTests) {
		p, err = l.fill(prefix, -1)
	}
	return p, err
}

// fill makes the page. Filters that are not ordered by id become streams where
// at most `most` ids pass them; -1: always.
func (l *list[T]) fill(prefix string, most int) (p store.Page[T], err error) {
	var streams []stream
	for _, f := range l.filters {
		streams = append(streams, f())
	}
	for i, g := range l.gathers {
		ids := g(most)
		if ids == nil {
			continue
		}
		s := stream(gather(ids))
		if i == len(l.gathers)-1 && prefix != "" {
			s = union{s, l.idsStarting(prefix)}
		}
		streams = append(streams, s)
	}
	if len(streams) == 0 {
		streams = append(streams, streamUnder(l.tx.Bucket(l.kind), nil))
	}
	bound := newest
	if l.page.After != "" {
		bound = below([]byte(l.page.After))
	}
	l.tested = 0
	records, walked := l.tx.Bucket(l.kind), 0
	common(streams, bound, func(id []byte) bool {
		if walked++; walked%1024 == 0 && l.ctx.Err() != nil {
			err = l.ctx.Err()
			return false
		}
		if l.test != nil && !l.test(id) {
			return true
		}
		if l.tested++; most >= 0 && l.tested > l.tests {
			err = errTooManyTests
			return false
		}
		var record T
		if err = l.read(records, id, &record); err != nil {
			return false
		}
		ok, why := l.has(&record, prefix)
		if err = why; err != nil || !ok {
			return err == nil
		}
		if p.More = len(p.Items) == l.page.Limit; p.More {
			return false
		}
		p.Items = append(p.Items, record)
		return true
	})
	if err != nil {
		return store.Page[T]{}, err
	}
	return p, nil
}

func (l *list[T]) read(records Bucket, id []byte, to *T) error {
	raw := records.Get(id)
	if raw == nil {
		return damaged(fmt.Errorf("%s %s", l.kind, id))
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("reading record %s of %s: %w", id, l.kind, err)
	}
	return nil
}

// idsStarting is the stream of the records whose id begins with prefix.
func (l *list[T]) idsStarting(prefix string) stream {
	r := store.Prefixed([]byte(prefix))
	return ranged{all: streamUnder(l.tx.Bucket(l.kind), nil), from: r.From, to: r.To}
}

// starting returns the ids of the records that have a word beginning with
// prefix; nil where there are more than most.
func starting(b Bucket, prefix string, most int) [][]byte {
	if len(prefix) > maxWord {
		prefix = prefix[:maxWord]
	}
	start := beginning(nil, prefix)
	ids := [][]byte{}
	c := b.Cursor()
	for k, _ := c.Seek(start); bytes.HasPrefix(k, start); k, _ = c.Next() {
		if most >= 0 && len(ids) >= most {
			return nil
		}
		end := bytes.Index(k, []byte{0, 1})
		ids = append(ids, k[end+2:])
	}
	return ids
}

// expired returns the ids of the active keys that have expired at now; nil
// where there are more than most.
func expired(tx Tx, now time.Time, most int) [][]byte {
	end := stamp(now)
	ids := [][]byte{}
	c := tx.Bucket(keysByExpiry).Cursor()
	for k, _ := c.Seek(nil); len(k) > 8 && bytes.Compare(k[:8], end) <= 0; k, _ = c.Next() {
		if most >= 0 && len(ids) >= most {
			return nil
		}
		ids = append(ids, k[8:])
	}
	return ids
}
