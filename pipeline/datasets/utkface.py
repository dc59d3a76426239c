"""UTKFace (Zhang et al. 2017), some 24,000 faces whose file names say age, gender and race: lists
alone, no image is copied.

A name is AGE_GENDER_RACE_DATE.jpg, or with `.jpg.chip.jpg` at its end in the aligned and cropped
version. Some names of the real data set lack a field; they are bad rows.
https://susanqq.github.io/UTKFace, for non-commercial research.
"""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from components.file_list_example_gen.rows import ON_BAD_ROW
from pipeline.datasets import files
from trainer_module.errors import InputError, require
from trainer_module.findings import counted

GENDERS = ("male", "female")  # in the order of the ids in file names, as RACES
RACES = ("white", "black", "asian", "indian", "others")
OLDEST = 116  # years
AGE_GROUPS = (
    (12, "0-12"),
    (19, "13-19"),
    (39, "20-39"),
    (59, "40-59"),
    (OLDEST, "60+"),
)  # oldest age of each, in years
TARGETS = ("gender", "race", "age_group", "age")
NUMBERS = ("age",)  # the targets that are no classes
EVAL_FRACTION = 0.2
SHOWN_PROBLEMS = 20


class Face(NamedTuple):
    """What a file name says of a face."""

    age: int  # years
    gender: int  # place in GENDERS
    race: int  # place in RACES

    def target(self, name: str) -> str:
        """Returns one of TARGETS as a list holds it: a class name, or the age in years."""
        if name == "age":
            return str(self.age)
        if name == "age_group":
            return next(group for oldest, group in AGE_GROUPS if self.age <= oldest)
        return {"gender": GENDERS[self.gender], "race": RACES[self.race]}[name]


LISTS_ALONE = True  # images stay at their source, which may change between two runs


def write(
    output_dir: str | Path, source: str | Path, target: str = "gender", on_bad_row: str = "fail"
) -> dict[str, Path]:
    """Writes the lists train.csv and eval.csv; copies and changes no image.

    A face's split hangs on a hash of its file name alone: it is the same for every target, and
    faces added later move no other one.

    Args:
        output_dir: where the lists go.
        source: folder of the images; folders inside it are searched too.
        target: 'gender', 'race' or 'age_group' for classification, 'age' (years) for regression.
        on_bad_row: 'fail' names the files whose name lacks a field and stops; 'skip' names and
          leaves them out.

    Returns:
        Paths of the lists `train` and `eval` (path,target).

    Raises:
        InputError: where there are no faces, bad names that are not skipped, or a split would be
          empty.
    """
    require(target in TARGETS, f"`target` must be one of {TARGETS}", target=target)
    require(
        on_bad_row in ON_BAD_ROW, f"`on_bad_row` must be one of {ON_BAD_ROW}", on_bad_row=on_bad_row
    )
    names, faces, problems = _faces(Path(source))
    _tell_or_refuse(problems, len(faces), on_bad_row)
    folder, rows = Path(output_dir), {"train": [], "eval": []}
    for name, face in faces.items():
        split = (
            "eval" if files.stable_fraction(PurePosixPath(name).name) < EVAL_FRACTION else "train"
        )
        rows[split].append((files.listed_path(Path(source) / name, folder), face.target(target)))
    for split in rows:
        if not rows[split]:
            raise InputError(
                f"None of the {counted(len(faces), 'face')} fell into the {split} split: `source` "
                f"must hold more faces"
            )
    lists = {split: files.write_list(folder / f"{split}.csv", rows[split]) for split in rows}
    files.leave_findings(folder, lists.values(), files.left_out(Path(source), names, faces))
    return lists


def parse_name(name: str) -> Face:
    """Reads a file name, AGE_GENDER_RACE_DATE.jpg.

    Raises:
        ValueError: saying which field is missing or out of its range.
    """
    fields = name.partition(".")[0].split("_")
    if len(fields) != 4 or not all(field.strip() for field in fields):
        raise ValueError(f"expected AGE_GENDER_RACE_DATE, received {len(fields)} fields {fields}")
    limits = {"age": OLDEST, "gender": len(GENDERS) - 1, "race": len(RACES) - 1}
    for (field, most), value in zip(limits.items(), fields, strict=False):
        if not (value.isascii() and value.isdecimal() and int(value) <= most):
            raise ValueError(f"{field} must be an integer from 0 to {most}, received {value!r}")
    return Face(*map(int, fields[:3]))


def _faces(source: Path) -> tuple[list[str], dict[str, Face], list[str]]:
    """Returns the names of all files relative to the source, the face of every image by its name,
    and what is wrong with the other names.
    """
    if not source.is_dir():
        raise InputError(
            f"`source` must be the folder of the faces, but '{source}' "
            f"{'is a file' if source.exists() else 'does not exist'}"
        )
    faces, problems = {}, []
    everything = files.FolderSource(source).names
    names = [name for name in everything if files.is_image(name)]
    for name in names:
        files.require_listable(name)
        try:
            faces[name] = parse_name(PurePosixPath(name).name)
        except ValueError as error:
            problems.append(f"{source / name}: {error}")
    if not faces:
        raise InputError(
            f"`source` must hold images named AGE_GENDER_RACE_DATE.jpg. Received: '{source}' with "
            f"{counted(len(names), 'image')}, none named so"
        )
    return everything, faces, problems


def _tell_or_refuse(problems: list[str], good: int, on_bad_row: str) -> None:
    if not problems:
        return
    count = (
        f"{len(problems):,} bad file name{'s' if len(problems) > 1 else ''} beside {good:,} "
        f"good ones"
    )
    more = (
        [f"... and {len(problems) - SHOWN_PROBLEMS:,} more"]
        if len(problems) > SHOWN_PROBLEMS
        else []
    )
    lines = [*problems[:SHOWN_PROBLEMS], *more]
    if on_bad_row == "fail":
        raise InputError(
            "\n".join(
                [
                    f"{count}:",
                    *lines,
                    "Rename or remove them, or leave them out with --on_bad_row=skip",
                ]
            )
        )
    print("\n".join([f"{count}, left out:", *lines]))
