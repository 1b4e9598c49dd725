# The verbs of this project. What `make help` does not list is not supported.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-cluster test-iso lint format images pins bench bench-cluster

bin := .venv/bin
# the answer files' scripts are Jinja texts
shell_scripts = $(shell git ls-files '*.sh' .ci/run ':!templates/answers')

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (says what and why first) and make .venv
	@scripts/setup.sh
	@echo "Ready. Try: make demo, or $(bin)/goldenpipe serve"

demo: ## make a golden image on this machine, boot a copy of it and look inside (about 6 minutes)
	@scripts/setup.sh
	@$(bin)/python demo $(DEMO)

test: ## run all tests, with one real build if QEMU is here (within 10 minutes); TEST="-k word" to choose
	@scripts/setup.sh test
	@$(bin)/pytest -n auto --maxprocesses 4 --dist worksteal $(TEST)

test-cluster: ## the tests that need a real Kubernetes control plane (builds it first, once: 10 minutes and Go); TEST="-k word" to choose
	@scripts/setup.sh cluster
	@KUBEBUILDER_ASSETS="$$(tests/cluster/controlplane/build.sh)" && export KUBEBUILDER_ASSETS && \
		$(bin)/pytest -m cluster -n 2 --dist loadfile $(TEST)

test-iso: ## Debian's own installer through the whole pipeline, and what else boots from ISOs (40 minutes without KVM); TEST="-k word" to choose
	@scripts/setup.sh iso
	@$(bin)/pytest -m iso -s $(TEST)

lint: ## ruff, mypy, import-linter, shellcheck
	@scripts/setup.sh test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	shellcheck --external-sources $(shell_scripts)

format: ## let ruff format the Python and mend what it can
	@scripts/setup.sh
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

images: ## build both container images with buildah, podman or docker; BASE=IMAGE and REGISTRY=HOST/ to choose
	@scripts/images.sh

pins: ## write the exact versions of .venv into the images' requirements.txt
	@$(bin)/python scripts/pins.py

bench: ## time a build against Packer and virt-customize, where they are installed
	@scripts/setup.sh
	@$(bin)/python bench/overhead.py
	@$(bin)/python bench $(BENCH)

bench-cluster: ## time hundreds of builds on a real control plane (builds that first, once); BUILDS=500 IN_FLIGHT=50 to choose
	@scripts/setup.sh
	@KUBEBUILDER_ASSETS="$$(tests/cluster/controlplane/build.sh)" && export KUBEBUILDER_ASSETS && \
		PYTHONPATH=tests $(bin)/python bench/cluster.py --builds $(or $(BUILDS),500) --in-flight $(or $(IN_FLIGHT),50)
