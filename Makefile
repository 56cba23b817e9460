# SPDX-License-Identifier: Apache-2.0
# Tools are pinned here and run by `go run`, so that nobody who builds a Caddy
# with Keytoll gets their dependencies.
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULN   := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME ?= 60s

# The profile of examples/caddy would have all of Caddy compiled once more for
# every check; only `make build` and `make bench` build what is shipped.
lint fix test race fuzz: export GOFLAGS += -pgo=off

.PHONY: check lint fix test race fuzz bench crash build vuln

check: lint race ## all that must hold before a commit lands

lint:
	go vet ./...
	go fix -diff ./...
	$(GOLANGCI) run

fix:
	go fix ./...
	$(GOLANGCI) fmt
	$(GOLANGCI) run --fix

test:
	go test ./...

# The crash judge and the bench load real processes for minutes: `make test` runs them.
race:
	go test -race -timeout 20m $$(go list ./... | grep -vE '/examples/(crash|bench)')

# fuzz runs every fuzz target for FUZZTIME, one after the other.
fuzz:
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6- | sort -u); do \
			echo "fuzz $$dir $$target $(FUZZTIME)"; \
			go test $$dir -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME); \
		done; \
	done

# bench prints the cost of each step of a decision, then what the gate costs a
# whole request, beside plain Caddy. BENCH='-keys 0' leaves out a million keys.
bench:
	go test ./plugin/... -run '^$$' -bench . -benchmem
	go run ./examples/bench $(BENCH)

# crash judges what is promised through kills, power cuts, full disks and
# leaping clocks, and prints the figures. `go test ./examples/crash` is its short form.
KILLS  ?= 500
IMAGES ?= 500
crash:
	go test ./examples/crash -v -timeout 60m -kills $(KILLS) -images $(IMAGES) -models 500 -full 30s

build:
	go build -o bin/caddy ./examples/caddy

vuln:
	$(GOVULN) ./...

# image runs the steps of xcaddy.Dockerfile that need no container engine.
.PHONY: image
image:
	sh examples/container/steps.sh
