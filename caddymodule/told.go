// SPDX-License-Identifier: Apache-2.0

package caddymodule

// told is what other directives and the access log may read of an exchange. It
// outlives the exchange: the log is written after the answer.
type told struct {
	identity  [4]string // key, customer, plan, mode: also the upstream's headers
	fields    [2]string // RateLimit-Policy, RateLimit: also the answer's headers
	route     string
	outcome   string
	detail    string // the words of a refusal
	requestID string
	cost      int64
}

// placeholder answers for {keytoll.*}, and for {http.auth.user.id}, by which
// Caddy's access log knows who called.
func (t *told) placeholder(key string) (any, bool) {
	switch key {
	case "http.auth.user.id":
		return t.identity[1], t.identity[1] != ""
	case "keytoll.key.id":
		return t.identity[0], true
	case "keytoll.key.mode":
		return t.identity[3], true
	case "keytoll.customer.id":
		return t.identity[1], true
	case "keytoll.plan":
		return t.identity[2], true
	case "keytoll.route":
		return t.route, true
	case "keytoll.outcome":
		return t.outcome, true
	case "keytoll.detail":
		return t.detail, true
	case "keytoll.request_id":
		return t.requestID, true
	case "keytoll.cost":
		return t.cost, true
	}
	return nil, false
}
