# Everything runs from .venv, which the first target that needs it makes.
# `make demo` and `make test` need Python 3.11 or later, pip and make; no root and no services.
PYTHON ?= python3
# Behind a proxy with a certificate of its own, only the system knows whom to trust.
export UV_SYSTEM_CERTS ?= true
UV := .venv/bin/uv
RUN := .venv/.run
DEV := .venv/.dev

.PHONY: demo up test test-all lint fix bench dev lock clean

demo: $(RUN)        ## mirror a sample dataset through a whole fleet: make demo ARGS=--json
	@.venv/bin/fleet demo $(ARGS)

up: $(RUN)          ## run a whole fleet on this machine until Ctrl-C
	@.venv/bin/fleet up $(ARGS)

test: $(DEV)        ## the suite that must always pass, on every core: make test ARGS=-x
	.venv/bin/pytest -n auto --dist worksteal $(ARGS)

test-all: $(DEV)    ## the slow tests too, those that go by the clock by themselves
	.venv/bin/pytest -n auto --dist worksteal $(ARGS)
	.venv/bin/pytest -n auto --dist loadfile -m "slow and not alone" $(ARGS)
	.venv/bin/pytest -m alone $(ARGS)

lint: $(DEV)        ## every gate
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

fix: $(DEV)         ## what the tools can mend by themselves
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: $(RUN)       ## one benchmark: make bench NAME=pull ARGS=--json
	@.venv/bin/python -m benchmarks.$(NAME) $(ARGS)

dev: $(DEV)         ## everything to work on Fleet

lock: $(UV)         ## pin the newest versions that pyproject.toml allows, with hashes
	$(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --upgrade --quiet --output-file requirements/run.txt
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --upgrade --quiet \
	  --constraint requirements/run.txt --output-file requirements/dev.txt

clean:
	rm -rf .venv

$(UV):
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or \
	  sys.exit("Fleet needs Python 3.11 to 3.13, not %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements/uv.txt

$(RUN): requirements/run.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --python .venv --require-hashes -r requirements/run.txt
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --python .venv --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@ $(RUN)
