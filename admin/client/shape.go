// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"time"

	"github.com/keytoll/keytoll/plugin/plan"
)

// The shapes of the API, as far as they are known here. A time or text that
// the API gives as null is zero.

// Key is an API key.
type Key struct {
	ID          string                     `json:"id"`
	Customer    string                     `json:"customer"` // id
	Name        string                     `json:"name"`
	Start       string                     `json:"start"`
	Mode        string                     `json:"mode"`
	Status      string                     `json:"status"`
	Plan        string                     `json:"plan"` // "": that of the customer
	Scopes      []string                   `json:"scopes"`
	AllowedIPs  []string                   `json:"allowed_ips"`
	Rates       *[]plan.Rate               `json:"rates"` // nil: those of the plan
	Quota       *plan.Quota                `json:"quota"`
	Concurrency *plan.Concurrency          `json:"concurrency"`
	ExpiresAt   time.Time                  `json:"expires_at"`
	CreatedAt   time.Time                  `json:"created_at"`
	RevokedAt   time.Time                  `json:"revoked_at"`
	LastUsedAt  time.Time                  `json:"last_used_at"`
	Secrets     []Secret                   `json:"secrets"`
	Metadata    map[string]json.RawMessage `json:"metadata"`
}

// Secret is what is shown of a secret that opens a key.
type Secret struct {
	Start  string    `json:"start"`
	EndsAt time.Time `json:"ends_at"` // when the grace of a rotation ends
}

// NewKey is a key with the secret that was just made, shown only here.
type NewKey struct {
	Key
	APIKey string `json:"api_key"`
}

// Customer is who pays.
type Customer struct {
	ID             string    `json:"id"`
	Email          string    `json:"email"`
	Name           string    `json:"name"`
	ExternalID     string    `json:"external_id"`
	Plan           string    `json:"plan"` // in force
	PlanSource     string    `json:"plan_source"`
	Status         string    `json:"status"`
	StripeCustomer string    `json:"stripe_customer_id"`
	Period         Period    `json:"period"`
	CreatedAt      time.Time `json:"created_at"`
}

// Period is half-open.
type Period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Plan is what is sold.
type Plan struct {
	ID          string            `json:"id"`
	Title       string            `json:"title"`
	Source      string            `json:"source"`
	Default     bool              `json:"default"`
	Rates       []plan.Rate       `json:"rates"`
	Quotas      []plan.Quota      `json:"quotas"`
	Concurrency *plan.Concurrency `json:"concurrency"`
	MaxKeys     int               `json:"max_keys"`
	Scopes      []string          `json:"scopes"`
	Routes      []string          `json:"routes"`
	NotForSale  bool              `json:"not_for_sale"`
}

// Report is what a key or a customer has used in its period.
type Report struct {
	Period   Period           `json:"period"`
	Requests int64            `json:"requests"`
	Units    map[string]int64 `json:"units"`
	Refused  int64            `json:"refused"`
	Quotas   []QuotaState     `json:"quotas"`
	Quota    *QuotaState      `json:"quota"` // the first of Quotas
}

// QuotaState is one quota and what is used of it.
type QuotaState struct {
	Unit      string    `json:"unit"`
	Scope     string    `json:"scope"`
	Limit     int64     `json:"limit"`
	Used      int64     `json:"used"`
	Remaining int64     `json:"remaining"`
	Over      int64     `json:"over"`
	ResetsAt  time.Time `json:"resets_at"`
}

// Usage is the answer to a question about usage.
type Usage struct {
	Data []Record[UsageRow] `json:"data"`
	From time.Time          `json:"from"`
	To   time.Time          `json:"to"`
}

// UsageRow is what was used in one bucket of time by one group.
type UsageRow struct {
	Start    time.Time         `json:"start"`
	Group    map[string]string `json:"group"`
	Requests int64             `json:"requests"`
	Units    map[string]int64  `json:"units"`
	Refused  int64             `json:"refused"`
	Refunded int64             `json:"refunded"`
}

// Explanation says whether a key would pass now, and why.
type Explanation struct {
	Key        string  `json:"key"`
	Customer   string  `json:"customer"`
	Plan       string  `json:"plan"`
	PlanFrom   string  `json:"plan_from"`
	Pooled     string  `json:"pooled_plan"`
	PooledFrom string  `json:"pooled_plan_from"`
	Route      string  `json:"route"`
	Admitted   bool    `json:"admitted"`
	Code       string  `json:"code"`
	Checks     []Check `json:"checks"`
	Limits     []Limit `json:"limits"`
}

// Check is one step of a decision.
type Check struct {
	Check  string `json:"check"`
	Pass   bool   `json:"pass"`
	Detail string `json:"detail"`
}

// Limit is one limit and where it comes from.
type Limit struct {
	Kind      string    `json:"kind"` // rate, concurrency or quota
	Name      string    `json:"name"`
	Unit      string    `json:"unit"`
	Scope     string    `json:"scope"`
	From      string    `json:"from"`
	Limit     int64     `json:"limit"`
	Count     int64     `json:"count"`
	Per       string    `json:"per"`
	Period    string    `json:"period"`
	Used      int64     `json:"used"`
	Remaining int64     `json:"remaining"`
	ResetsAt  time.Time `json:"resets_at"`
}

// Denial is one request that was refused.
type Denial struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"`
	Shadow   bool      `json:"shadow"`
	Key      string    `json:"key"`
	Customer string    `json:"customer"`
	Start    string    `json:"start"`
	Route    string    `json:"route"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	IP       string    `json:"ip"`
}

// AuditEntry says who changed what.
type AuditEntry struct {
	ID     string                     `json:"id"`
	Time   time.Time                  `json:"time"`
	Actor  Actor                      `json:"actor"`
	Action string                     `json:"action"`
	Target string                     `json:"target"`
	Before map[string]json.RawMessage `json:"before"`
	After  map[string]json.RawMessage `json:"after"`
	Reason string                     `json:"reason"`
	IP     string                     `json:"ip"`
}

// Actor is who made a call.
type Actor struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

// Token is an admin token.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Status    string    `json:"status"`
	Source    string    `json:"source"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// NewToken is a token that was just made, shown only here.
type NewToken struct {
	Token
	Secret string `json:"token"`
}

// ImportLine is the answer to one line of an import or, with an Object of
// import_summary, its last line.
type ImportLine struct {
	Line   int          `json:"line"`
	Result string       `json:"result"` // created, unchanged or error
	Error  *ImportError `json:"error"`

	Object    string `json:"object"`
	DryRun    bool   `json:"dry_run"`
	Lines     int    `json:"lines"`
	Created   int    `json:"created"`
	Unchanged int    `json:"unchanged"`
	Errors    int    `json:"errors"`
	Customers int    `json:"customers_created"`
}

// ImportError says what is wrong with a line.
type ImportError struct {
	Code   string `json:"code"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
}
