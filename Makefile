# What one needs to try, test and measure ProxyMgr. Each target does its own set-up on Debian 12 with Rust.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# cargo install puts its programs there, also when the PATH does not say so.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: help demo test test-versions bench man deb image test-packages
.PHONY: dependencies-demo dependencies-bench dependencies-test dependencies-deb dependencies-image dependencies-test-packages

help: ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: dependencies-demo ## ProxyMgr with three small servers: see it follow a file
	@exec packaging/demo

test: dependencies-test ## format, lints, licences, documentation tests, all tests; some of them with HAProxy 3.4 too
	@packaging/test

test-versions: dependencies-test ## all tests against HAProxy 2.6, 3.0, 3.2 and 3.4, fetched from Debian's later releases
	@packaging/test-versions

bench: dependencies-bench ## the figures of the README, measured on this machine
	@cargo bench --locked

man: ## manual pages and shell completions, in target/manual/
	@packaging/manual

deb: dependencies-deb ## the Debian package, in target/debian/
	@packaging/deb

image: dependencies-image ## the container image, in target/image/, without a registry
	@packaging/image

test-packages: dependencies-test-packages ## both, installed and run: in a machine of its own, and by a dockerd of its own
	@packaging/tests/run

dependencies-demo:
	@packaging/install-dependencies demo

dependencies-bench:
	@packaging/install-dependencies bench

dependencies-test:
	@packaging/install-dependencies test

dependencies-deb:
	@packaging/install-dependencies deb

dependencies-image:
	@packaging/install-dependencies image

dependencies-test-packages:
	@packaging/install-dependencies test-packages
