# make run       a virtual environment, smidgen in it, and a tiny network learning handwriting
# make test      the same environment with the development tools, then every check and test
# make coverage  every test, and the lines of the package that none of them runs
# make fuzz      sixty seconds of made-up files for everything that reads one; Linux on x86-64
# make sanitize  the kernels on 300 drawn networks under a sanitizer: BUILD=address or thread; Linux
# make docs      the documentation as a site, in site/
# make dist      the wheel and the source distribution in dist/, the wheel the same to the byte anywhere
# make setup     the environment alone

PYTHON ?= python3
BIN := .venv/bin

BUILD ?= address

# The tests start hundreds of processes: what one has compiled is kept for the others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test coverage fuzz sanitize docs dist setup check clean

run: .venv/installed
	$(BIN)/smidgen quickstart

test: .venv/installed-dev check
	$(BIN)/pytest -n auto --dist loadfile

coverage: .venv/installed-dev
	$(BIN)/pytest -n auto --dist loadfile --cov --cov-report=term-missing:skip-covered

fuzz: .venv/installed-dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,fuzz]'
	$(BIN)/python tests/fuzz/run.py --seconds 60

sanitize: .venv/installed-dev
	$(BIN)/python tests/kernel_builds.py $(BUILD) --count 300

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-dev
	$(BIN)/mkdocs build

# From the committed files alone; their times and modes are the commit's, not those of this checkout.
dist: .venv/bin/python
	$(BIN)/pip install --quiet -c constraints.txt build
	rm -rf build/source dist
	mkdir -p build/source
	umask 022 && git archive HEAD | tar -x -C build/source
	umask 022 && SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct HEAD) PIP_CONSTRAINT=$(CURDIR)/constraints.txt \
		$(BIN)/python -m build $(BUILD_OPTIONS) --outdir dist build/source

setup: .venv/installed

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smidgen needs Python 3.11 or newer, this is %d.%d; try make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist
