"""Reads and checks every row of every list before anything starts, and says what it noticed.

Standard library alone; the images themselves are read by ingest and by `python -m pipeline.check`.
"""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from components.file_list_example_gen.held_out import is_held_out, is_split
from components.file_list_example_gen.layout import folder_of
from components.file_list_example_gen.names import closed, is_pipe
from components.file_list_example_gen.noticed import no_part, skipped
from components.file_list_example_gen.rows import (
    IS_FOLDER,
    ListFile,
    Problem,
    Row,
    check_rows,
    path_problem,
    read_list,
    refuse_of_run,
    told_by_reason,
)
from components.file_list_example_gen.same_images import doubles
from pipeline.choices import Choices, Lists
from pipeline.datasets.files import findings_left
from pipeline.datasets.folder_names import split_named
from trainer_module.errors import InputError
from trainer_module.findings import NOTE, WARNING, Finding, counted, first, refuse_worst, table
from trainer_module.tasks.registry import TASKS
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

Rows = Mapping[str, list[Row]]
OF_SPLITS = {"split", "set", "subset", "fold", "partition"}  # names of columns


@dataclass(frozen=True)
class Checked:
    """What the lists name.

    Attributes:
      rows: by split, as the lists have them.
      task: fixed by the training list.
      findings: what was noticed and stops nothing.
      problems: the rows that are left out.
    """

    rows: Rows
    task: Task
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def parts(self) -> Rows:
        """Rows by split as the examples have them: of a single list a part is held out."""
        if not is_split(self.rows, self.task.has_target):
            return self.rows
        parts = {"train": [], "eval": []}
        for row in self.rows["train"]:
            parts["eval" if is_held_out(row.image_id) else "train"].append(row)
        return parts


def checked_rows(choices: Choices, lists: Lists) -> Checked:
    """Reads and checks every row of every list.

    Raises:
      InputError: naming all bad rows, or that there is no list, or what makes a result meaningless.
    """
    if not lists.train:
        raise InputError("`--train_file_path` is missing: a list of `path,label` rows")
    for path in lists.given().values():
        _refuse_no_file(path)
    _refuse_same_list(lists)
    files = {split: read_list(path) for split, path in lists.given().items()}
    for split, file in files.items():
        _refuse_absent(lists.given()[split], file)
    rows, task, problems = _good_rows(choices, lists, files)
    total = sum(len(file.rows) + len(file.problems) for file in files.values())
    for split, good in rows.items():
        _refuse_nothing(lists.given()[split], good, problems)
    found = [
        one for split, path in lists.given().items() for one in layout_findings(path, files[split])
    ]
    found += [*findings_left(lists.train), *skipped(problems, total), *doubles(rows, task)]
    targets = [row.target for row in rows["train"]]
    found += task.noticed_in_rows(targets) if task.has_target else []
    checked = Checked(rows, task)
    found += _held_out(checked, choices.gate.least_eval_images) if task.has_target else []
    refuse_worst(found)
    return Checked(rows, task, tuple(found), tuple(problems))


def _refuse_no_file(path: str) -> None:
    if is_pipe(path):
        raise InputError(
            f"{path}: is a pipe, which can be read once only, and a run reads a list several "
            f"times. Fix: write it into a file"
        )
    if os.path.isdir(path):
        raise InputError(f"{path}: {IS_FOLDER}. Fix: of a folder of images --images={path}")


def _refuse_same_list(lists: Lists) -> None:
    held_out = lists.given().get("eval", "")
    both = os.path.isfile(held_out) and os.path.isfile(lists.train)
    if both and os.path.samefile(held_out, lists.train):
        raise InputError(
            f"{held_out}: is the training list, too, and a model is judged by images that it did "
            f"not learn from. Fix: a list of others, or none, and a fifth of these is held out"
        )


def _good_rows(
    choices: Choices, lists: Lists, files: Mapping[str, ListFile]
) -> tuple[Rows, Task, list[Problem]]:
    """Returns the rows to use, what they make the task, and the bad ones, which are refused unless
    they are to be skipped.
    """
    rows = {split: file.rows for split, file in files.items()}
    problems = [problem for file in files.values() for problem in file.problems]
    skip = choices.on_bad_row == "skip"
    if skip:
        rows["train"] = [row for row in rows["train"] if not path_problem(row.path, "image")]
        _refuse_nothing(choices.lists.train or "the training list", rows["train"], problems)
    targets = [row.target for row in rows["train"]]
    try:
        task = TASKS[choices.task].from_targets(targets, choices.target)
    except InputError:
        if not skip:  # malformed rows, whose targets are missing
            _refuse_rows(problems, choices, lists)
        raise
    for split, file in files.items():
        problems += check_rows(file.rows, Unlabelled() if split == "pretrain" else task)
    if not skip:
        _refuse_rows(problems, choices, lists)
    bad = {(problem.list_path, problem.line) for problem in problems}
    good = {
        split: [row for row in file.rows if (row.list_path, row.line) not in bad]
        for split, file in files.items()
    }
    return good, task, problems


