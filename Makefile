# make demo and make test do all the set-up there is; see README.md.
.PHONY: help demo test grade bare lint format record images bench clean

help:
	@echo 'make demo    install what is missing, then the dashboard on a tiny VM with real traffic'
	@echo 'make test    install what the tests need, then the whole check, as CI runs it'
	@echo 'make grade   the check with every scene on all three QEMUs'
	@echo 'make bare    the check in a bare Debian 12 and a bare Debian 13 (root, debootstrap)'
	@echo 'make lint    ruff, mypy and the import rules'
	@echo 'make format  lay out the code'
	@echo 'make record  record the fixtures anew from the real QEMUs (root)'
	@echo 'make images  draw the pictures of the documentation anew'
	@echo 'make bench   measure against tcpdump, tshark, dpkt and scapy'
	@echo 'make clean   remove what was made here (.venv, caches)'

demo:
	@sh scripts/setup.sh demo
	@exec .venv/bin/qmon demo

test:
	@sh scripts/setup.sh test
	@exec sh scripts/check.sh

grade:
	@sh scripts/setup.sh test
	@exec env QMON_QEMUS=all sh scripts/check.sh

bare:
	@exec sh scripts/bare.sh

lint:
	@sh scripts/setup.sh develop
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format:
	@sh scripts/setup.sh develop
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

record:
	@sh scripts/setup.sh test
	.venv/bin/python -m tests.lab.record

images:
	@sh scripts/setup.sh test
	QMON_WRITE_IMAGES=1 .venv/bin/python -m pytest -q tests/tui/test_readme_image.py

bench:
	@sh scripts/setup.sh test
	.venv/bin/python -m tests.bench

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
