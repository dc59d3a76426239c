#!/bin/sh
# Installs a lock file into a virtual environment: sh requirements/install.sh VENV LOCK [PYTHON]
#
# Takes PYTHON, or else the first of python3, python3.13, python3.12, python3.11 that fits. All that a machine may lack
# is tested before the first download and told in one line, with the command that brings it; the exit code is 2 then.
# An interrupted install goes on at the next call: pip keeps what it has downloaded, the rest is made anew.
set -eu
venv=$1 lock=$2 python=${3:-}
log=$venv/install.log

refuse() { # what is missing, and the fix
  echo "simclr-tfx: $1. $2" >&2
  exit 2
}

system_command() { # the command of this system that installs a package, under Debian's name for it
  . /etc/os-release 2>/dev/null || true
  case " ${ID:-} ${ID_LIKE:-} " in
    *" debian "* | *" ubuntu "*) echo "sudo apt-get install $1" ;;
    *" fedora "* | *" rhel "*) echo "sudo dnf install $(echo "$1" | sed 's/python3-venv/python3.12/')" ;;
    *" suse "* | *" opensuse "*) echo "sudo zypper install $(echo "$1" | sed 's/python3-venv/python312/')" ;;
    *) echo "install $1 with your system's package manager" ;;
  esac
}

at_least() { # whether version $1 is $2 or newer
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

why_not() { # prints why an interpreter cannot take the lock, and the fix; nothing if it can
  version=$(version_of "$1") || {
    echo "'$1' is no Python. Fix: name one, as in make demo PYTHON=/usr/bin/python3"
    return
  }
  case $version in
    3.11) ;;
    3.12 | 3.13)
      # ml-metadata's wheels for these were built on glibc 2.39.
      if grep -q '^ml-metadata' "$lock" && ! at_least "$glibc" 2.39; then
        echo "Python $version needs glibc 2.39 and this system has $glibc. Fix: Python 3.11, as in make demo PYTHON=/path/to/python3.11"
        return
      fi ;;
    *)
      echo "Python 3.11, 3.12 or 3.13 is needed, '$1' is $version. Fix: make demo PYTHON=/path/to/one, or install uv, which brings one"
      return ;;
  esac
  command -v uv >/dev/null 2>&1 || "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    echo "Python's venv module is missing. Fix: $(system_command python3-venv)"
}

choose_python() { # sets `python`, or leaves it empty where uv is to bring one
  if [ -n "$python" ]; then
    why=$(why_not "$python")
    [ -z "$why" ] || refuse "${why%%. Fix:*}" "Fix:${why##*. Fix:}"
    return
  fi
  first=
  for python in python3 python3.13 python3.12 python3.11; do
    command -v "$python" >/dev/null 2>&1 || continue
    why=$(why_not "$python")
    [ -n "$why" ] || return 0
    first=${first:-$why}
  done
  python=
  command -v uv >/dev/null 2>&1 && return 0
  [ -n "$first" ] || refuse "no Python was found" "Fix: $(system_command 'python3 python3-venv')"
  refuse "${first%%. Fix:*}" "Fix:${first##*. Fix:}"
}

check_machine() {
  [ -r "$lock" ] || refuse "there is no lock file '$lock'" "Fix: LOCK=requirements/cpu.lock or requirements/gpu.lock"
  case $(uname -sm) in
    "Linux x86_64") ;;
    *) refuse "the lock holds wheels for Linux on x86-64, this is $(uname -sm)" "Fix: such a machine, or a container on it" ;;
  esac
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || refuse "TensorFlow needs glibc, this system has another C library" "Fix: Debian, Ubuntu or Fedora"
  glibc=${glibc#glibc }
  at_least "$glibc" 2.28 || refuse "glibc 2.28 is needed, this system has $glibc" "Fix: Debian 12, Ubuntu 24.04 or newer"
}

check_place() {
  parent=$(dirname "$venv")
  { [ -w "$parent" ] && [ ! -e "$venv" ]; } || [ -w "$venv" ] ||
    refuse "'$parent' cannot be written by $(id -un)" "Fix: a clone in a folder of your own, or make demo VENV=/path"
  if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    refuse "'$venv' is there and is no virtual environment" "Fix: move it away, or make demo VENV=/path"
  fi
  megabytes=2000
  grep -q '^tensorflow' "$lock" && megabytes=4000
  grep -q '^nvidia' "$lock" && megabytes=12000
  there=$(du -sm "$venv" 2>/dev/null | cut -f1)
  free=$(df -Pm "$parent" | awk 'NR == 2 { print $4 }')
  [ $((free + ${there:-0})) -ge "$megabytes" ] ||
    refuse "$megabytes MB of free disk are needed, '$parent' has $free" "Fix: make room, or make demo VENV=/path/on/another/disk"
}

