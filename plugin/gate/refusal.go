// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net/url"
	"strings"
	"time"
)

// Reason is why a call is refused; its text is the code that callers see.
type Reason string

// The reasons.
const (
	MissingKey           Reason = "missing_key"
	InvalidKey           Reason = "invalid_key" // unknown, malformed, revoked and disabled look alike
	ExpiredKey           Reason = "expired_key"
	AmbiguousKey         Reason = "ambiguous_key"
	TooManyAttempts      Reason = "too_many_attempts"
	InsufficientScope    Reason = "insufficient_scope"
	RouteNotInPlan       Reason = "route_not_in_plan"
	IPNotAllowed         Reason = "ip_not_allowed"
	PaymentRequired      Reason = "payment_required"
	RateLimited          Reason = "rate_limited"
	ConcurrencyLimited   Reason = "concurrency_limited"
	QuotaExceeded        Reason = "quota_exceeded"
	OverageLimitExceeded Reason = "overage_limit_exceeded"
	UnknownRoute         Reason = "unknown_route"
	AmbiguousPath        Reason = "ambiguous_path"
	UpgradeRefused       Reason = "upgrade_refused"
	MethodNotAllowed     Reason = "method_not_allowed"
	Unavailable          Reason = "unavailable" // a fault: not decided
)

// The outcomes of calls that pass.
const (
	Allowed       = "allowed"
	UpstreamError = "upstream_error"
)

// A Refusal is a decision that is part of the API. It is a value to read, not an error.
type Refusal struct {
	Reason     Reason
	RetryAfter time.Duration // 0: trying again does not help; never shorter than the reset it names
	Violated   *Window       // the limit that refused, of the four limit reasons but concurrency
	Limit      int64         // of ConcurrencyLimited
	Scope      string        // that was missing
	UpgradeURL string        // "" where none is configured
}

// upgradeURL returns where the customer of an entry finds a larger plan.
func upgradeURL(e *entry) string {
	return strings.ReplaceAll(e.rules.settings.UpgradeURL, "{customer}", url.PathEscape(e.customer.ID))
}