def _refuse_rows(problems: list[Problem], choices: Choices, lists: Lists) -> None:
    """Refuses bad rows, if there are any, once it is tried whether a run could leave them out."""
    if not problems:
        return
    try:
        checked_rows(replace(choices, on_bad_row="skip"), lists)
    except InputError:
        refuse_of_run(problems, rest_will_do=False)
    refuse_of_run(problems, rest_will_do=True)


def _refuse_absent(list_path: str, file: ListFile) -> None:
    """Refuses a list none of whose images is there, or can be reached, once and not row by row."""
    rows = file.rows
    reason = path_problem(rows[0].path, "image") if len(rows) > 1 else ""
    if not reason or any(path_problem(row.path, "image") != reason for row in rows):
        return
    folder, name = folder_of(list_path), rows[0].name
    if closed(rows[0].path):
        raise InputError(
            f"{list_path}: none of the images of its {len(rows):,} rows can be read: {reason}. "
            f"Fix: rights for whoever starts the run"
        )
    if reason != "no such image":
        return
    where = "" if name.startswith("/") else f" Relative paths are looked for in {folder}."
    raise InputError(
        f"{list_path}: none of the images of its {len(rows):,} rows is there. The first would be "
        f"{rows[0].path}.{where} Fix: paths that are absolute or relative to the folder of the list"
    )


def _refuse_nothing(list_path: str, good: list[Row], problems: list[Problem]) -> None:
    if not good:
        lines = [f"{list_path}: no row of this list can be used", *told_by_reason(problems)]
        raise InputError("\n".join(lines))


def layout_findings(list_path: str, file: ListFile) -> list[Finding]:
    """Returns findings about how a list is written."""
    found = []
    if file.layout.told:
        told = f"{list_path}: {'; '.join(file.layout.told)}"
        fix = "nothing, if that is meant; else write `path,target`"
        found.append(Finding(NOTE, "list layout", told, fix=fix))
    if file.respelled:
        count = counted(len(file.respelled), "name")
        told = f"{list_path}: {count} in other characters than the file system has (\\ or accents)"
        examples = first(f"line {row.line}: {row.name}" for row in file.respelled)
        found.append(Finding(NOTE, "respelled names", told, len(file.respelled), examples))
    return found + _of_several_splits(list_path, file)


def _of_several_splits(list_path: str, file: ListFile) -> list[Finding]:
    """Returns a warning for each column that says which rows are for training, and which to judge
    by: no column does that here.
    """
    columns = {**file.layout.unread, "of targets": Counter(row.target for row in file.rows)}
    found = []
    for column, values in columns.items():
        if len(values) > 1 and (column.lower() in OF_SPLITS or all(map(split_named, values))):
            told = f"{list_path}: all rows are used, whatever the column {column} says of them"
            counts = [f"{value!r}: {counted(rows, 'row')}" for value, rows in values.most_common()]
            fix = "a list for each, so that nothing is trained on that is to judge a model"
            kind = "rows of several splits"
            found.append(Finding(WARNING, kind, told, len(values), first(counts), fix))
    return found


def tell_layout(list_path: str, file: ListFile) -> None:
    """Prints on stderr how a list was understood, where that is not plain."""
    if found := layout_findings(list_path, file):
        print(table(found), file=sys.stderr)


def _held_out(checked: Checked, least: int) -> list[Finding]:
    """Returns findings about which images are held out, and how few."""
    parts, task, found = checked.parts, checked.task, []
    held_out = parts.get("eval", [])
    found += [no_part(split) for split in ("train", "eval") if not parts.get(split)]
    if 0 < len(held_out) < least:
        told = (
            f"Only {counted(len(held_out), 'image')} to judge a model by: the gate refuses it on "
            f"fewer than {least}"
        )
        fix = "more images to hold out, or --set gate.least_eval_images=N for a trial"
        found.append(Finding(WARNING, "few held out images", told, len(held_out), fix=fix))
    if held_out:
        found += task.noticed_in_held_out([row.target for row in held_out])
    if task.one_class_an_image and is_split(checked.rows, task.has_target):
        found += _of_one_part(parts, task)
    return found


def _of_one_part(parts: Rows, task: Task) -> list[Finding]:
    """Returns warnings about classes of a list of which a part is held out, all of whose images
    fall into one part: names alone decide that.
    """
    classes = {
        split: {task.class_name(row.target) for row in rows} for split, rows in parts.items()
    }
    told = {
        "unseen classes": (
            classes["eval"] - classes["train"],
            "with no image to train on, since all fall into the part that is held out",
        ),
        "classes without held out images": (
            classes["train"] - classes["eval"],
            "without an image in the part that is held out: nothing judges them",
        ),
    }
    fix = "more images of these classes, or lists of your own for both parts"
    return [
        Finding(
            WARNING,
            kind,
            f"{counted(len(some), 'class', 'classes')} {what}",
            len(some),
            first(sorted(some)),
            fix,
        )
        for kind, (some, what) in told.items()
        if some and all(classes.values())
    ]
