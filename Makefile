UV := scripts/uv
RUN := $(UV) run --locked
IMAGE ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench fuzz soak chaos conformance

help: ## Show this list
	@grep --extended-regexp --no-filename '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed --regexp-extended 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand --tabs=16

setup: ## Install what is missing: Debian's packages, uv, the Python packages
	@scripts/setup

demo: ## Copy and export a bootable disk image; IMAGE=/path/to/disk.qcow2 takes yours
	@scripts/setup $(if $(IMAGE),,demo)
	@$(RUN) python scripts/demo.py $(if $(IMAGE),--image "$(IMAGE)")

# One more than there are cores: many tests wait for leases, outages and retries.
test: PROCESSES = $(shell expr $$(nproc) + 1)
test: setup ## Run the tests; ARGS="-k name" is given to pytest
	$(RUN) pytest --numprocesses=$(PROCESSES) --dist=loadfile $(ARGS)

lint: setup ## Check style, types and the import contracts
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports

format: setup ## Format the code and mend what ruff can mend
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: ## Measure beside cp, qemu-img, restic, borg, casync, curl and bare gRPC; the first time as root
	@scripts/setup bench
	$(RUN) python benchmarks/dataset.py
	$(RUN) python benchmarks/patches.py $(ARGS)
	$(RUN) python benchmarks/exporting.py --image ~/.cache/clouddesktop/bench/base.raw
	$(RUN) python benchmarks/remote.py
	$(RUN) python benchmarks/api.py
	$(RUN) python benchmarks/listing.py

fuzz: setup ## Fuzz our parsers, a minute each; ARGS="-max_total_time=600" for longer, TARGETS="qcow2" for some
	@mkdir -p .fuzz
	@for target in $(or $(TARGETS),probe qcow2 vdi vhd vhdx vmdk gpt ova gz xz bz zst pack manifest chunk nbd); do \
	  mkdir -p .fuzz/$$target; \
	  $(RUN) python fuzz/run.py $$target -artifact_prefix=.fuzz/ $(or $(ARGS),-max_total_time=60) .fuzz/$$target || exit 1; \
	done

soak: setup ## Collect beside copies and deletions for ARGS minutes (10), and print the counts
	SOAK_MINUTES=$(or $(ARGS),10) $(RUN) pytest -s tests/soak

chaos: setup ## Kill and pause servers, workers, PostgreSQL, S3 for ARGS minutes (5); ARGS="5 1234" takes that seed
	CHAOS_MINUTES=$(or $(word 1,$(ARGS)),5) CHAOS_SEED=$(word 2,$(ARGS)) $(RUN) pytest -s -o faulthandler_timeout=0 tests/chaos/test_chaos.py

conformance: setup ## Write docs/conformance.md anew from the tests' marks
	PYTHONPATH=tests $(RUN) python -c "from conformance.page import PAGE, make_conformance; PAGE.write_text(make_conformance().render())"
