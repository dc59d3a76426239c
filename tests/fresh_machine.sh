#!/usr/bin/env bash
# README's two commands on fresh machines: sudo tests/fresh_machine.sh [NAME...]; too long for every CI run, so it is run
# before a release and its output kept in docs/results/fresh_machine.json.
#
#   debian-12              Python 3.11, glibc 2.36
#   debian-13              Python 3.13, glibc 2.41
#   debian-13-python3.12   the same with the Python 3.12 that PYTHON312 names (a folder with bin/python3.12)
#
# Each machine is a chroot made by debootstrap with python3, python3-venv, make, git and ca-certificates, no compiler;
# a plain user clones the commit that is checked out here. Needs root, debootstrap, unshare and 12 GB in FRESH (default:
# a folder in TMPDIR); the chroots are kept there, so that a second call starts from them. The last line of each machine is
# JSON. STEPS="demo test" names what to run, `again` being the demo a second time, all cached; FLAGS are given to make
# (PYTEST_FLAGS=-rs tells the reason of each skip). STEPS=refusals tries
# on debian-12 what a machine may lack, with a Python 3.12 in PYTHON312 and one of 3.10 in PYTHON310: each must end with exit code 2 and one line.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
fresh=${FRESH:-${TMPDIR:-/tmp}/fresh-machines}
steps=${STEPS:-demo again test}

make_machine() { # NAME: its root file system, made once
  local root=$fresh/$1 suite
  case $1 in debian-12) suite=bookworm ;; debian-13*) suite=trixie ;; *) echo "no machine '$1'" >&2 && exit 2 ;; esac
  if [ ! -e "$root/home/newcomer" ]; then
    rm -rf "$root"
    mkdir -p "$fresh"
    debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates \
      "$suite" "$root" >"$root.debootstrap.log"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # a mirror's own certificate, where there is one
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    chroot "$root" useradd --create-home --shell /bin/bash newcomer
  fi
}

give_python() { # NAME FOLDER: the same folder there, at the path that its libraries were built for
  local root=$fresh/$1
  [ ! -e "$root$2" ] || return 0
  mkdir -p "$root$(dirname "$2")"
  cp -a "$2" "$root$2"
  chmod a+x "$root/root" # where the folder lies below the home of root
}

inside() { # NAME COMMAND: as the plain user, in a process tree of its own that ends with the command
  local root=$fresh/$1
  unshare --mount --pid --fork --kill-child ${NETWORK:-} bash -euc '
    mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/dev/shm"
    exec chroot --userspec=newcomer:newcomer "$1" env -i HOME=/home/newcomer LANG=C.UTF-8 \
      PATH=/usr/local/bin:/usr/bin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} bash -euc "cd; $2"' _ "$root" "$2"
}

clone() { # NAME: the commit of this working tree, as a clone that the plain user owns
  local home=$fresh/$1/home/newcomer
  rm -rf "$home/simclr-tfx" "$home/.cache"
  git -C "$repository" bundle create -q "$home/simclr.bundle" HEAD
  chmod a+r "$home/simclr.bundle"
  inside "$1" 'git -c advice.detachedHead=false clone -q simclr.bundle simclr-tfx'
}

field() { # what a pattern finds last in a log, or null
  grep -oP "$1" "$2" | tail -n 1 | grep . || echo null
}

try_machine() { # NAME
  local name=$1 log=$fresh/$1.log python='' demo=null again=null test=null target started codes=''
  make_machine "$name"
  clone "$name"
  if [[ $name = *python3.12 ]]; then
    give_python "$name" "${PYTHON312:?names a folder with bin/python3.12}"
    python=PYTHON=$PYTHON312/bin/python3.12
  fi
  inside "$name" '! command -v gcc cc g++' || { echo "$name has a compiler" >&2 && exit 1; }
  : >"$log"
  for step in $steps; do
    started=$(date +%s) target=$step
    [ "$step" != again ] || target=demo
    inside "$name" "cd simclr-tfx && make $target $python ${FLAGS:-}" >>"$log" 2>&1 && codes+="$step:0 " || codes+="$step:$? "
    printf -v "$step" %s $(($(date +%s) - started))
  done
  inside "$name" 'cd simclr-tfx && .venv/bin/python -m pip check' >"$fresh/$name.pip-check" 2>&1 || true
  printf '{"machine": "%s", "python": "%s", "glibc": "%s", "exit_codes": "%s", "demo_seconds": %s, "again_seconds": %s, "install_seconds": %s, ' \
    "$name" "$(inside "$name" 'simclr-tfx/.venv/bin/python -V' | cut -d' ' -f2)" \
    "$(inside "$name" 'getconf GNU_LIBC_VERSION' | cut -d' ' -f2)" "${codes% }" "$demo" "$again" \
    "$(field '(?<=Installed in )\d+' "$log")"
  printf '"venv_megabytes": %s, "blessed": %s, "accuracy": %s, "test_seconds": %s, "tests": "%s", "pip_check": %s}\n' \
    "$(du -sm "$fresh/$name/home/newcomer/simclr-tfx/.venv" | cut -f1)" \
    "$(field '(?<="blessed": )\w+' "$fresh/$name/home/newcomer/simclr-tfx/runs/demo/summary.json")" \
    "$(field '(?<="accuracy": )[\d.]+' "$fresh/$name/home/newcomer/simclr-tfx/runs/demo/summary.json")" \
    "$test" "$(field '(\d+ failed, )?\d+ passed.*(?= in )' "$log")" "$(grep -c . "$fresh/$name.pip-check" || true)"
}

refusal() { # WHAT COMMAND: what the installer says as the plain user of debian-12
  local code=0
  inside debian-12 "cd simclr-tfx && rm -rf other && $2" >"$fresh/said" 2>"$fresh/refused" || code=$?
  printf '{"case": "%s", "exit_code": %d, "lines": %d, "said": "%s"}\n' "$1" "$code" \
    "$(wc -l <"$fresh/refused")" "$(tail -n 1 "$fresh/refused" | sed 's/"/\\"/g')"
}

try_refusals() {
  local root=$fresh/debian-12 install='sh requirements/install.sh other requirements/cpu.lock'
  make_machine debian-12
  clone debian-12
  give_python debian-12 "${PYTHON310:?names a folder with bin/python3.10}"
  give_python debian-12 "${PYTHON312:?}"
  refusal "Python 3.10" "$install $PYTHON310/bin/python3"
  refusal "glibc 2.36 with Python 3.12" "$install $PYTHON312/bin/python3"
  refusal "read-only folder" "cd /usr && sh ~/simclr-tfx/requirements/install.sh other ~/simclr-tfx/requirements/cpu.lock"
  NETWORK=--net refusal "no network" "$install"
  mkdir -p "$root/mnt/small" && mount -t tmpfs -o size=40m,mode=1777 tmpfs "$root/mnt/small"
  refusal "a disk with 40 MB" "cd /mnt/small && sh ~/simclr-tfx/requirements/install.sh other ~/simclr-tfx/requirements/cpu.lock"
  refusal "a disk that fills up" "TMPDIR=/mnt/small PIP_NO_CACHE_DIR=1 $install"
  umount "$root/mnt/small"
  mv "$root/usr/lib/python3.11/ensurepip" "$root/root/"
  refusal "no venv module" "$install"
  mv "$root/root/ensurepip" "$root/usr/lib/python3.11/"
}

case $steps in refusals) try_refusals && exit ;; esac
for machine in "${@:-debian-12 debian-13}"; do
  for name in $machine; do try_machine "$name"; done
done
