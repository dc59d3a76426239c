"""How much memory a program may still use: the machine's, or what a container's limit leaves.

The kernel's files are read here, no library asked: psutil tells the machine's memory alone, and
dask's `distributed` the limit of the mounted group, not what is used of it, nor the groups between.
Standard library alone.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Version:
    """The names of a version of cgroups for the same things; all values are bytes."""

    limits: tuple[str, ...]
    usage: str
    # row of memory.stat: pages of files that make room when there is need, counted as usage
    reclaimable: str


V1 = _Version(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
V2 = _Version(("memory.max", "memory.high"), "memory.current", "inactive_file")


MOST_OF_MEMORY = 0.5  # for images; the rest is for the step and for what else runs


def total_memory(root: Path = Path("/")) -> int:
    """Returns the bytes that the machine has, or what a container's limits allow of them.

    Args:
        root: where `proc` and `sys` lie.
    """
    limits = (limit for limit, _, _ in _limited_groups(root))
    return min([_machine(root, "MemTotal"), *limits])


def available_memory(root: Path = Path("/")) -> int:
    """Returns the bytes that this program can still use without pushing others out or breaking a
    limit.

    Every group from the program's own up to the topmost one that can be seen has a say: the
    tightest counts.

    Args:
        root: where `proc` and `sys` lie.
    """
    return min([_machine(root, "MemAvailable"), *_left_in_groups(root)])


def _machine(root: Path, name: str) -> int:
    rows = _rows(root / "proc/meminfo", ":")
    if name in rows:
        return 1024 * int(rows[name].split()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_in_groups(root: Path) -> Iterator[int]:
    for limit, version, folder in _limited_groups(root):
        usage = _number(folder / version.usage)
        if usage is not None:
            reclaimable = int(_rows(folder / "memory.stat", " ").get(version.reclaimable, "0"))
            yield max(0, limit - max(0, usage - reclaimable))


def _limited_groups(root: Path) -> Iterator[tuple[int, _Version, Path]]:
    """Yields the limit of each memory group that has one, in bytes, with its version and folder."""
    for version, folder in _groups(root):
        limits = [value for name in version.limits if (value := _number(folder / name)) is not None]
        if limits:
            yield min(limits), version, folder


def _groups(root: Path) -> Iterator[tuple[_Version, Path]]:
    """Yields the folder of every memory group that this process is in, its own first, with the
    version of its files.
    """
    own = _own_groups(_text(root / "proc/self/cgroup"))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        version = _version(kind.split())
        if version not in own:
            continue
        # A container may see its own group as the mount: the path in /proc then starts above it.
        top, mounted = place.split()[3:5]
        path = os.path.relpath(own[version], top)
        mount = Path(root, mounted.lstrip("/"))
        inner = Path() if path.startswith("..") else Path(path)
        yield from ((version, mount / group) for group in (inner, *inner.parents))


def _own_groups(text: str) -> dict[_Version, str]:
    """Returns the path of this process' memory group in each version."""
    found = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found[V1] = path
        elif number == "0" and not controllers:
            found[V2] = path
    return found


def _version(kind: list[str]) -> _Version | None:
    """Returns the version of a mount, from its file system, source and options.

    None if it has nothing to do with memory.
    """
    if kind[0] == "cgroup2":
        return V2
    return V1 if kind[0] == "cgroup" and "memory" in kind[-1].split(",") else None


def _number(file: Path) -> int | None:
    """Returns the number in a file.

    None for 'max', and where there is no such file, as in the topmost group of version 2.
    """
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None


def _rows(file: Path, separator: str) -> dict[str, str]:
    rows = (line.partition(separator) for line in _text(file).splitlines())
    return {name: value.strip() for name, _, value in rows}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:  # not there, or not ours to read
        return ""
