// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/keytoll/keytoll/"

// imports is the import table: which packages of the product, and which
// modules beside the standard library, a package may import. Arrows point
// down; a package without a row fails the test.
var imports = map[string]string{
	".":               "",
	"id":              "",
	"plan":            "",
	"apikey":          "plan",
	"customer":        "plan",
	"usage":           "plan",
	"limit":           "plan",
	"store":           "apikey customer plan",
	"store/ordered":   "apikey customer plan store",
	"store/storetest": "apikey customer plan store",
	"store/memstore":  "apikey customer plan store store/ordered",
	"store/boltstore": "apikey customer plan store store/ordered go.etcd.io/bbolt",
	"meter":           "apikey plan store usage golang.org/x/sys",
	"gate":            "apikey customer id limit meter plan store usage",
}

// forTests is what tests may import beside that.
const forTests = "store/memstore store/boltstore store/storetest customer go.uber.org/goleak"

// foreign is what nothing in the product may import: it knows no HTTP server.
var foreign = []string{"net/http", "expvar", "testing/quick"}

// eachFile calls fn for each Go file below this directory.
func eachFile(t *testing.T, fn func(pkg string, test bool, file *ast.File, at func(ast.Node) token.Position)) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		fn(pkg, strings.HasSuffix(name, "_test.go"), file, func(n ast.Node) token.Position { return files.Position(n.Pos()) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsPointDown(t *testing.T) {
	seen := map[string]bool{}
	eachFile(t, func(pkg string, test bool, file *ast.File, at func(ast.Node) token.Position) {
		seen[pkg] = true
		row, ok := imports[pkg]
		if !ok {
			t.Errorf("%s: package %s has no row in the import table", at(file), pkg)
			return
		}
		allowed := strings.Fields(row)
		if test {
			allowed = append(append(allowed, strings.Fields(forTests)...), pkg)
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !mayImport(name, allowed) {
				t.Errorf("%s: %s may not import %s", at(spec), pkg, name)
			}
		}
	})
	for pkg := range imports {
		if !seen[pkg] {
			t.Errorf("the import table has a row for %s, which is no package", pkg)
		}
	}
}

func mayImport(name string, allowed []string) bool {
	if own, ok := strings.CutPrefix(name, module+"plugin/"); ok {
		return slices.Contains(allowed, own)
	}
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return !slices.ContainsFunc(foreign, func(f string) bool { return name == f || strings.HasPrefix(name, f+"/") })
	}
	return slices.ContainsFunc(allowed, func(a string) bool { return name == a || strings.HasPrefix(name, a+"/") })
}

func TestTheImportTableRefusesWhatItShould(t *testing.T) {
	for name, want := range map[string]bool{
		"time": true, "crypto/sha256": true, module + "plugin/plan": true, "go.etcd.io/bbolt": true, "go.etcd.io/bbolt/errors": true,
		"net/http": false, "net/http/httptest": false, module + "plugin/gate": false, module + "admin": false, module + "caddymodule": false,
		"github.com/caddyserver/caddy/v2": false, "github.com/prometheus/client_golang/prometheus": false, "github.com/stripe/stripe-go/v76": false,
		"go.etcd.io/bboltish": false,
	} {
		if got := mayImport(name, []string{"plan", "go.etcd.io/bbolt"}); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// The product is told what time it is: else nothing of it could be tested.
func TestNothingReadsTheClock(t *testing.T) {
	eachFile(t, func(_ string, test bool, file *ast.File, at func(ast.Node) token.Position) {
		if test {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Now" {
				if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" {
					t.Errorf("%s: time.Now: take now as a value, or Now as a function", at(selector))
				}
			}
			return true
		})
	})
}

func TestEachFileNamesItsLicense(t *testing.T) {
	eachFile(t, func(_ string, _ bool, file *ast.File, at func(ast.Node) token.Position) {
		if len(file.Comments) == 0 || file.Comments[0].List[0].Text != "// SPDX-License-Identifier: Apache-2.0" {
			t.Errorf("%s: the SPDX line is missing", at(file))
		}
	})
}
