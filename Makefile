# WedSync. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The race detector needs a C compiler that works, headers included.
ifndef CGO_ENABLED
CGO_ENABLED := $(shell printf '\043include <stdlib.h>\nint main(void){return 0;}' | cc -xc -o /dev/null - 2>/dev/null && echo 1 || echo 0)
endif
export CGO_ENABLED
GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/wedsync/wedsync/internal/app.Version=$(VERSION)
# The program is compiled with a profile of what it spends its time on, and so is what measures it. The profile does not have
# the name that the compiler looks for by itself, because tests would then compile everything twice.
PGO     := -pgo=cmd/wedsync/cpu.pgo
# Every Go file of the checkout, whatever git thinks of who owns it.
GOFILES  = $(shell find . -name '*.go' -not -path './.*')
RACE    := $(if $(filter 1,$(CGO_ENABLED)),-race,)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: build
build: ## build bin/wedsync (no C compiler needed)
	@echo "building wedsync (the first build compiles its libraries and takes about two minutes on two cores)"
	@CGO_ENABLED=0 $(GO) build $(PGO) -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/wedsync ./cmd/wedsync

.PHONY: run
run: build ## start everything here: Postgres, Temporal with its UI, server, worker, the demo once
	@exec $(BIN)/wedsync dev

.PHONY: demo
demo: build ## tell the main job as a story on a stack of its own, each step asserted
	@$(BIN)/wedsync demo

.PHONY: test
test: ## run every quick test, on real Postgres and the real Temporal server
	@$(GO) run ./tools/prepare
	@$(GO) run ./tools/testrun $(RACE) ./...

.PHONY: interop
interop: ## run the CalDAV suite against real Radicale and Xandikos, and let vdirsyncer and khal read what we write (installs them where it can)
	@bash tools/interop.sh

.PHONY: check
check: fmt-check vet lint workflowcheck test-allocs test-month test ## everything that must hold before a change lands

.PHONY: fmt
fmt: ## format the code
	@gofmt -w $(GOFILES)

.PHONY: fmt-check
fmt-check: ## is everything formatted?
	@bad=$$(gofmt -l $(GOFILES)); if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi

.PHONY: vet
vet: ## go vet
	@$(GO) vet ./...

.PHONY: test-allocs
test-allocs: ## the tests that count allocations, which the race detector would spoil
	@$(GO) test -count=1 -run Allocat ./internal/webhookauth ./internal/ratelimit ./internal/tracing ./server

.PHONY: test-month
test-month: ## the rules for alerts through a whole month of 5,000 healthy connections (half a minute)
	@WEDSYNC_FULL_MONTH=1 $(GO) test -count=1 -run 'Month|Shift|Outage' -v ./internal/rules/alert

.PHONY: lint
lint: ## staticcheck, pinned in tools/lint
	@$(GO) tool -modfile=tools/lint/go.mod staticcheck ./...

.PHONY: workflowcheck
workflowcheck: ## determinism of workflow code
	@$(GO) tool -modfile=tools/lint/go.mod workflowcheck ./workflows/...

.PHONY: histories
histories: ## record workflow histories anew into workflows/testdata (after a change with a version entry)
	@$(GO) test ./workflows -run Histories -update -count=1 -v

.PHONY: pgo
pgo: ## measure anew what the program spends its time on, for the compiler (writes cmd/wedsync/cpu.pgo, 7 minutes)
	@rm -rf .cache/pgo && mkdir -p .cache/pgo/hmac .cache/pgo/eddsa .cache/pgo/full
	@CGO_ENABLED=0 $(GO) build -pgo=off -trimpath -buildvcs=false -o .cache/pgo/bench ./internal/bench/cmd/bench
	@.cache/pgo/bench schemes --integrations 64 --only 'http-message-signatures, hmac' --profile .cache/pgo/hmac
	@.cache/pgo/bench schemes --integrations 64 --only 'jwt EdDSA' --profile .cache/pgo/eddsa
	@.cache/pgo/bench ingest --only full --profile .cache/pgo/full
	@.cache/pgo/bench flow --profile .cache/pgo
	@.cache/pgo/bench conflict --profile .cache/pgo
	@$(GO) run ./tools/pgo -o cmd/wedsync/cpu.pgo .cache/pgo/*.cpu.pprof .cache/pgo/*/*.cpu.pprof

.PHONY: bench-ingest
bench-ingest: ## measure webhook intake: accept, full, naive, raw
	@$(GO) run $(PGO) ./internal/bench/cmd/bench ingest

.PHONY: bench-schemes
bench-schemes: ## measure webhook intake with each scheme, from messages signed ahead
	@$(GO) run $(PGO) ./internal/bench/cmd/bench schemes

.PHONY: bench-flow
bench-flow: ## measure webhook to applied and to the live stream, steady and in a burst
	@$(GO) run $(PGO) ./internal/bench/cmd/bench flow

.PHONY: bench-fairness
bench-fairness: ## measure what a noisy organisation does to quiet ones
	@$(GO) run $(PGO) ./internal/bench/cmd/bench fairness

.PHONY: bench-conflict
bench-conflict: ## measure apply with detection at 100,000 and 1,000,000 bookings, a hot resource, availability, who is free, suggestions
	@$(GO) run $(PGO) ./internal/bench/cmd/bench conflict

.PHONY: bench-conflict-10m
bench-conflict-10m: ## the same, and apply with detection at 10,000,000 bookings
	@$(GO) run $(PGO) ./internal/bench/cmd/bench conflict --huge 10000000

.PHONY: bench-stream
bench-stream: ## measure 5,000 idle live streams: memory, processor, time until an event reaches all
	@$(GO) run $(PGO) ./internal/bench/cmd/bench stream

.PHONY: bench-monitor
bench-monitor: ## measure the probing of 5,000 connections every 30 s while a platform dies: lag, detection, processor, memory, history (11 minutes)
	@$(GO) run $(PGO) ./internal/bench/cmd/bench monitor

.PHONY: bench-sync
bench-sync: ## measure syncs of 10,000 events from CalDAV and from a simulated Google, beside vdirsyncer (5 minutes)
	@$(GO) run $(PGO) ./internal/bench/cmd/bench sync

.PHONY: bench-vendors
bench-vendors: ## measure 5,000 connected systems with one change each a minute: applied p99, processor, memory (15 minutes)
	@$(GO) run $(PGO) ./internal/bench/cmd/bench vendors

.PHONY: chaos-ingest
chaos-ingest: ## kill server, Postgres and Temporal under load, 20 times per point, and check (10 minutes)
	@$(GO) run ./internal/chaos/cmd/chaos ingest

.PHONY: chaos-failover
chaos-failover: ## take hooks, systems and credentials away under load, 30 times, and check that each change arrived once (7 minutes)
	@$(GO) run ./internal/chaos/cmd/chaos failover

.PHONY: chaos-check
chaos-check: ## a short run of both, and of programs that are wrong on purpose, which must be found out (5 minutes)
	@$(GO) test ./internal/chaos/... -count=1 -v

.PHONY: zone-tables
zone-tables: ## write the Windows and IANA zone names anew from CLDR (needs npm)
	@$(GO) generate ./internal/rules/calendartime

.PHONY: compose-check
compose-check: ## validate docker-compose.yml with what is installed
	@$(GO) run ./tools/composecheck docker-compose.yml

.PHONY: clean
clean: ## remove what was built; state in .wedsync stays
	@rm -rf $(BIN)
