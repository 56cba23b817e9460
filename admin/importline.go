// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/id"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store"
)

// importLine is one line of an import: what was read of it, then what became
// of it.
type importLine struct {
	number int
	fields *fields
	hash   apikey.Hash
	ref    string            // names a customer, or is empty
	owner  customer.Customer // as the line says, where ref is empty
	key    apikey.Key
	used   map[string]int64

	result   importResult
	newOwner bool // its customer is made by this line
	wrong    *problem
	detail   string
	book     map[string]int64 // of used: what is still to be booked
}

func (l *importLine) fail(p *problem) {
	l.result, l.wrong, l.newOwner = lineFailed, p, false
}

// parse reads a line: hash, the fields of a key, used, and its customer: either
// as the field customer (an id, an external id, an e-mail address or an object
// with the fields of a customer) or as email, external_id, stripe_customer_id,
// customer_name and customer_plan, which may also stand beside an e-mail address.
func (i *importer) parse(raw []byte, number int) *importLine {
	l := &importLine{number: number}
	document, err := parseDocument(raw)
	if len(raw) >= maxBody {
		err = bodyTooLarge(maxBody)
	}
	if err != nil {
		l.fail(problemOf(err))
		return l
	}
	f := document.reading()
	l.fields, l.key = f, apikey.Key{State: apikey.Active, Mode: apikey.Live}
	hash, there := readHash(f, "hash")
	if l.hash = hash; !there {
		f.fail("hash", "It is required.")
	}
	readKey(f, &l.key)
	if mode := f.word("mode", string(apikey.Live), string(apikey.Test)); mode != "" {
		l.key.Mode = apikey.Mode(mode)
	}
	if state := f.word("status", string(apikey.Active), string(apikey.Disabled)); state != "" {
		l.key.State = apikey.State(state)
	}
	if created := f.when("created_at"); !created.IsZero() && created.Before(i.now) {
		l.key.CreatedAt = created
	}
	l.readOwner(f)
	l.readUsed(f)
	i.s.checkPlan(f, "plan", l.key.Plan)
	i.s.checkPlan(f, "customer_plan", l.owner.Plan)
	if err := f.finish(); err != nil {
		l.fail(problemOf(err))
	}
	return l
}

func (l *importLine) readOwner(f *fields) {
	flat := customer.Customer{
		Email: readEmail(f, "email"), ExternalID: f.text("external_id", maxExternal), StripeCustomer: f.text("stripe_customer_id", 255),
		Name: f.text("customer_name", maxName), Plan: f.text("customer_plan", 64),
	}
	switch f.member("customer").(type) {
	case nil:
		l.owner = flat
	case map[string]any:
		inner := f.object("customer")
		readCustomer(inner, &l.owner)
		inner.close()
	default:
		if l.ref = f.text("customer", maxEmail); isEmail(l.ref) {
			address := strings.ToLower(l.ref)
			if l.owner, l.ref = flat, ""; flat.Email != "" && flat.Email != address {
				f.fail("email", "It is another than that of the customer.")
			}
			l.owner.Email, flat = address, customer.Customer{}
		}
	}
	if o := l.owner; l.ref == "" && o.Email == "" && o.ExternalID == "" && o.StripeCustomer == "" {
		f.fail("customer", "It is required, by an id, an external id, an e-mail address or a Stripe customer.")
	}
	if f.has("customer") && (flat.Email != "" || flat.ExternalID != "" || flat.StripeCustomer != "" || flat.Name != "" || flat.Plan != "") {
		f.fail("customer", "It stands alone: the fields of the customer are said beside it, too.")
	}
}

// readUsed reads how many units of this month are spent already.
func (l *importLine) readUsed(f *fields) {
	switch f.member("used").(type) {
	case nil:
		return
	case json.Number:
		l.used = map[string]int64{plan.Requests: f.integer("used", 0, plan.MaxCount)}
		return
	}
	inner := f.object("used")
	if inner == nil {
		return
	}
	l.used = map[string]int64{}
	for _, unit := range slices.Sorted(maps.Keys(inner.members)) {
		l.used[unit] = inner.integer(unit, 0, plan.MaxCount)
		if problem := plan.UnitProblem(unit); problem != "" {
			inner.fail(unit, sentence("it "+problem))
		}
	}
}

