# Everything runs from a virtual environment of the project's own, made on first use.
VENV := .venv
RUN := $(VENV)/bin
EXTRAS := api,worker,standalone,demo,dev
# The first interpreter that is 3.11 or 3.12 and can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)

.PHONY: demo serve test benchmark chaos lint audit format clean help

help:            ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/'

demo: $(VENV)/installed  ## Run the whole journey on real digits, then stop everything it started
	@$(RUN)/python -m examples.digits

serve: $(VENV)/installed  ## Keep an embedded deployment running until Ctrl-C
	@$(RUN)/python -m app.standalone

test: $(VENV)/installed  ## Run all tests, on a PostgreSQL and a Redis of their own
	@$(RUN)/python -m pytest -n 2 --dist loadgroup

benchmark: $(VENV)/installed  ## Compare all unlearning methods with retraining (hours; resumes)
	@$(RUN)/python -m benchmarks.unlearning tune && $(RUN)/python -m benchmarks.unlearning run

chaos: $(VENV)/installed  ## Put a service under hundreds of faults and check its promises (an hour; resumes)
	@$(RUN)/python -m chaos

lint: $(VENV)/installed  ## Formatting, style, types, import contracts, known weaknesses
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/lint-imports --no-cache
	@$(RUN)/mypy
	@$(RUN)/python -m lint.known_weaknesses --environment $(VENV)-audit

audit:           ## Ask PyPI for known weaknesses of every pinned version; fail also when it cannot be asked
	@$(PYTHON) -m lint.known_weaknesses --environment $(VENV)-audit --strict

format: $(VENV)/installed  ## Rewrite the files as the linter wants them
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

clean:           ## Remove the virtual environment and what the demo wrote
	rm -rf $(VENV) $(VENV)-audit demo-output var

$(VENV)/installed: pyproject.toml client/pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "Lethe needs Python 3.11 or 3.12 with the venv module; name one with: make PYTHON=/path/to/python3.12"; exit 1; fi
	@echo "Installing Lethe's pinned dependencies into $(VENV) (once; a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' -e ./client
	@touch $@
