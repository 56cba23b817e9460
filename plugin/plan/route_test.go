// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func compile(t testing.TB, routes ...Route) *Routes {
	t.Helper()
	r, err := CompileRoutes(routes, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found names the route of a request; "ambiguous" and "none" are no names.
func found(r *Routes, method, path string) string {
	route, err := r.Match(method, path)
	switch {
	case err != nil:
		return "(" + err.Error() + ")"
	case route == nil:
		return "(none)"
	}
	return route.Name
}

const ambiguous = "(path can be read in two ways)"

func TestTheMostLiteralPatternWins(t *testing.T) {
	routes := compile(t,
		Route{Name: "all", Pattern: "/v1/*"},
		Route{Name: "models", Pattern: "/v1/models"},
		Route{Name: "model", Pattern: "/v1/models/*"},
		Route{Name: "files", Pattern: "/v1/*/files"},
		Route{Name: "file", Pattern: "/v1/*/files/*/content"},
		Route{Name: "post", Methods: []string{"POST"}, Pattern: "/v1/models"},
		Route{Name: "read", Methods: []string{"GET"}, Pattern: "/read"},
		Route{Name: "change", Methods: []string{"PUT", "PATCH"}, Pattern: "/read"},
		Route{Name: "head", Methods: []string{"HEAD"}, Pattern: "/headed"},
		Route{Name: "headed", Methods: []string{"GET"}, Pattern: "/headed"},
		Route{Name: "first", Pattern: "/tie/*/b"},
		Route{Name: "second", Pattern: "/tie/b/*"},
		Route{Name: "accent", Pattern: "/café"},
	)
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/v1/models", "models"},
		{"POST", "/v1/models", "post"},
		{"DELETE", "/v1/models", "models"},
		{"GET", "/v1/models/a", "model"},
		{"GET", "/v1/models/a/b", "model"},
		{"GET", "/v1/models/files", "model"},
		{"GET", "/v1/a/files", "files"},
		{"GET", "/v1/a/files/b/content", "file"},
		{"GET", "/v1/a/files/b", "all"},
		{"GET", "/v1/", "all"},
		{"GET", "/v1", DefaultRoute},
		{"GET", "/v10/models", DefaultRoute},
		{"GET", "/", DefaultRoute},
		{"GET", "", DefaultRoute},
		{"OPTIONS", "*", DefaultRoute},
		{"GET", "/read", "read"},
		{"HEAD", "/read", "read"},
		{"PATCH", "/read", "change"},
		{"POST", "/read", DefaultRoute},
		{"HEAD", "/headed", "head"},
		{"GET", "/headed", "headed"},
		{"GET", "/tie/b/b", "first"},
		{"GET", "/tie/b/c", "second"},
		{"GET", "/READ", DefaultRoute},
		{"get", "/read", DefaultRoute},
		{"GET", "/caf%C3%A9", "accent"},
		{"GET", "/caf%c3%a9", "accent"},
		{"GET", "/r%65ad", "read"},
		{"GET", "/v1/.well-known", "all"},
		{"GET", "/v1/...", "all"},
	} {
		if got := found(routes, c.method, c.path); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func TestASlashAtTheEndBuysNoOtherPrice(t *testing.T) {
	routes := compile(t,
		Route{Name: "chat", Pattern: "/v1/chat", Cost: Cost{Units: 20}},
		Route{Name: "cheap", Pattern: "/v1/*"},
		Route{Name: "dir", Pattern: "/dir/"},
	)
	for path, want := range map[string]string{
		"/v1/chat/": "chat", "/v1/chat": "chat", "/v1/chat//": ambiguous, "/v1/chat/x": "cheap",
		"/dir": "dir", "/dir/": "dir", "/dir/x": DefaultRoute,
	} {
		if got := found(routes, "GET", path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestAPathThatCanBeReadAsAnotherRouteIsRefused(t *testing.T) {
	routes := compile(t,
		Route{Name: "chat", Pattern: "/v1/chat/completions", Cost: Cost{Units: 20}},
		Route{Name: "health", Pattern: "/health/*", Public: true},
		Route{Name: "images", Pattern: "/v1/images/*", Cost: Cost{Units: 5}},
	)
	for _, path := range []string{
		"/v1//chat/completions", "//v1/chat/completions", "/v1/chat//completions",
		"/v1/./chat/completions", "/v1/x/../chat/completions", "/v1/chat/completions/.", "/v1/chat/completions/x/..",
		"/v1%2fchat/completions", "/v1%2Fchat%2Fcompletions", "/v1/chat%252fcompletions",
		"/v1/%2e/chat/completions", "/v1/x/%2e%2E/chat/completions", "/v1/x/.%2e/chat/completions",
		"/v1/%252e/chat/completions",
		"/v1/chat;x=1/completions", "/v1/chat/completions;jsessionid=1", "/v1/chat/completions%3Bx",
		`/v1\chat\completions`, "/v1%5Cchat/completions", "/v1%255Cchat/completions",
		"/v1%c0%afchat/completions", "/v1/%c0%ae/chat/completions", "/v1/%e0%80%ae/chat/completions", "/v1/%f0%80%80%ae/chat/completions",
		"/v1/chat/completions%00", "/v1/chat/completions%00.html", "/v1/chat/completions%2500",
		"/health/../v1/chat/completions", "/health/..;/v1/chat/completions", "/health/..;x/v1/chat/completions",
		"/health/%2e%2e/v1/chat/completions", "/health/..%2fv1/chat/completions", `/health/..\v1\chat\completions`,
		"/health/..%5cv1/chat/completions", "/health/%2e%2e;a=b/v1/chat/completions",
		"/v1/chat/completions%", "/v1/chat/completions%2", "/v1/chat/completions%zz", "/x%u002f",
		"/y//../v1/chat/completions", "/v1//../chat/completions//",
		"/v1/images/../../health/x", "/health/../x", "/x//;/../../..%2f%5c%00",
		"v1/chat/completions", "http://h/v1",
		"/" + strings.Repeat("a", maxSuspicious) + "//",
	} {
		if got := found(routes, "GET", path); got != ambiguous {
			t.Errorf("%s: got %s, want it refused", path, got)
		}
	}
	for path, want := range map[string]string{
		"/v1/images/a%2Fb":                "images",
		"/v1/images/a//b":                 "images",
		"/v1/images/a;x=1":                "images",
		"/v1/images/a%252fb":              "images",
		"/v1/images/a%20b":                "images",
		"/v1/images/x/../y":               "images",
		"/v1/images/%f0%9f%8d%95":         "images",
		"/other//path":                    DefaultRoute,
		"/other/%2e%2e/x":                 DefaultRoute,
		"/search/a%2Fb;c":                 DefaultRoute,
		"/v1/chat%20completions":          DefaultRoute,
		"/v1/chat/completions%20":         DefaultRoute,
		"/" + strings.Repeat("a", 9000):   DefaultRoute,
		"/" + strings.Repeat("%41", 9000): DefaultRoute,
	} {
		if got := found(routes, "GET", path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestWithoutRoutesEveryPathIsTheDefault(t *testing.T) {
	bare := compile(t)
	for _, path := range []string{"/", "/a//b", "/%zz", "/../..", "nonsense", ""} {
		if got := found(bare, "GET", path); got != DefaultRoute {
			t.Errorf("%q: got %s, want %s", path, got, DefaultRoute)
		}
	}
}

func TestRoutesOnlyKnowsNoDefault(t *testing.T) {
	only, err := CompileRoutes([]Route{{Name: "a", Methods: []string{"GET"}, Pattern: "/a"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/a", "a"}, {"HEAD", "/a", "a"}, {"POST", "/a", "(none)"}, {"GET", "/b", "(none)"}, {"GET", "/b/../a", ambiguous},
	} {
		if got := found(only, c.method, c.path); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.method, c.path, got, c.want)
		}
	}
	if all := only.All(); len(all) != 1 || all[0].Name != "a" {
		t.Errorf("All: got %v, want the one route", all)
	}
}

func TestCompiledRoutesHaveDefaults(t *testing.T) {
	all := compile(t, Route{Name: "a", Pattern: "/a"}, Route{Name: "b", Pattern: "/b", Unit: "tokens", Cost: Cost{Units: 7}}).All()
	if len(all) != 3 || all[2].Name != DefaultRoute {
		t.Fatalf("All: got %d routes, want a, b and the default last", len(all))
	}
	if a := all[0]; a.Unit != Requests || a.Cost.Units != 1 {
		t.Errorf("a costs %d %s, want 1 request", a.Cost.Units, a.Unit)
	}
	if b := all[1]; b.Unit != "tokens" || b.Cost.Units != 7 {
		t.Errorf("b costs %d %s, want 7 tokens", b.Cost.Units, b.Unit)
	}
}

func TestChargesAllButUpstreamFailures(t *testing.T) {
	plainly := Route{}
	for status, want := range map[int]bool{101: true, 200: true, 304: true, 404: true, 408: false, 429: false, 499: true, 500: false, 503: false} {
		if got := plainly.Charges(status); got != want {
			t.Errorf("%d by default: got %v, want %v", status, got, want)
		}
	}
	chosen := Route{ChargeOn: []StatusRange{{200, 299}, {500, 500}}}
	for status, want := range map[int]bool{200: true, 299: true, 300: false, 500: true, 501: false} {
		if got := chosen.Charges(status); got != want {
			t.Errorf("%d where 2xx and 500 are charged: got %v, want %v", status, got, want)
		}
	}
}

func TestAWrongRouteNamesItsWord(t *testing.T) {
	good := Route{Name: "good", Methods: []string{"GET"}, Pattern: "/good"}
	for _, c := range []struct {
		route Route
		word  string
	}{
		{Route{Name: "default", Pattern: "/a"}, "default"},
		{Route{Name: "A", Pattern: "/a"}, "A"},
		{Route{Name: "", Pattern: "/a"}, ""},
		{Route{Name: strings.Repeat("a", 65), Pattern: "/a"}, strings.Repeat("a", 65)},
		{Route{Name: "good", Pattern: "/a"}, "good"},
		{Route{Name: "a", Methods: []string{"GET"}, Pattern: "/good"}, "GET /good"},
		{Route{Name: "a", Methods: []string{"POST", "GET"}, Pattern: "/good/"}, "GET /good/"},
		{Route{Name: "a", Methods: []string{"get"}, Pattern: "/a"}, "get"},
		{Route{Name: "a", Methods: []string{""}, Pattern: "/a"}, ""},
		{Route{Name: "a", Methods: []string{"TRACE"}, Pattern: "/a"}, "TRACE"},
		{Route{Name: "a", Methods: []string{"PUT", "PUT"}, Pattern: "/a"}, "PUT"},
		{Route{Name: "a", Pattern: ""}, ""},
		{Route{Name: "a", Pattern: "a"}, "a"},
		{Route{Name: "a", Pattern: "/a//b"}, "/a//b"},
		{Route{Name: "a", Pattern: "/a/../b"}, "/a/../b"},
		{Route{Name: "a", Pattern: "/a*"}, "/a*"},
		{Route{Name: "a", Pattern: "/*a/b"}, "/*a/b"},
		{Route{Name: "a", Pattern: "/a%20b"}, "/a%20b"},
		{Route{Name: "a", Pattern: "/a?b"}, "/a?b"},
		{Route{Name: "a", Pattern: "/a;b"}, "/a;b"},
		{Route{Name: "a", Pattern: "/a\xff"}, "/a\xff"},
		{Route{Name: "a", Pattern: "/a", Unit: "calls"}, "calls"},
		{Route{Name: "a", Pattern: "/a", Scope: "a b"}, "a b"},
		{Route{Name: "a", Pattern: "/a", Cost: Cost{Units: -1}}, "unlimited"},
		{Route{Name: "a", Pattern: "/a", Cost: Cost{Units: MaxCount + 1}}, "9007199254740993"},
		{Route{Name: "a", Pattern: "/a", Cost: Cost{Header: "X-Usage", JSON: "usage"}}, "usage"},
		{Route{Name: "a", Pattern: "/a", Cost: Cost{Header: "X Usage"}}, "X Usage"},
		{Route{Name: "a", Pattern: "/a", Cost: Cost{JSON: "usage..total"}}, "usage..total"},
		{Route{Name: "a", Pattern: "/a", Public: true, Cost: Cost{Units: 2}}, "public"},
		{Route{Name: "a", Pattern: "/a", Public: true, Scope: "chat"}, "public"},
		{Route{Name: "a", Pattern: "/a", Rates: []Rate{{}}}, "0 /0s"},
		{Route{Name: "a", Pattern: "/a", ChargeOn: []StatusRange{{99, 200}}}, "99-200"},
	} {
		_, err := CompileRoutes([]Route{good, c.route}, false)
		var wrong *RouteError
		if !errors.As(err, &wrong) {
			t.Errorf("%+v: got %v, want a RouteError", c.route, err)
		} else if wrong.Word != c.word || wrong.Route != c.route.Name {
			t.Errorf("%+v: blames %q of route %q, want %q", c.route, wrong.Word, wrong.Route, c.word)
		}
	}
}

func TestMatchingAPlainPathAllocatesNothing(t *testing.T) {
	routes := compile(t, Route{Name: "a", Pattern: "/v1/a/*"}, Route{Name: "b", Methods: []string{"POST"}, Pattern: "/v1/*/b"})
	allocations := testing.AllocsPerRun(100, func() {
		if route, err := routes.Match("POST", "/v1/x/b"); err != nil || route.Name != "b" {
			t.Fatalf("got %v, %v", route, err)
		}
	})
	if allocations != 0 {
		t.Errorf("got %v allocations, want 0", allocations)
	}
}

// Every reading of a path that Match accepts, by whatever server, is the route
// that Match names. The judge is made of what servers are known to do.
func FuzzNoServerReadsAnotherRoute(f *testing.F) {
	for _, seed := range []string{
		"/v1/chat/completions", "/v1//chat/completions", "/health/..;/v1/chat/completions", "/v1%2fchat%252fcompletions",
		`/v1\chat`, "/v1/%c0%ae%c0%ae/x", "/a%00/b", "/%", "/v1/images/a%2f..%2f..%2fchat/completions", "/x//../v1//chat/completions",
	} {
		f.Add(seed)
	}
	routes, err := CompileRoutes([]Route{
		{Name: "chat", Pattern: "/v1/chat/completions"},
		{Name: "images", Pattern: "/v1/images/*"},
		{Name: "file", Pattern: "/v1/*/files"},
		{Name: "health", Pattern: "/health", Public: true},
	}, false)
	if err != nil {
		f.Fatal(err)
	}
	unescape := func(s string) string {
		if u, err := url.PathUnescape(s); err == nil {
			return u
		}
		return s
	}
	servers := map[string]func(string) string{
		"decodes":             unescape,
		"decodes twice":       func(s string) string { return unescape(unescape(s)) },
		"cleans":              func(s string) string { return mergeSlashes(resolveDots(mergeSlashes(unescape(s)))) },
		"resolves only":       func(s string) string { return resolveDots(unescape(s)) },
		"merges at the end":   func(s string) string { return mergeSlashes(resolveDots(unescape(s))) },
		"cleans undecoded":    func(s string) string { return unescape(resolveDots(mergeSlashes(s))) },
		"is Tomcat":           func(s string) string { return resolveDots(mergeSlashes(unescape(dropParameters(s)))) },
		"takes backslashes":   func(s string) string { return resolveDots(strings.ReplaceAll(unescape(s), `\`, "/")) },
		"ends at a zero byte": func(s string) string { before, _, _ := strings.Cut(unescape(s), "\x00"); return before },
		"is lax with UTF-8":   func(s string) string { return resolveDots(foldOverlong(unescape(s))) },
	}
	f.Fuzz(func(t *testing.T, path string) {
		route, err := routes.Match("GET", path)
		if err != nil {
			return
		}
		for name, server := range servers {
			candidates := routes.anyOther
			if read := server(path); strings.HasPrefix(read, "/") && routes.find(candidates, read) != route {
				t.Errorf("%q is route %s, but a server that %s serves %q, which is %s",
					path, route.Name, name, read, routes.find(candidates, read).Name)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var list []Route
	for name := range strings.FieldsSeq("a b c d e f g h i j") {
		list = append(list, Route{Name: name, Methods: []string{"POST"}, Pattern: "/v1/" + name + "/completions"})
	}
	routes := compile(b, list...)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = routes.Match("POST", "/v1/j/completions")
		}
	})
	b.Run("escaped", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = routes.Match("POST", "/v1/a%2Fb/x")
		}
	})
}
