"""What a run ran on: the project's commit, the versions of the libraries, the hardware."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

LIBRARIES = ("tfx", "tensorflow", "keras", "apache-beam", "tensorflow-transform", "tensorflow-model-analysis", "ml-metadata")
OTHER_NAMES = {"tensorflow": "tensorflow-cpu"}  # the same library, without the part for GPUs


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that a result depends on."""
    return {library: _version(library) for library in LIBRARIES}


def _version(library: str) -> str:
    """Returns a library's version, under whichever name it was installed.

    Raises:
      PackageNotFoundError: if it is not.
    """
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(OTHER_NAMES.get(library, library))


def hardware() -> str:
    """Returns the processor's name, the number of cores, and the names of the GPUs that TensorFlow has seen."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    gpus = []
    if "tensorflow" in sys.modules:
        config = sys.modules["tensorflow"].config
        gpus = [config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in config.list_physical_devices("GPU")]
    return ", ".join([f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores", *gpus])


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def git_commit() -> str:
    """Returns the commit of the project's working tree, with `+` if it has changes, or '' outside a repository."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    commit = git("rev-parse", "--short=12", "HEAD")
    return commit + "+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
