# make demo   run notebooks/quickstart.ipynb on the sandbox; leaves an HTML page and the grid under build/demo/
# make lab    open the same notebook in JupyterLab
# make test-fast  the tests that need no kernel, notebook, sandbox, browser or long wait
# make coverage  test-fast with the coverage of the package; fails below fail_under in pyproject.toml
# make test   every test this machine can run (browser tests need Chromium; with REQUIRE_BROWSER=1 they fail without it)
# make chaos  race processes against a service that fails, and kill them at random (RUNS=..., SEED=...)
# make test-matrix  the tests with the lowest versions, those of Google Colab, ipykernel 6.29, Python 3.11 to 3.14, and the front ends (JOBS=..., TESTS=...)
# make check  ruff, formatting, mypy, the docstrings of the public API, the list of modules, keys in notebooks, the files of .github, and lint-js
# make lint-js  lint and formatting of the widgets' scripts; needs Node, without it nothing is checked
# make bench  the benchmarks, into benchmarks/RESULTS.md; QUICK=1 takes fewer rounds, ONLY=... some of them
# make docs   build the documentation, with every example executed, into build/docs/
# make errors  provoke the errors a user can meet, and write docs/reference/errors.md
# make modules  write the list of modules in docs/architecture.md
# make notebooks  execute the tutorials again, to commit them
# make clean  remove what these commands made, .venv too
#
# PYTHON=... chooses the Python, 3.11 or newer; without it the newest suitable one on the path is taken.

# Hundreds of processes of the tests would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin

# A machine may have a python3.12 that is only a pyenv shim, or a python3 without venv: each is tried, not just found.
define FIND_PYTHON
for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14 python); do \
  if ! "$$python" -c '' >/dev/null 2>&1; then continue; fi; \
  if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then old="$$python"; continue; fi; \
  if ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then bare="$$python"; continue; fi; \
  found="$$python"; break; \
done; \
if [ -z "$$found" ]; then \
  if [ -n "$$bare" ]; then echo "$$bare cannot make virtual environments. Install its venv package (Debian, Ubuntu: apt-get install python3-venv) or name another Python: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.11" >&2; \
  elif [ -n "$$old" ]; then echo "$$old is older than 3.11. Name a newer Python: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.11" >&2; \
  else echo "No Python 3.11 or newer found$(if $(PYTHON), at $(PYTHON)). Install one, or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.11" >&2; fi; \
  exit 1; \
fi
endef

# Many tests wait for a kernel, a server or a page, so four test files run at the same time on two cores.
AT_ONCE := -n 4 --dist loadfile --no-loadscope-reorder

docs: $(VENV)/.installed-docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs 2 -b html docs build/docs
	@echo "build/docs/index.html"

.PHONY: docs demo lab test test-fast coverage test-matrix chaos check lint-js bench errors modules notebooks clean

demo: $(VENV)/.installed-demo
	@$(BIN)/comflowy-nb demo

lab: $(VENV)/.installed-lab
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest $(or $(TESTS),$(AT_ONCE))

# CONTRIBUTING.md lists the tests that it omits.
FAST := -m "not slow and not browser" $(addprefix --ignore=tests/,notebook cli sandbox faults browser)

test-fast: $(VENV)/.installed-test
	@$(BIN)/python -m pytest $(FAST) $(AT_ONCE)

coverage: $(VENV)/.installed-coverage
	@$(BIN)/python -m pytest $(FAST) $(AT_ONCE) --cov --cov-report=term

test-matrix: $(VENV)/.installed-matrix
	@JOBS="$(JOBS)" TESTS="$(TESTS)" UV_PYTHON_DOWNLOADS=never $(BIN)/python tools/test_matrix.py

RUNS ?= 1000

chaos: $(VENV)/.installed-test
	@$(BIN)/python tests/faults/chaos.py --runs $(RUNS) $(if $(SEED),--seed $(SEED))

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_docstrings.py
	$(BIN)/python tools/list_modules.py --check
	$(BIN)/comflowy-nb scan notebooks
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet .
	@$(MAKE) --no-print-directory lint-js

# The scripts are shipped unchanged: npm only installs the tool that checks them. `npx biome check --write` formats.
lint-js: $(if $(shell command -v npm),node_modules/.installed)
	@if command -v npm >/dev/null; then npx biome ci --error-on-warnings; \
	else echo "lint-js: skipped, because there is no npm here (Debian, Ubuntu: apt-get install npm)"; fi

node_modules/.installed: package.json package-lock.json
	@echo "Installing Biome into node_modules ..."
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

bench: $(VENV)/.installed-bench
	@# one peer after the other: one that can't be installed is reported as absent
	@$(BIN)/python benchmarks/peers.py | while read -r peer; do \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$peer" </dev/null || echo "$$peer can't be installed" >&2; done
	@$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

errors: $(VENV)/.installed-test
	@$(BIN)/python tools/provoke_errors.py

modules: $(VENV)/.made
	@$(BIN)/python tools/list_modules.py

notebooks: $(VENV)/.installed-test
	@$(BIN)/python notebooks/execute.py

clean:
	rm -rf $(VENV) build dist node_modules

# One stamp file for each set of packages in pyproject.toml.
$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	@echo "Installing comflowy_nb[$*] into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' || \
	  { echo "The packages could not be installed; pip shows the reason above (no network, disk full?). make $(MAKECMDGOALS) tries again." >&2; exit 1; }
	@touch $@

# A .venv without a working Python, or not completely installed, is created again; a working one is kept.
VENV_WORKS := $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
ifneq ($(shell $(VENV_WORKS) && echo yes),yes)
$(VENV)/.made: FORCE
endif

$(VENV)/.made:
	@if $(VENV_WORKS); then touch $@; exit; fi; \
	$(FIND_PYTHON); \
	echo "Making $(VENV) with $$("$$found" -c 'import sys; print("Python", sys.version.split()[0], "from", sys.executable)') ..."; \
	"$$found" -m venv --clear $(VENV) && touch $@

.PHONY: FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
