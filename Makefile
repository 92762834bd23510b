.PHONY: help demo dev test parity check bench
help:
	@echo 'make demo   see it work    make dev   all processes, for development    make test [ARGS=…]    make check   the gate    make parity   ops/PARITY_STATUS.md    make bench [QUICK=1] [ARGS=…]   against its peers'
demo: .venv/.installed
	@.venv/bin/python -m ops.demo
dev: .venv/.installed
	@.venv/bin/ledger dev
test: .venv/.installed
	.venv/bin/pytest -n 2 $(ARGS)
parity: .venv/.installed
	.venv/bin/pytest -n 2 --parity-status
check: .venv/.installed
	@ops/check
bench: .venv/.installed
	@.venv/bin/python -m ops.bench $(if $(QUICK),--quick) $(ARGS)

.venv/.installed: ops/requirements.txt pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed as python3' >&2; exit 1; }
	@python3 -c 'import ensurepip, venv' || { echo 'venv is missing; on Debian: apt-get install python3-venv' >&2; exit 1; }
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r ops/requirements.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
