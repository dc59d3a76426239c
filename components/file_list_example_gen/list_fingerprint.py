"""What the cache key of ingest sees of a list: every row, and whether a file is still the same.

A file is the same if size and time of change are. Where the time cannot be trusted, as archives
and copies leave it (before 1980, in the future, the same for all files), its content is digested
too; `--recheck` looks at the content of all (pipeline/recheck.py). Standard library alone, but for
remote files.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence

from components.file_list_example_gen.layout import is_remote
from components.file_list_example_gen.rows import Problem, Row, is_web, parse_rows, read_rows
from trainer_module.errors import InputError

ABSENT = (-1, 0)  # in place of size and time of change
EARLIEST = 315_705_600 * 10**9  # 3 January 1980, in ns: zip archives know no time before that year
Stat = tuple[int, float]  # bytes, time of change in ns, or s of a remote file


def of_lists(lists: Mapping[str, str], labels_are_files: bool, may_skip: bool) -> dict[str, str]:
    """Returns the fingerprint of every list, by split.

    Args:
      lists: path by split; targets of `pretrain` are none.
      labels_are_files: whether targets are label maps.
      may_skip: whether bad rows are left out.
    """
    return {
        split: fingerprint(
            parse_rows(path)[0] if may_skip else read_rows(path),
            labels_are_files and split != "pretrain",
            may_be_absent=may_skip,
        )
        for split, path in lists.items()
    }


def fingerprint(
    rows: Sequence[Row], with_targets: bool = False, may_be_absent: bool = False
) -> str:
    """Returns a short digest of every row's path, target, and the state of its files: what the
    cache key must see.

    Args:
      rows: of one list.
      with_targets: whether targets are files too.
      may_be_absent: whether a file may be missing, which counts like any other state of it.

    Raises:
      InputError: if a file is missing that may not be.
    """
    digest = hashlib.sha256()
    files = [[row.path, row.target_path] if with_targets else [row.path] for row in rows]
    remote = [path for paths in files for path in paths if is_remote(path) and not is_web(path)]
    remote = _remote_stats(remote)
    local: dict[str, Stat] = {}
    for row, paths in zip(rows, files, strict=True):
        for path in paths:
            if path not in local and path not in remote:
                local[path] = _local_stat(row, path, may_be_absent)
    stats, contents = local | remote, {path: _content(path) for path in untrusted(local)}
    for row, paths in zip(rows, files, strict=True):
        seen = [f"{stats[path][0]}\0{stats[path][1]}{contents.get(path, '')}" for path in paths]
        # the name, from which an image has its id, may be another one of the same file
        told = "\0".join([paths[0], row.name, row.target, *seen])
        digest.update(told.encode() + b"\n")
    return f"rows:{len(rows)},sha256:{digest.hexdigest()[:24]}"


def untrusted(stats: Mapping[str, Stat]) -> list[str]:
    """Returns those of local files whose time of change does not tell whether they changed."""
    times = {changed for _, changed in stats.values()}
    if len(times) == 1 and len(stats) > 1:
        return list(stats)
    now = time.time_ns()
    if times and min(times) >= EARLIEST and max(times) <= now:
        return []
    return [path for path, (_, changed) in stats.items() if not EARLIEST <= changed <= now]


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return "\0" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # ingest tells why
        return ""


def _local_stat(row: Row, path: str, may_be_absent: bool) -> Stat:
    try:
        stat = os.stat(path)
    except (OSError, ValueError) as error:
        if may_be_absent:
            return ABSENT
        reason = getattr(error, "strerror", error)
        raise InputError(
            str(Problem(row.list_path, row.line, path, f"no such file ({reason})"))
        ) from error
    return stat.st_size, stat.st_mtime_ns


def _remote_stats(paths: list[str]) -> dict[str, Stat]:
    if not paths:
        return {}
    from components.file_list_example_gen.remote import sizes_and_times

    try:
        return sizes_and_times(paths)
    except OSError as error:
        raise InputError(f"{paths[0]}: cannot be looked at: {error}") from error
