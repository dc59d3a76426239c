"""What a run ran on: the project's commit, the versions of the libraries, the hardware."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

LIBRARIES = (
    "tfx",
    "tensorflow",
    "keras",
    "apache-beam",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "ml-metadata",
)


def version_of(library: str) -> str:
    """Returns the installed version of a library, '' where it is not installed.

    TensorFlow's wheel for processors alone goes by another name, `tensorflow-cpu`.
    """
    for distribution in (library, f"{library}-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that a result depends on."""
    return {library: version_of(library) for library in LIBRARIES}


def has_gpu() -> bool:
    """Tells whether TensorFlow will find a GPU, without loading it: an NVIDIA device that is not
    hidden, and a TensorFlow that is not the one for CPUs alone.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    if hidden or not os.path.exists("/dev/nvidia0"):
        return False
    try:
        importlib.metadata.version("tensorflow-cpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def hardware() -> str:
    """Returns the processor's name, the number of cores, and the names of the GPUs that TensorFlow
    has seen.
    """
    names = [
        line.partition(":")[2].strip()
        for line in _lines("/proc/cpuinfo")
        if line.startswith("model name")
    ]
    gpus = []
    if "tensorflow" in sys.modules:
        config = sys.modules["tensorflow"].config
        gpus = [
            config.experimental.get_device_details(gpu).get("device_name", "GPU")
            for gpu in config.list_physical_devices("GPU")
        ]
    processor = names[0] if names else platform.processor()
    cores = os.cpu_count()
    return ", ".join([processor, f"{cores} core{'' if cores == 1 else 's'}", *gpus])


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def git_commit() -> str:
    """Returns the commit of the project's working tree, with `+` if it has changes, or '' where it
    is installed without one.

    A repository around an installed copy is somebody else's.
    """
    folder = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    if git("rev-parse", "--show-toplevel") != str(folder):
        return ""
    commit = git("rev-parse", "--short=12", "HEAD")
    return (
        commit + "+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
    )
