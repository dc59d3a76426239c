# Two commands: `make demo` and `make test`. Everything installs into .venv from a complete, hashed lock file.

PYTHON ?= $(firstword $(wildcard $(shell command -v python3.11)) python3)
LOCK ?= requirements/cpu.lock
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint lock install clean

demo: $(INSTALLED)
	$(RUN) local_runner.py

test: $(INSTALLED)
	$(RUN) -m pytest

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

install: $(INSTALLED)

$(INSTALLED): $(LOCK) requirements/install.sh
	sh requirements/install.sh "$(PYTHON)" "$(VENV)" "$(LOCK)"
	touch $@

# Resolves requirements/*.in anew; needs uv (pip install uv).
lock:
	for kind in cpu gpu; do uv pip compile requirements/$$kind.in --override requirements/overrides.txt --generate-hashes \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" -o requirements/$$kind.lock || exit 1; done

clean:
	rm -rf $(VENV) runs data
