// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// detailOf says in words why a call is refused, and what to do.
func detailOf(r *gate.Refusal, x *exchange) string {
	switch r.Reason {
	case gate.MissingKey:
		return x.h.howToSend(x)
	case gate.InvalidKey:
		return "This API key is not valid."
	case gate.ExpiredKey:
		return "This API key has expired."
	case gate.AmbiguousKey:
		return "More than one API key was sent. Send one."
	case gate.TooManyAttempts:
		return "Too many wrong API keys came from this address. " + tryAgain(r.RetryAfter)
	case gate.InsufficientScope:
		return fmt.Sprintf("This API key lacks the scope %s.", r.Scope)
	case gate.RouteNotInPlan:
		return "This endpoint is not in the plan of this API key."
	case gate.IPNotAllowed:
		return "This API key may not be used from this address."
	case gate.PaymentRequired:
		return "The subscription of this API key is not paid."
	case gate.UnknownRoute:
		return "There is no such endpoint."
	case gate.AmbiguousPath:
		return "This path can be read in two ways. Send it without escaped or doubled slashes and dots."
	case gate.UpgradeRefused:
		return "This API is not served over h2c."
	case gate.MethodNotAllowed:
		return "This method is not served."
	case gate.RateLimited, gate.ConcurrencyLimited, gate.QuotaExceeded, gate.OverageLimitExceeded:
		return detailOfLimit(r)
	}
	return "The request was refused."
}

// detailOfLimit says which limit was reached and when there is more.
func detailOfLimit(r *gate.Refusal) string {
	w := r.Violated
	switch {
	case r.Reason == gate.ConcurrencyLimited:
		return fmt.Sprintf("You have %s running at once, which is the most. Try again when one has ended.", amount(r.Limit, plan.Requests))
	case w == nil:
		return "A limit was reached. " + tryAgain(r.RetryAfter)
	case r.Reason == gate.RateLimited:
		return fmt.Sprintf("The limit is %s. %s", rate(w), tryAgain(r.RetryAfter))
	case r.Reason == gate.OverageLimitExceeded:
		return fmt.Sprintf("You have used %s, and all that is billed past that, in this period. It resets on %s.", amount(w.Limit, w.Unit), date(w.Ends))
	case w.Used < w.Limit:
		return fmt.Sprintf("This request costs more than what is left of the %s of this period. They reset on %s.", amount(w.Limit, w.Unit), date(w.Ends))
	}
	return fmt.Sprintf("You have used all %s of this period. They reset on %s.", amount(w.Limit, w.Unit), date(w.Ends))
}

// rate writes the rate that a window shows.
func rate(w *gate.Window) string {
	words := amount(w.Count, w.Unit) + " " + span(w.Length)
	if w.Limit != w.Count {
		words += ", at most " + amount(w.Limit, w.Unit) + " at once"
	}
	return words
}

// howToSend says where the key belongs.
func (h *Handler) howToSend(x *exchange) string {
	query, best := "", ""
	for _, s := range h.sources {
		switch {
		case s.in == inBearer:
			best = "No API key was sent. Put it in the header: Authorization: Bearer YOUR_KEY."
		case s.in == inQuery:
			query = "No API key was sent. Put it in the URL: ?" + s.name + "=YOUR_KEY."
		case best == "":
			best = "No API key was sent. Put it in the header: " + s.name + ": YOUR_KEY."
		}
	}
	switch {
	case query == "" && inURL(x.r):
		return "Keys in the URL end up in logs; send the header."
	case best == "":
		return query
	}
	return best
}

func tryAgain(after time.Duration) string {
	return "Try again in " + strconv.FormatInt(max(seconds(after), 1), 10) + " s."
}

// amount writes a number with separators and its unit.
func amount(n int64, unit string) string {
	if n == 1 && unit == plan.Requests {
		return "1 request"
	}
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " " + unit
}

// span writes the length of a rate's window: "a minute", "in 90s".
func span(length time.Duration) string {
	switch length {
	case time.Second:
		return "a second"
	case time.Minute:
		return "a minute"
	case time.Hour:
		return "an hour"
	case day:
		return "a day"
	}
	return "in " + length.String()
}

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }
