# Two commands: `make demo` and `make test`. Everything installs into .venv from a complete, hashed lock file.

PYTHON ?= $(firstword $(wildcard $(shell command -v python3.11)) python3)
LOCK ?= requirements/cpu.lock
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

JAX_VENV := .venv-jax
JAX_INSTALLED := $(JAX_VENV)/.installed
# The tests of the training core, which run on either backend.
CORE_TESTS := $(addprefix tests/test_,augment.py batches.py checkpoint.py decoder.py golden.py heads.py loss.py optimizer.py paired.py pretrain.py resnet.py settings.py vicreg.py)

.PHONY: demo test test-jax lint lock install clean

demo: $(INSTALLED)
	$(RUN) local_runner.py

test: $(INSTALLED)
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile

test-jax: $(JAX_INSTALLED)
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(abspath $(JAX_VENV))/compiled $(JAX_VENV)/bin/python -m pytest $(CORE_TESTS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

install: $(INSTALLED)

$(INSTALLED): $(LOCK) requirements/install.sh
	sh requirements/install.sh "$(PYTHON)" "$(VENV)" "$(LOCK)"
	touch $@

$(JAX_INSTALLED): requirements/jax.lock requirements/install.sh
	sh requirements/install.sh "$(PYTHON)" "$(JAX_VENV)" requirements/jax.lock
	touch $@

# Resolves requirements/*.in anew; needs uv (pip install uv). The GPU lock is the same with the CUDA wheels.
UV_COMPILE := uv pip compile - --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --custom-compile-command "make lock" -q
lock:
	cp requirements/overrides.txt /tmp/overrides.cpu
	sed 's/^tensorflow==/tensorflow[and-cuda]==/' requirements/overrides.txt > /tmp/overrides.gpu
	for kind in cpu gpu; do $(UV_COMPILE) --override /tmp/overrides.$$kind -o requirements/$$kind.lock < requirements/requirements.in || exit 1; done
	$(UV_COMPILE) -o requirements/jax.lock < requirements/jax.in

clean:
	rm -rf $(VENV) $(JAX_VENV) runs data
