# Everything a developer does. `make help` lists it. Runs as root: the tests make real namespaces, mounts and containers.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# What a node needs, then what only tests need.
NODE_PACKAGES := crun runc conmon catatonit containernetworking-plugins iproute2 iptables nftables util-linux busybox-static ca-certificates openssl
VM_PACKAGES := debootstrap qemu-system-x86 qemu-utils e2fsprogs
TEST_PACKAGES := procps docker-registry skopeo umoci containerd

.PHONY: help install packages proto lint types test unit root vm demo bench clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# dpkg-query first: a second run must not wait for apt.
packages: ## install Debian packages that are missing
	@missing=$$(for p in $(NODE_PACKAGES) $(TEST_PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok' || echo $$p; done); \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then echo "installing" $$missing; \
	  export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; \
	  RUNLEVEL=1 apt-get -qq -y install --no-install-recommends $$missing >/dev/null; fi

$(VENV)/.installed: pyproject.toml
	@echo "installing Python packages into $(VENV)"
	@[ -x $(BIN)/python ] || python3 -m venv $(VENV)
	@$(BIN)/pip -q --disable-pip-version-check install -e '.[dev]' 2>&1 | grep -v '^WARNING: Location' || true
	@$(BIN)/python -c 'import podwright, grpc, pytest'
	@touch $@

install: packages $(VENV)/.installed ## install all that a node and the tests need

proto: install ## compile the .proto files, and write the calls of the client
	$(BIN)/python tools/make_proto.py
	$(BIN)/python tools/make_client.py

lint: install ## ruff, import contracts, generated files
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/lint-imports --no-logo --quiet 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/python tools/make_proto.py --check

types: install ## mypy --strict
	$(BIN)/mypy

unit: install ## tests that need no root, with the coverage of wire/
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -m "not root and not vm" tests
	$(BIN)/coverage report

root: install ## tests with real namespaces, mounts and containers
	$(BIN)/pytest -q -m root tests

vm: install ## pods on cgroup v2 with systemd and cgroupfs, in an emulated machine that it builds first (minutes)
	@missing=$$(for p in $(VM_PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing" $$missing; apt-get -qq -y install --no-install-recommends $$missing >/dev/null; fi
	@[ -e build/vm/bookworm/frozen/state ] || { echo "building the machine"; mkdir -p build/vm; tests/vm/make-vm bookworm $(CURDIR)/build/vm/bookworm; }
	$(BIN)/pytest -v -m vm tests/vm

demo: install ## the runtime, an image and a pod, in a few seconds; leaves nothing behind
	@tools/demo

test: install ## everything CI runs
	@$(MAKE) --no-print-directory lint types unit root

bench: install ## Podwright and containerd side by side: docs/benchmarks.md (BENCH="--quick" for some minutes' worth)
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

clean: ## remove what was installed and cached
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
