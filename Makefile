# Two commands: `make demo` and `make test`. Everything installs into .venv from a complete, hashed lock file.

# Empty: the first of python3, python3.13, python3.12, python3.11 that fits.
PYTHON ?=
VENV ?= .venv
# That of the environment that is there, else the one for a CPU.
KEPT := $(wildcard $(patsubst $(VENV)/.installed-%,requirements/%,$(wildcard $(VENV)/.installed-*)))
LOCK ?= $(or $(firstword $(KEPT)),requirements/cpu.lock)
ENGINES := flink spark
EXTRAS := aws elpv heic kubeflow onnx tensorboard torch
WORKERS ?= 2
PYTEST_FLAGS ?=
SHARED := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed-$(notdir $(LOCK))

JAX_VENV := .venv-jax
JAX_INSTALLED := $(JAX_VENV)/.installed
# The tests of the training core, which run on either backend.
# The longest first: two processes share them, file by file.
CORE_TESTS := $(addprefix tests/test_,pretrain.py augment.py batches.py checkpoint.py decoder.py golden.py heads.py loss.py micro_batches.py optimizer.py paired_views.py resnet.py settings.py)

.PHONY: demo welcome test test-jax lint lock install extra engine clean

demo: welcome $(INSTALLED)
	$(RUN) local_runner.py

welcome:
	@echo "The demo installs its libraries into $(VENV) (once, 2.5 GB on disk), draws 4,000 images of 8"
	@echo "patterns, learns features from them without labels, trains and judges a classifier on these, and writes a report."
	@echo "Without a GPU that takes 4 to 16 minutes the first time, by what else the machine does; seconds when nothing has changed."

test: $(INSTALLED)
	$(RUN) -m pytest $(SHARED) $(PYTEST_FLAGS)

test-jax: $(JAX_INSTALLED)
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(abspath $(JAX_VENV))/compiled $(JAX_VENV)/bin/python -m pytest $(SHARED) $(CORE_TESTS) $(PYTEST_FLAGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

install: $(INSTALLED)

# What few need, into the same environment: make extra NAME=aws (or elpv, heic, kubeflow, onnx, tensorboard, torch).
extra: $(INSTALLED)
	@test -f requirements/extras/$(NAME).lock || { echo "NAME must be one of $(EXTRAS). Received: '$(NAME)'"; exit 2; }
	$(RUN) -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/extras/$(NAME).lock

# Beam's job server for Flink or Spark, one jar of 160 or 210 MB; needs Java and Maven: make engine NAME=flink (docs/scale.md)
engine:
	@test -f requirements/engines/$(NAME).xml || { echo "NAME must be one of $(ENGINES). Received: '$(NAME)'"; exit 2; }
	@mvn -B -q -Dstyle.color=never -f requirements/engines/$(NAME).xml package
	@echo ".engines/$(NAME)/$(NAME)-job-server.jar is there: --beam_runner=$(NAME) takes it"

$(INSTALLED): $(LOCK) requirements/install.sh
	@sh requirements/install.sh "$(VENV)" "$(LOCK)" "$(PYTHON)"
	@touch $@

$(JAX_INSTALLED): requirements/jax.lock requirements/install.sh
	@sh requirements/install.sh "$(JAX_VENV)" requirements/jax.lock "$(PYTHON)"
	@touch $@

# Resolves requirements/ anew for Python 3.11 to 3.13; needs uv (pip install uv). UV_FLAGS=--upgrade takes the newest of everything.
UV_FLAGS ?=
UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" -q $(UV_FLAGS)
lock:
	for kind in cpu gpu; do $(UV_COMPILE) --override requirements/overrides.txt --override requirements/left-out.txt \
	  --override requirements/$$kind-overrides.txt -o requirements/$$kind.lock requirements/$$kind.in || exit 1; done
	$(UV_COMPILE) -o requirements/jax.lock requirements/jax.in
	for extra in $(EXTRAS); do $(UV_COMPILE) --override requirements/overrides.txt --constraint requirements/cpu.lock \
	  -o requirements/extras/$$extra.lock requirements/extras/$$extra.in || exit 1; done

clean:
	rm -rf $(VENV) $(JAX_VENV) .engines runs data
