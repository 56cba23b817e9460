// SPDX-License-Identifier: Apache-2.0

package meter

// A Hold is what one request has reserved of one counter; it keeps the period
// it was admitted in. Exactly one of its methods is to be called, once. The
// zero Hold holds nothing.
type Hold struct {
	slot  *slot
	units int64
	quota int64
	over  int64 // of units: past quota
}

// Cancel gives the reservation back: the request was refused after all.
func (h Hold) Cancel() { h.Refund() }

// Refund gives it back: the request was forwarded and failed.
func (h Hold) Refund() {
	if h.slot == nil {
		return
	}
	h.slot.words.refunded.Add(h.units)
	h.settled()
}

// Keep leaves the units used and bills nothing: no answer is known.
func (h Hold) Keep() {
	if h.slot == nil {
		return
	}
	h.settled()
}

// Use settles the request at n units, whether more or less than reserved, and
// bills nothing.
func (h Hold) Use(n int64) {
	if h.slot == nil {
		return
	}
	w := h.slot.words
	switch more := max(n, 0) - h.units; {
	case more > 0:
		h.slot.lendMore(w.admitted.Add(more) - w.refunded.Load())
	case more < 0:
		w.refunded.Add(-more)
	}
	h.settled()
}

// Bill settles the request at n units, whether more or less than reserved.
// What is more is added whatever the quota; what is less is given back.
func (h Hold) Bill(n int64) {
	if h.slot == nil {
		return
	}
	n = max(n, 0)
	w := h.slot.words
	switch more := n - h.units; {
	case more > 0:
		used := w.admitted.Add(more) - w.refunded.Load()
		h.over += past(used, h.quota, more)
		h.slot.lendMore(used)
	case more < 0:
		w.refunded.Add(-more)
		h.over = max(h.over+more, 0)
	}
	w.billed.Add(n)
	if h.over > 0 {
		w.over.Add(h.over)
	}
	h.settled()
}

func (h Hold) settled() {
	h.slot.touch()
	h.slot.leave()
}

// Remaining returns what is left of quota in the hold's period, never
// negative. It may still be called soon after the hold was settled.
func (h Hold) Remaining(quota int64) int64 {
	if h.slot == nil {
		return max(quota, 0)
	}
	return max(quota-max(h.slot.words.used(), 0), 0)
}
