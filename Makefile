# Two commands do all the set-up: `make demo` and `make test`. Both install what is missing, after saying so.
.PHONY: demo test check lint unit e2e audit bench venv docs

FAB := .venv/bin/fab
PY := .venv/bin/python

demo: venv
	$(PY) -m tests.demo

# First what needs no lab, on all processors, then the lab alone on the machine: its tests look at times.
test: venv-tests lint
	$(PY) -m pytest -m "not e2e" -n auto --dist loadfile
	$(PY) -m pytest -m e2e

check: venv-tests lint unit

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

unit: venv-tests
	$(PY) -m pytest -m "not e2e" -n auto --dist loadfile

e2e: venv-tests
	$(PY) -m pytest -m e2e

# Scanners that nobody here wrote, against a hardened host of the lab; writes docs/reference/scores.md.
audit: venv-tests
	$(PY) -m pytest tests/audit

bench: venv
	$(PY) -m tests.bench

docs: venv
	$(PY) -m tasks.core.settings.reference

venv:
	@.ci/bootstrap

venv-tests:
	@.ci/bootstrap tests
