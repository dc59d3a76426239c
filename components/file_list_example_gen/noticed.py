"""What reading all images of all lists has shown, as findings.

Ingest writes them beside the examples; `python -m pipeline.check` makes the same ones without a
run. Standard library alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from components.file_list_example_gen.image_index import Index
from components.file_list_example_gen.rows import Problem
from components.file_list_example_gen.same_images import copied
from components.file_list_example_gen.tally import Tally
from trainer_module.findings import NOTE, REFUSED, WARNING, Finding, counted, first
from trainer_module.tasks.task import Task

FINDINGS_FILE = "findings.json"  # beside the examples
SKIPPED = "skipped rows"
DEPTHS = (8, 12, 16)  # bits that pictures of 16 bits a value hold
LOUD_SHARE = 0.01  # of skipped rows, above which they are a warning


def noticed(
    tallies: Mapping[str, Tally],
    problems: Sequence[Problem],
    indexes: Mapping[str, Index],
    lists: Mapping[str, str],
    task: Task,
    remarks: Mapping[str, str],
) -> list[Finding]:
    """Returns what is to be told of images that were read.

    Args:
      tallies: by split, as the lists name them.
      problems: the rows that could not be used.
      indexes: by split, as the examples have them.
      lists: path of the list by split.
      task: of the run.
      remarks: key of a remark -> the sentence that it stands for.
    """
    read = sum(tally.images for tally in tallies.values())
    found = skipped(problems, read + len(problems))
    found += _nothing_left(tallies, problems, indexes, lists)
    if any(finding.severity == REFUSED for finding in found):
        return found
    found += [one for split in tallies for one in _remarked(tallies[split], remarks, lists[split])]
    found += _uneven_depths(tallies)
    found += _fallen_away(tallies["train"], task) if "train" in tallies else []
    sums = {split: tally.counts for split, tally in tallies.items() if split != "pretrain"}
    return found + task.noticed_in_images(sums) + copied(indexes, lists, task.has_target)


def skipped(problems: Sequence[Problem], rows: int) -> list[Finding]:
    """Returns a finding about the rows that are left out, if there are any.

    Args:
      problems: one a row.
      rows: of all lists.
    """
    if not problems:
        return []
    percent = 100 * len(problems) / max(rows, 1)
    severity = WARNING if percent > 100 * LOUD_SHARE else NOTE
    share = f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"
    verb = "was" if len(problems) == 1 else "were"
    told = f"{len(problems):,} of {counted(rows, 'row')} {verb} skipped ({share})"
    fix = "mend these rows or take them out of their list"
    return [Finding(severity, SKIPPED, told, len(problems), first(problems), fix)]


def _nothing_left(
    tallies: Mapping[str, Tally],
    problems: Sequence[Problem],
    indexes: Mapping[str, Index],
    lists: Mapping[str, str],
) -> list[Finding]:
    found = []
    for path in [lists[split] for split, tally in tallies.items() if not tally.images]:
        reasons = [problem for problem in problems if problem.list_path == path]
        told = f"{path}: no row of this list can be used"
        found.append(Finding(REFUSED, "no image", told, len(reasons), first(reasons)))
    if found:
        return found
    return [no_part(split) for split, index in indexes.items() if not index.records]


def no_part(split: str) -> Finding:
    """Returns what is told of a single list of which one part would have no image."""
    part = {"eval": "held out", "train": "left to train on"}[split]
    told = f"No image is {part}: a fifth of a list alone is held out, by a hash of each name"
    fix = "more images, or a list of its own for evaluation, --val_file_path"
    return Finding(REFUSED, "no image", told, fix=fix)


def _remarked(tally: Tally, remarks: Mapping[str, str], list_path: str) -> list[Finding]:
    return [
        Finding(
            NOTE,
            remark,
            f"{list_path}: {counted(count, 'image')}: {remarks.get(remark, remark)}",
            count,
            first(f"{list_path}:{line}: {path}" for line, path in tally.examples[remark]),
        )
        for remark, count in sorted(tally.remarks.items())
    ]


def _uneven_depths(tallies: Mapping[str, Tally]) -> list[Finding]:
    """Returns a warning where images of 16 bits a value do not all fill the same number of them,
    which is told from each alone (trainer_module/decoding.py).
    """
    filled = {}
    for bits in DEPTHS:
        filled[bits] = sum(tally.remarks[f"bits_{bits}"] for tally in tallies.values())
    filled = {bits: count for bits, count in filled.items() if count}
    if len(filled) < 2:
        return []
    (fewest, count), *others = filled.items()
    told = f"Of 16 bits a value {fewest} are filled in {counted(count, 'image')}, " + ", ".join(
        f"{bits} in {counted(count, 'image')}" for bits, count in others
    )
    told += ": if the few are dark pictures of the same camera, they were made too bright"
    fix = "save all of them with 8 bits a value, brought there by one factor"
    return [Finding(WARNING, "16 bits, filled differently", told, min(filled.values()), (), fix)]


def _fallen_away(tally: Tally, task: Task) -> list[Finding]:
    """Returns a finding about classes none of whose rows could be used: a model would have an
    output that nobody ever saw.
    """
    kept, lost = {task.class_name(label) for label in tally.kept}, Counter()
    for label, rows in tally.lost.items():
        if not task.problem(label):  # one that is an output
            lost[task.class_name(label)] += rows
    fallen = {name: rows for name, rows in sorted(lost.items()) if name not in kept}
    if not fallen:
        return []
    told = f"{counted(len(fallen), 'class', 'classes')} lost all images, since no row can be used"
    examples = first(f"{name!r}: {counted(rows, 'row')}" for name, rows in fallen.items())
    fix = "mend the rows of these classes, or take all of them out of the list"
    return [Finding(REFUSED, "classes without images", told, len(fallen), examples, fix)]
