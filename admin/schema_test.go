// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// schema compares answers with what openapi.json says of them.
type schema struct {
	document map[string]any
	named    map[string]any
}

func newSchema(t testing.TB, s *Server) *schema {
	t.Helper()
	a, err := s.openapi(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		t.Fatal(err)
	}
	c := &schema{}
	if err := json.Unmarshal(raw, &c.document); err != nil {
		t.Fatal(err)
	}
	c.named = c.document["components"].(map[string]any)["schemas"].(map[string]any)
	return c
}

// check fails the test if an answer holds what is not described.
func (c *schema) check(t testing.TB, s *Server, r *http.Request, w *reply) {
	t.Helper()
	kind := w.Header().Get("Content-Type")
	if kind == "application/problem+json" {
		if problem := c.differs(w.json, schemaRef("Problem"), ""); problem != "" {
			t.Errorf("%s: %s", w.call, problem)
		}
		return
	}
	found, err := s.find(r)
	if err != nil {
		t.Errorf("%s: answers %d, but has no route", w.call, w.Code)
		return
	}
	method, path, _ := strings.Cut(found.pattern, " ")
	path = strings.TrimSuffix(path, "{$}")
	responses := c.document["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)["responses"].(map[string]any)
	response, told := responses[strconv.Itoa(w.Code)].(map[string]any)
	if !told {
		t.Errorf("%s: the status %d is not described", w.call, w.Code)
		return
	}
	media, told := response["content"].(map[string]any)[kind].(map[string]any)
	switch {
	case !told && kind != "text/csv; charset=utf-8" && kind != "text/html; charset=utf-8":
		t.Errorf("%s: %s is not described", w.call, kind)
	case kind == "application/x-ndjson":
		for _, line := range w.lines() {
			if problem := c.differs(line, media["schema"].(map[string]any), ""); problem != "" {
				t.Errorf("%s: %s: %v", w.call, problem, line)
			}
		}
	case kind == "application/json":
		if problem := c.differs(w.json, media["schema"].(map[string]any), ""); problem != "" {
			t.Errorf("%s: %s", w.call, problem)
		}
	}
}

// differs says what of value is not as its schema says, or "".
func (c *schema) differs(value any, schema map[string]any, path string) string {
	if ref, is := schema["$ref"].(string); is {
		named, there := c.named[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
		if !there {
			return path + ": there is no schema " + ref
		}
		return c.differs(value, named, path)
	}
	if options, is := schema["anyOf"].([]any); is {
		problem := ""
		for _, one := range options {
			if problem = c.differs(value, one.(map[string]any), path); problem == "" {
				return ""
			}
		}
		return problem
	}
	if wanted, is := schema["const"]; is && wanted != value {
		return fmt.Sprintf("%s: got %v, want %v", path, value, wanted)
	}
	if list, is := schema["enum"].([]any); is && !slices.Contains(list, value) {
		return fmt.Sprintf("%s: %v is none of %v", path, value, list)
	}
	if problem := differsInType(value, schema["type"]); problem != "" {
		return path + ": " + problem
	}
	switch value := value.(type) {
	case []any:
		return c.listDiffers(value, schema, path)
	case map[string]any:
		return c.objectDiffers(value, schema, path)
	}
	return ""
}

func differsInType(value, types any) string {
	is := "null"
	switch value := value.(type) {
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case float64:
		if is = "number"; value == float64(int64(value)) {
			is = "integer"
		}
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	}
	switch types := types.(type) {
	case string:
		if types != is {
			return "is " + is + ", not " + types
		}
	case []any:
		if !slices.Contains(types, any(is)) {
			return fmt.Sprintf("is %s, not one of %v", is, types)
		}
	}
	return ""
}

func (c *schema) listDiffers(list []any, schema map[string]any, path string) string {
	items, is := schema["items"].(map[string]any)
	for i := 0; is && i < len(list); i++ {
		if problem := c.differs(list[i], items, fmt.Sprintf("%s[%d]", path, i)); problem != "" {
			return problem
		}
	}
	return ""
}

func (c *schema) objectDiffers(members map[string]any, schema map[string]any, path string) string {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, there := members[name.(string)]; !there {
			return path + ": " + name.(string) + " is missing"
		}
	}
	for name, value := range members {
		inner, described := properties[name].(map[string]any)
		if !described {
			switch more := schema["additionalProperties"].(type) {
			case bool:
				if !more {
					return path + ": " + name + " is not described"
				}
				continue
			case map[string]any:
				inner = more
			default:
				continue
			}
		}
		if problem := c.differs(value, inner, path+"."+name); problem != "" {
			return problem
		}
	}
	return ""
}

func TestOpenAPIDescribesExactlyWhatIsThere(t *testing.T) {
	a := newAPI(t)
	described := map[string]bool{}
	for path, methods := range a.schema.document["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	routed := map[string]bool{}
	for _, r := range a.routes() {
		pattern := strings.TrimSuffix(r.pattern, "{$}")
		routed[pattern] = true
		if !described[pattern] {
			t.Errorf("%s is not described", pattern)
		}
		op, there := operations[r.pattern]
		if !there || op.summary == "" || op.gives == "" {
			t.Errorf("%s has no operation", r.pattern)
		}
		if (op.takes != "") != (r.body != noBody) {
			t.Errorf("%s: described body %q, but takes %d", r.pattern, op.takes, r.body)
		}
		for _, name := range op.query {
			if parameters[name] == nil {
				t.Errorf("%s: the parameter %s has no schema", r.pattern, name)
			}
		}
		for _, name := range []string{op.takes, strings.TrimPrefix(op.gives, "application/x-ndjson ")} {
			if name != "" && !strings.Contains(name, "/") && a.schema.named[name] == nil {
				t.Errorf("%s: there is no schema %s", r.pattern, name)
			}
		}
	}
	for pattern := range operations {
		if !routed[strings.TrimSuffix(pattern, "{$}")] {
			t.Errorf("%s is described and not there", pattern)
		}
	}
	for pattern := range described {
		if !routed[pattern] {
			t.Errorf("%s is described and not there", pattern)
		}
	}
}

func TestSchemasReferOnlyToSchemas(t *testing.T) {
	c := newAPI(t).schema
	used := map[string]bool{}
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		case map[string]any:
			if ref, is := value["$ref"].(string); is {
				name := strings.TrimPrefix(ref, "#/components/schemas/")
				if used[name] = true; c.named[name] == nil {
					t.Errorf("there is no schema %s", name)
				}
			}
			for _, inner := range value {
				walk(inner)
			}
		}
	}
	walk(c.document)
	for name := range c.named {
		if !used[name] && name != "StreamEvent" { // events have no place in OpenAPI
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
}