// prepare says what is to be written for a chunk.
func (i *importer) prepare(ctx context.Context, chunk []*importLine) (*change, error) {
	lines, hashes := hashesOf(chunk)
	found, err := i.s.o.Store.Lookup(ctx, hashes)
	if err != nil {
		return nil, fmt.Errorf("looking hashes up: %w", err)
	}
	p := &preparation{importer: i, ch: &change{}, hashes: map[apikey.Hash]string{}, owners: map[string]*customer.Customer{}}
	for n, l := range lines {
		if err := p.add(ctx, l, found[n]); err != nil {
			return nil, err
		}
	}
	return p.ch, p.record()
}

// preparation gathers what one transaction writes.
type preparation struct {
	*importer
	ch     *change
	hashes map[apikey.Hash]string        // of new keys, and their customers
	owners map[string]*customer.Customer // new ones, by each name they have
}

func (p *preparation) add(ctx context.Context, l *importLine, m store.Match) error {
	l.result, l.newOwner, l.book, l.detail = lineCreated, false, l.used, ""
	owner, isNew, err := p.ownerOf(ctx, l)
	if wrong := new(problem); errors.As(err, &wrong) {
		l.fail(wrong)
		return nil
	}
	if err != nil {
		return err
	}
	if other, twice := p.hashes[l.hash]; m.Found || twice {
		l.newOwner = false
		return p.again(ctx, l, m, other, owner.ID)
	}
	k := &l.key
	k.Customer, k.Secrets = owner.ID, []apikey.HeldSecret{{Hash: l.hash}}
	if err := p.s.checkOwner(l.fields, k, owner, p.now); err != nil {
		l.fail(problemOf(err))
		return nil
	}
	k.ID = id.New("key", p.s.o.Now())
	if k.CreatedAt.IsZero() {
		k.CreatedAt = p.now.UTC()
	}
	p.hashes[l.hash] = owner.ID
	if l.newOwner = isNew; isNew {
		p.name(owner)
		p.ch.Customers = append(p.ch.Customers, *owner)
	}
	p.ch.Keys = append(p.ch.Keys, *k)
	p.ch.Records.Expect = append(p.ch.Records.Expect, notErased(owner.ID))
	if len(l.used) > 0 {
		p.ch.Records.Put = append(p.ch.Records.Put, store.Record{Book: store.Meta, Key: unbooked(k.ID), Value: mustJSON(l.used)})
	}
	return nil
}

// unbooked is a record in the book of marks of what an imported key has used
// and its counters do not know yet: there only between two transactions.
func unbooked(keyID string) []byte { return []byte("unbooked/" + keyID) }

// again answers a line whose hash is here already.
func (p *preparation) again(ctx context.Context, l *importLine, m store.Match, other, owner string) error {
	if m.Found {
		other = m.Key.Customer
	}
	if other != owner {
		l.fail(&problem{code: "duplicate", field: "hash", detail: "A key of another customer has this hash."})
		return nil
	}
	l.result, l.book = lineUnchanged, nil
	if !m.Found {
		return nil
	}
	is, says := keyFields(&m.Key), keyFields(&l.key)
	for _, name := range slices.Sorted(maps.Keys(says)) {
		if string(mustJSON(says[name])) != string(mustJSON(is[name])) {
			l.detail = "The key has another " + name + " by now, which stays."
			break
		}
	}
	l.key = m.Key
	raw, err := p.s.o.Store.Read(ctx, store.Meta, unbooked(m.Key.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what an import left: %w", err)
	}
	return json.Unmarshal(raw, &l.book)
}

// ownerOf returns the customer of a line, and whether it is new.
func (p *preparation) ownerOf(ctx context.Context, l *importLine) (owner *customer.Customer, isNew bool, err error) {
	if l.ref != "" {
		found, _, err := p.s.ownerOf(ctx, l.ref, "", p.now)
		return &found, false, err
	}
	for _, ref := range refsOf(&l.owner) {
		if known := p.owners[refName(ref)]; known != nil {
			return known, false, nil
		}
		found, err := p.s.o.Store.Customer(ctx, ref)
		if err == nil && !found.ErasedAt.IsZero() {
			return nil, false, conflict("erased", "This customer was erased.")
		}
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return &found, false, err
		}
	}
	next := l.owner
	if next.ID, next.CreatedAt = id.New("cust", p.s.o.Now()), p.now.UTC(); next.Plan == "" {
		next.Plan = l.key.Plan // as when a key is made for an unknown e-mail address
	}
	return &next, true, nil
}