# A kill while files are unpacked leaves packages that look installed and are not whole: pip and uv would pass over them.
unfinished=$venv/unfinished

usable() { # whether the environment there is whole, of this lock and this Python, with a pip that runs
  [ ! -e "$unfinished" ] && cmp -s "$lock" "$venv/lock.txt" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    { [ -z "$python" ] || [ "$(version_of "$venv/bin/python")" = "$(version_of "$python")" ]; }
}

make_environment() {
  rm -rf "$venv"
  if [ -n "$python" ] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    why=$("$python" -m venv "$venv" 2>&1) || failed "$why"
  else
    why=$(uv venv -q --seed --python "${python:-3.11}" "$venv" 2>&1) || failed "$why"
  fi
  cp "$lock" "$venv/lock.txt"
}

failed() { # the reason that a person can do something about, from what pip or uv said
  case $1 in
    *"No space left"* | *ENOSPC* | *"Disk quota"*) refuse "the disk is full" "Fix: make room and run the same command again; it goes on" ;;
    *"DO NOT MATCH THE HASHES"* | *"Hash mismatch"*) refuse "a download differs from the lock's hash; the log is $log" "Fix: run the same command again; a mirror that changes files cannot be used" ;;
    *CERTIFICATE_VERIFY_FAILED*) refuse "the package index has a certificate that pip does not trust" "Fix: PIP_CERT=/path/to/its/certificates.crt, and run the same command again" ;;
    *"onnection"* | *"name resolution"* | *"Max retries"* | *"timed out"* | *"error sending request"* | *"dns error"* | *"client error"* | *"No matching distribution"*)
      refuse "the package index cannot be reached, or lacks a file of the lock; the log is $log" "Fix: check the network or pip's settings and run the same command again; it goes on" ;;
  esac
  refuse "the installation failed: $(printf '%s\n' "$1" | grep -v '^$' | tail -n 1)" "The log is $log"
}

# The lock is complete, so nothing is resolved: TFX's own pins contradict each other.
with_uv() {
  VIRTUAL_ENV=$venv uv pip install --no-deps --require-hashes -r "$lock" 2>"$log"
}

with_pip() {
  { PYTHONUNBUFFERED=1 "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --no-deps \
    --require-hashes -r "$lock" 2>"$log" || : >"$venv/failed"; } | progress
  [ ! -e "$venv/failed" ] || { rm "$venv/failed"; return 1; }
}

progress() { # one line that changes, on a terminal; nothing elsewhere
  count=0
  while read -r word what rest; do
    [ "$word" != Collecting ] || { count=$((count + 1)) name=${what%%==*}; }
    [ -t 2 ] || continue
    case $word in
      Collecting) printf '\r\033[K  [%d/%d] %s' "$count" "$packages" "$name" >&2 ;;
      Downloading) printf '\r\033[K  [%d/%d] %s %s' "$count" "$packages" "$name" "${rest#* }" >&2 ;;
      Installing) printf '\r\033[K  unpacking %d packages, a minute or two ...' "$packages" >&2 ;;
    esac
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
}

check_machine
choose_python
check_place
usable || make_environment
packages=$(grep -o '^[A-Za-z0-9._-]*==' "$lock" | sort -u | wc -l)
tool=$(command -v uv >/dev/null 2>&1 && echo uv || echo pip)
echo "Installing $packages packages into $venv with $tool and Python $(version_of "$venv/bin/python"): 2 to 5 minutes, once ..."
started=$(date +%s)
: >"$unfinished"
trap 'echo; echo "simclr-tfx: interrupted. Run the same command again; it goes on with what is downloaded." >&2; exit 2' INT TERM
[ "$tool" = pip ] || with_uv || { echo "uv did not do it, $log says why; trying pip ..." >&2; tool=pip; }
[ "$tool" = uv ] || with_pip || failed "$(cat "$log")"
rm "$unfinished"
# Without bytecode `import tfx` takes 20 s more, every time.
echo "Compiling what was installed ..."
"$venv/bin/python" -m compileall -q -j 0 -x '/(tests?|pip)/' "$venv/lib" >/dev/null 2>&1 || true
echo "Installed in $(($(date +%s) - started)) s; $venv has $(du -sm "$venv" | cut -f1) MB."
