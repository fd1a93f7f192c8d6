# make help lists the targets.
PYTHON ?= python3
TORCH := 2.13.0
VENV := .venv
TEST := .venv-test
export PYTHONUTF8 := 1
# the tests start hundreds of processes: what is compiled once is kept, wherever the shell says otherwise
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check slow prove bench bench-engine screenshots docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -e ".[local,serve]"
	touch $@

$(TEST)/.ready: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python -m pip install -q torch==$(TORCH)
	$(TEST)/bin/python -m pip install -q -e ".[dev]"
	touch $@

# the browser of the distribution, where it is missing and may be installed; without it its tests skip and say so
$(TEST)/.browser: $(TEST)/.ready
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  root=; test "$$(id -u)" = 0 || root="sudo -n"; \
	  command -v apt-get >/dev/null && $$root true 2>/dev/null && $$root apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends chromium; \
	} || echo "no Chromium, and it cannot be installed here: the tests of the page in a browser are skipped"
	@touch $@

demo: $(VENV)/.ready ## set up, fetch the embedded models, fit, evaluate, show lists and write a report
	$(VENV)/bin/hexarec models install
	$(VENV)/bin/hexarec demo

test: $(TEST)/.ready $(TEST)/.browser ## set up and run the tests (no network, no embedded models)
	$(TEST)/bin/python -m pytest -n 3 --dist loadfile

check: $(TEST)/.ready ## lint, types, layers, spelling, generated docs
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports
	$(TEST)/bin/codespell README.md CONTRIBUTING.md CHANGELOG.md docs src tests benchmarks examples
	$(TEST)/bin/python -m hexarec.cli.docs --check

slow: $(TEST)/.ready ## tests with the embedded models and real data (HEXAREC_DATA names its folder)
	$(TEST)/bin/hexarec models install
	$(TEST)/bin/python -m pytest -m slow --timeout 1800

prove: $(TEST)/.ready ## the server's promises at length: kills, faults, attacks, load (about an hour; docs/reliability.md)
	$(TEST)/bin/python -m pytest tests/serve tests/cli/serving -m slow --timeout 3600
	$(TEST)/bin/python benchmarks/store.py
	$(TEST)/bin/python benchmarks/serving.py --soak 600

bench: $(TEST)/.ready ## ratios against peers, side by side in one run, in environments of their own
	$(TEST)/bin/python benchmarks/peers.py

bench-engine: $(TEST)/.ready ## the torch engine beside its peers, in turns, in one run (HEXAREC_DATA names its folder)
	$(TEST)/bin/hexarec models install
	$(TEST)/bin/python benchmarks/engine.py

screenshots: $(TEST)/.ready $(TEST)/.browser ## pictures of every page, both languages and themes, into build/screenshots
	$(TEST)/bin/hexarec models install
	$(TEST)/bin/python tests/page/screenshots.py

docs: $(TEST)/.ready ## write the generated parts of README and docs
	$(TEST)/bin/python -m hexarec.cli.docs

clean: ## remove environments, caches and run folders
	rm -rf $(VENV) $(TEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist demo