// refsOf returns the names of a customer, the surest first.
func refsOf(c *customer.Customer) (refs []store.CustomerRef) {
	for _, ref := range []store.CustomerRef{{ExternalID: c.ExternalID}, {Email: c.Email}, {StripeCustomer: c.StripeCustomer}} {
		if ref != (store.CustomerRef{}) {
			refs = append(refs, ref)
		}
	}
	return refs
}

func refName(ref store.CustomerRef) string {
	return ref.ExternalID + "\x00" + ref.Email + "\x00" + ref.StripeCustomer
}

func (p *preparation) name(c *customer.Customer) {
	for _, ref := range refsOf(c) {
		p.owners[refName(ref)] = c
	}
}

// record adds one audit entry for all that the transaction makes.
func (p *preparation) record() error {
	if len(p.ch.Keys) == 0 {
		return nil
	}
	keys, customers := []string{}, []string{}
	for i := range p.ch.Keys {
		keys = append(keys, p.ch.Keys[i].ID)
	}
	for i := range p.ch.Customers {
		customers = append(customers, p.ch.Customers[i].ID)
	}
	e := entry{Action: "key.import", Target: p.c.requestID, After: map[string]any{"keys": keys, "customers": customers}}
	record, err := e.by(p.c, p.s.o.Now()).record()
	p.ch.Records.Put = append(p.ch.Records.Put, record)
	return err
}

// bookUsed adds what the keys of a chunk have used elsewhere to their counters
// and their customers', then strikes the marks that say it is to be done. What
// a break left in between is found by the next import of the same lines.
func (i *importer) bookUsed(ctx context.Context, chunk []*importLine) error {
	now := i.s.o.Now()
	var all []meter.Adjustment
	var batch store.Batch
	for _, l := range chunk {
		if l.wrong != nil || len(l.book) == 0 {
			continue
		}
		owner, err := i.s.o.Store.Customer(ctx, store.CustomerRef{ID: l.key.Customer})
		if err != nil {
			return fmt.Errorf("reading a customer: %w", err)
		}
		adjustments, err := i.adjustments(ctx, l, &owner, now)
		if err != nil {
			return err
		}
		all = append(all, adjustments...)
		batch.Put = append(batch.Put, store.Record{Book: store.Meta, Key: unbooked(l.key.ID)})
	}
	if batch.Empty() {
		return nil
	}
	if err := i.s.o.Meter.AdjustAll(ctx, now, all); err != nil {
		return err
	}
	return i.s.commit(ctx, store.Mutations{Records: batch})
}

// adjustments are what a line adds to counters: nothing where an import that
// broke off did it before.
func (i *importer) adjustments(ctx context.Context, l *importLine, owner *customer.Customer, now time.Time) (all []meter.Adjustment, err error) {
	month := gate.Calendar(owner, now)
	for unit, n := range l.book {
		ofKey := meter.ID{Owner: meter.Owner{Kind: meter.OfKey, ID: l.key.ID, Mode: l.key.Mode}, Unit: unit, Calendar: month}
		ofCustomer := meter.ID{Owner: meter.Owner{Kind: meter.OfCustomer, ID: owner.ID, Mode: l.key.Mode}, Unit: unit, Calendar: month}
		was, err := i.s.o.Meter.Peek(ctx, ofKey, month.Ordinal(now))
		if err != nil {
			return nil, fmt.Errorf("reading a counter: %w", err)
		}
		if n > 0 && was.Admitted < n {
			all = append(all, meter.Adjustment{ID: ofKey, Units: n}, meter.Adjustment{ID: ofCustomer, Units: n})
		}
	}
	return all, nil
}
