#!/bin/sh
# Installs a lock file into a virtual environment: sh requirements/install.sh PYTHON VENV LOCK
set -eu
python=$1 venv=$2 lock=$3

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version="no Python"
if [ "$version" != 3.11 ]; then
  echo "simclr-tfx: Python 3.11 is needed (the lock file holds its wheels); '$python' is $version." >&2
  echo "Install Python 3.11 and name it: make demo PYTHON=/path/to/python3.11" >&2
  exit 2
fi
case $(uname -sm) in
  "Linux x86_64") ;;
  *) echo "simclr-tfx: the lock file holds wheels for Linux on x86-64; this is $(uname -sm)." >&2; exit 2 ;;
esac

echo "Installing $(grep -c == "$lock") packages into $venv (some minutes, once) ..."
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# The lock is complete, so nothing is resolved: TFX's own pins contradict each other.
if command -v uv >/dev/null 2>&1; then
  VIRTUAL_ENV=$venv uv pip sync -q --require-hashes "$lock"
else
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile --no-deps --require-hashes -r "$lock"
fi
# Without bytecode `import tfx` takes 20 s more, every time.
"$venv/bin/python" -m compileall -q -j 0 -x '/(tests?|pip|vertexai|aiplatform[a-z0-9_]*)/' "$venv/lib" >/dev/null 2>&1 || true
