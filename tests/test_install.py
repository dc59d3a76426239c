"""The package as it is installed: what setup.py says it needs, the command `simclr`, and the
installer's refusals.
"""

import ast
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from pipeline.command import MODULES

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pipeline", "components", "trainer_module")
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google": "protobuf",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
OPTIONAL = {"jax", "kfp", "onnx", "pillow_heif", "torch"}  # imported only where they are there


def _imported() -> set[str]:
    names = set()
    for path in [
        ROOT / "local_runner.py",
        *(file for folder in OURS for file in (ROOT / folder).rglob("*.py")),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {*OURS, "local_runner"} - OPTIONAL


def _required() -> set[str]:
    tree = ast.parse((ROOT / "setup.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if getattr(node.func, "id", "") == "setup"]
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    return {re.split(r"[<>=\[]", item)[0] for item in ast.literal_eval(values["install_requires"])}


def test_setup_names_every_library_that_the_code_imports():
    needed = {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in _imported()}
    assert needed - _required() == set()


def test_the_lock_holds_what_setup_names():
    lock = (ROOT / "requirements" / "cpu.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {
        "tensorflow-cpu" if name == "tensorflow" else name for name in _required()
    } - locked == set()


EXTRAS = sorted(file.stem for file in (ROOT / "requirements/extras").glob("*.in"))


def _versions(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_changes_nothing_that_the_lock_has_installed(extra):
    lock, base = (
        _versions(ROOT / f"requirements/extras/{extra}.lock"),
        _versions(ROOT / "requirements/cpu.lock"),
    )
    assert {name for name in lock.keys() & base.keys() if not lock[name] <= base[name]} == set()


@pytest.mark.parametrize("lock", ["cpu", "gpu", "jax"])
def test_every_package_of_a_lock_has_its_hashes(lock):
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    packages = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    named = [package for package in packages if "==" in package.split("\n")[0]]
    assert named and all("--hash=sha256:" in package for package in named)


def test_every_complaint_of_pip_check_is_about_a_package_overruled_with_a_reason():
    told = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    complaints = [
        line for line in told.stdout.splitlines() if "requires " in line or "requirement " in line
    ]
    files = ("overrides.txt", "left-out.txt", "cpu-overrides.txt")
    named = "".join((ROOT / "requirements" / file).read_text() for file in files)
    overruled = set(re.findall(r"^([a-z0-9-]+)", named, re.MULTILINE))
    about = {re.search(r"(?:requires|requirement) ([A-Za-z0-9-]+)", line)[1] for line in complaints}
    assert about - overruled == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Installs a copy of the working tree as README says, into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    kept = shutil.ignore_patterns(
        ".*", "__pycache__", "runs", "data", "build", "*.egg-info", "tests"
    )
    shutil.copytree(ROOT, source, ignore=kept)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-compile",
    ]
    subprocess.run([*pip, "--target", str(folder / "site"), str(source)], check=True)
    shutil.rmtree(source)
    return folder / "site"


def _simclr(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, str(site / "bin" / "simclr"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", MODULES)
def test_every_command_tells_its_flags(installed, tmp_path, command):
    told = _simclr(installed, tmp_path, command, "--help")
    assert told.returncode == 0 and told.stdout.startswith("usage: "), told.stderr


def test_a_mistyped_command_gets_the_nearest_one(installed, tmp_path):
    told = _simclr(installed, tmp_path, "lineag")
    assert (told.returncode, told.stderr) == (
        2,
        "simclr: No command 'lineag'. Did you mean 'lineage'?\n",
    )


def test_an_exit_code_comes_through(installed, tmp_path):
    told = _simclr(installed, tmp_path, "run", "--recipe", "no_such_recipe")
    assert told.returncode == 2 and "no_such_recipe" in told.stderr


def test_files_are_made_in_the_folder_of_the_call(installed, tmp_path):
    told = _simclr(
        installed,
        tmp_path,
        "datasets",
        "shapes",
        "--output_dir",
        "here",
        "--train_images=8",
        "--eval_images=8",
    )
    assert told.returncode == 0 and (tmp_path / "here" / "train.csv").is_file(), told.stderr


def _install(
    folder: Path, *, path: str = "", lock: str = "cpu.lock", python: str = "", venv: str = ".venv"
):
    """Runs the installer with programs of `path` before those of the system."""
    environment = {**os.environ, "PATH": f"{path}:/usr/bin:/bin"}
    lock = str(ROOT / "requirements" / lock)
    command = ["sh", str(ROOT / "requirements" / "install.sh"), venv, lock, python]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def _wheel(folder: Path, files: int) -> Path:
    """Writes a wheel of many small modules, its list of contents first, and returns its lock."""
    file = folder / "thing-1.0-py3-none-any.whl"
    modules = [f"thing/part{index}.py" for index in range(files)]
    info = {
        "METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "".join(f"{name},,\n" for name in modules),
    }
    with zipfile.ZipFile(file, "w") as wheel:
        for name, text in info.items():
            wheel.writestr(f"thing-1.0.dist-info/{name}", text)
        for name in modules:
            wheel.writestr(name, "")
    lock = folder / "thing.lock"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    lock.write_text(f"thing==1.0 --hash=sha256:{digest}\n")
    return lock


def _program(folder: Path, name: str, script: str) -> str:
    """Writes a program that stands for one of another system, and returns its path."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_a_python_without_wheels_is_refused_by_name(tmp_path, version):
    python = _program(tmp_path, "python", f"echo {version}")
    told = _install(tmp_path, python=python)
    rule = (
        f"simclr-tfx: Python 3.11, 3.12 or 3.13 is needed, '{python}' is {version}. Fix: make "
        f"demo PYTHON="
    )
    assert told.returncode == 2 and told.stderr.startswith(rule) and told.stderr.count("\n") == 1


def test_an_old_glibc_is_refused_for_a_python_whose_wheels_need_a_newer(tmp_path):
    _program(tmp_path, "getconf", "echo glibc 2.36")
    told = _install(tmp_path, path=str(tmp_path), python=_program(tmp_path, "python", "echo 3.12"))
    rule = "simclr-tfx: Python 3.12 needs glibc 2.39 and this system has 2.36. Fix: Python 3.11"
    assert told.returncode == 2 and told.stderr.startswith(rule) and told.stderr.count("\n") == 1


def test_a_python_without_venv_is_refused_with_the_command_that_brings_it(tmp_path):
    python = _program(
        tmp_path, "python", 'case "$2" in *ensurepip*) exit 1 ;; *) echo 3.11 ;; esac'
    )
    told = _install(tmp_path, python=python)
    rule = "simclr-tfx: Python's venv module is missing. Fix: "
    assert told.returncode == 2 and told.stderr.startswith(rule) and told.stderr.count("\n") == 1


def test_a_full_disk_is_refused_before_the_first_download(tmp_path):
    _program(tmp_path, "df", "echo Filesystem; echo /dev/disk 9000 8900 100 99% /")
    told = _install(tmp_path, path=str(tmp_path), python=sys.executable)
    rule = "simclr-tfx: 4000 MB of free disk are needed, '.' has 100. Fix: make room"
    assert told.returncode == 2 and told.stderr.startswith(rule) and told.stderr.count("\n") == 1


def test_a_folder_of_the_users_own_is_not_taken_for_an_environment(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    told = _install(tmp_path, python=sys.executable, venv="mine")
    assert told.returncode == 2 and "is no virtual environment" in told.stderr
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_a_lock_that_is_not_there_is_named(tmp_path):
    told = _install(tmp_path, lock="tpu.lock")
    assert told.returncode == 2 and "tpu.lock" in told.stderr


@pytest.mark.parametrize(
    ("installed", "lock"),
    [("", "cpu.lock"), (".installed-gpu.lock", "gpu.lock"), (".installed-other.lock", "cpu.lock")],
)
def test_make_keeps_to_the_lock_of_the_environment_that_is_there(tmp_path, installed, lock):
    if installed:
        (tmp_path / installed).touch()
    command = ["make", "-n", "-B", "install", f"VENV={tmp_path}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f'"requirements/{lock}"' in told


def test_a_half_made_environment_is_made_anew_and_an_index_out_of_reach_is_told(
    tmp_path, monkeypatch
):
    half = tmp_path / ".venv"
    half.mkdir()
    (half / "pyvenv.cfg").write_text("home = nowhere")  # as a venv without ensurepip leaves it
    for name, value in (
        ("PIP_INDEX_URL", "http://127.0.0.1:9/"),
        ("PIP_RETRIES", "0"),
        ("PIP_FIND_LINKS", ""),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    told = _install(tmp_path, python=sys.executable)
    assert told.returncode == 2 and "the package index cannot be reached" in told.stderr
    assert told.stderr.count("\n") == 1 and (half / "bin" / "python").exists()


def test_what_a_kill_left_half_unpacked_is_unpacked_anew(tmp_path, monkeypatch):
    lock = _wheel(tmp_path, files=4000)
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path))):
        monkeypatch.setenv(name, value)
    parts = (
        tmp_path / ".venv" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "thing"
    )
    command = ["sh", ROOT / "requirements" / "install.sh", ".venv", lock, sys.executable]
    first = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    while first.poll() is None and not (parts / "part10.py").exists():
        time.sleep(0.001)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert len(list(parts.glob("part*.py"))) < 4000
    told = _install(tmp_path, lock=str(lock), python=sys.executable)
    assert told.returncode == 0, told.stderr
    assert len(list(parts.glob("part*.py"))) == 4000
