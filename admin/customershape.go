// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/gate"
	"github.com/keytoll/keytoll/plugin/plan"
)

// What a text may be long, in bytes, and a list, in entries.
const (
	maxName     = 200
	maxEmail    = 254
	maxExternal = 200
	maxReason   = 500
	maxList     = 100
	maxMetadata = 16 << 10
)

// customerShape is how a customer looks. A date or text that is not there is
// null.
type customerShape struct {
	ID             string             `json:"id"`
	Object         string             `json:"object"`
	Email          *string            `json:"email"`
	Name           *string            `json:"name"`
	ExternalID     *string            `json:"external_id"`
	Plan           *string            `json:"plan"` // in force
	PlanSource     *string            `json:"plan_source"`
	OwnPlan        *string            `json:"own_plan"` // what the field plan was set to
	Status         string             `json:"status"`   // of the subscription, or none, or erased
	StripeCustomer *string            `json:"stripe_customer_id"`
	Period         periodShape        `json:"period"`
	Overrides      overridesShape     `json:"overrides"`
	PlanOverride   *planOverrideShape `json:"plan_override"`
	CreatedAt      time.Time          `json:"created_at"`
	ErasedAt       *time.Time         `json:"erased_at"`
	Metadata       metadata           `json:"metadata"`
}

type metadata = map[string]json.RawMessage

// periodShape is half-open.
type periodShape struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

type overridesShape struct {
	Rates       *[]plan.Rate      `json:"rates"`
	Quota       *plan.Quota       `json:"quota"`
	Concurrency *plan.Concurrency `json:"concurrency"`
	Until       *time.Time        `json:"until"`
	Reason      *string           `json:"reason"`
}

type planOverrideShape struct {
	Plan   string     `json:"plan"`
	Until  *time.Time `json:"until"`
	Reason *string    `json:"reason"`
}

// shapeCustomer shows what holds at now.
func (s *Server) shapeCustomer(c *customer.Customer, now time.Time) customerShape {
	shape := customerShape{
		ID: c.ID, Object: "customer", Email: unlessZero(c.Email), Name: unlessZero(c.Name), ExternalID: unlessZero(c.ExternalID),
		OwnPlan: unlessZero(c.Plan), Status: "none", StripeCustomer: unlessZero(c.StripeCustomer),
		CreatedAt: c.CreatedAt, ErasedAt: unlessZero(c.ErasedAt), Metadata: orEmpty(c.Metadata),
	}
	settings := s.settings()
	held, source := c.PlanAt(now, settings.FallbackPlan, settings.DefaultPlan)
	if held != "" {
		shape.Plan, shape.PlanSource = &held, unlessZero(string(source))
	}
	shape.Overrides = shapeOverrides(c.Overrides)
	shape.Overrides.Quota = s.shownQuota(c.Overrides.Quota, held)
	if c.Subscription != nil {
		shape.Status = string(c.Subscription.Status)
	}
	if !c.ErasedAt.IsZero() {
		shape.Status = "erased"
	}
	if o := c.PlanOverride; o.Plan != "" {
		shape.PlanOverride = &planOverrideShape{o.Plan, unlessZero(o.Until), unlessZero(o.Reason)}
	}
	period := gate.Calendar(c, now).At(now)
	shape.Period = periodShape{period.Start, period.End}
	return shape
}

// settings returns what the configuration in force says.
func (s *Server) settings() gate.Settings {
	if applied := s.o.Gate.Settings(); applied != nil {
		return *applied
	}
	return gate.Settings{}
}

func shapeOverrides(o plan.Overrides) overridesShape {
	return overridesShape{o.Rates, o.Quota, o.Concurrency, unlessZero(o.Until), unlessZero(o.Reason)}
}

func orEmpty(m metadata) metadata {
	if m == nil {
		return metadata{}
	}
	return m
}

// customerFields is what may be set of a customer, as the document that sets it.
func customerFields(c *customer.Customer) map[string]any {
	fields := map[string]any{
		"email": c.Email, "name": c.Name, "external_id": c.ExternalID, "plan": c.Plan,
		"stripe_customer_id": c.StripeCustomer, "metadata": c.Metadata,
		"overrides": shapeOverrides(c.Overrides), "plan_override": c.PlanOverride,
	}
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
	}
	return tree(fields)
}

// tree returns a value as a document holds it, without what is null.
func tree(value map[string]any) map[string]any {
	raw, err := json.Marshal(value)
	if err != nil {
		panic("admin: a record is not JSON: " + err.Error())
	}
	var m map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&m); err != nil {
		panic("admin: a record is not an object: " + err.Error())
	}
	return merged(nil, m)
}

// readCustomer sets the fields of c.
func readCustomer(f *fields, c *customer.Customer) {
	c.Email = readEmail(f, "email")
	c.Name = f.text("name", maxName)
	c.ExternalID = f.text("external_id", maxExternal)
	c.Plan = f.text("plan", 64)
	c.StripeCustomer = f.text("stripe_customer_id", 255)
	c.Metadata = readMetadata(f)
	c.Overrides = plan.Overrides{}
	if o := f.object("overrides"); o != nil {
		c.Overrides = plan.Overrides{
			Rates: readRates(o), Quota: readQuota(o, "quota"), Concurrency: readConcurrency(o, "concurrency"),
			Until: o.when("until"), Reason: o.text("reason", maxReason),
		}
		o.close()
	}
	c.PlanOverride = customer.PlanOverride{}
	if o := f.object("plan_override"); o != nil {
		c.PlanOverride = customer.PlanOverride{Plan: o.text("plan", 64), Until: o.when("until"), Reason: o.text("reason", maxReason)}
		if c.PlanOverride.Plan == "" && (o.has("until") || o.has("reason")) {
			o.fail("plan", "It is required.")
		}
		o.close()
	}
}

func readEmail(f *fields, name string) string {
	email := strings.ToLower(f.text(name, maxEmail))
	if email != "" && !isEmail(email) {
		f.fail(name, "It must be an e-mail address.")
	}
	return email
}

func isEmail(s string) bool {
	at, err := mail.ParseAddress(s)
	return err == nil && at.Address == s && at.Name == ""
}

func readMetadata(f *fields) metadata {
	members, _ := f.member("metadata").(map[string]any)
	if members == nil {
		if f.has("metadata") {
			f.fail("metadata", "It must be an object.")
		}
		return nil
	}
	m, size := make(metadata, len(members)), 0
	for name, value := range members {
		raw, err := json.Marshal(value)
		if err != nil {
			f.fail(join("metadata", name), "It cannot be kept.")
		}
		m[name] = raw
		size += len(name) + len(raw)
	}
	if len(m) > maxList || size > maxMetadata {
		f.fail("metadata", fmt.Sprintf("It may have up to %d members and %d bytes.", maxList, maxMetadata))
	}
	return m
}

// checkPlan makes sure that a plan that a call names is one.
func (s *Server) checkPlan(f *fields, name, plan string) {
	if _, known := s.o.Gate.Plan(plan); plan != "" && !known {
		f.fail(name, "There is no plan "+quoted(plan)+".")
	}
}
