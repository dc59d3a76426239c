"""Lists as other programs and people write them: read where they can be meant one way only, and
told; else refused by name before anything starts.
"""

import random
import time
import unicodedata

import pytest
from PIL import Image

from components.file_list_example_gen.layout import WAYS
from components.file_list_example_gen.list_fingerprint import of_lists
from components.file_list_example_gen.rows import parse_rows
from pipeline.flags import build_parser, choices_of
from pipeline.plan import make_plan
from trainer_module.errors import InputError
from trainer_module.findings import table
from trainer_module.settings import Target
from trainer_module.tasks.classification import Classification

COUNT = 40


@pytest.fixture
def images(tmp_path):
    """Forty images, i0.png to i39.png, each of another grey."""
    for number in range(COUNT):
        Image.new("L", (16, 16), number).save(tmp_path / f"i{number}.png")
    return tmp_path


def rows(form="i{n}.png,{label}", labels=("cat", "dog"), count=COUNT):
    return [form.format(n=n, label=labels[n % len(labels)]) for n in range(count)]


def plan_of(folder, lines, *flags, newline="\n"):
    """Returns the plan of a list of these lines, and its findings by kind."""
    (folder / "list.csv").write_bytes((newline.join(lines) + newline).encode())
    flags = [f"--train_file_path={folder / 'list.csv'}", *flags]
    plan = make_plan(choices_of(build_parser().parse_args(flags)))
    return plan, {finding.kind: finding for finding in plan.findings}


def refusal(folder, lines, *flags, **options):
    with pytest.raises(InputError) as refused:
        plan_of(folder, lines, *flags, **options)
    return str(refused.value)


def named(folder):
    found, problems = parse_rows(str(folder / "list.csv"))
    assert problems == []
    return [(row.name, row.target) for row in found]


PLAIN = [(f"i{n}.png", ("cat", "dog")[n % 2]) for n in range(COUNT)]


def test_a_plain_list_has_no_findings(images):
    assert plan_of(images, rows())[1] == {}


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("i{n}.png\t{label}", "columns are parted by tabs"),
        ("i{n}.png;{label}", "columns are parted by semicolons"),
        ("i{n}.png|{label}", "columns are parted by bars"),
        ("i{n}.png {label}", "columns are parted by the first space"),
        ("i{n}.png   {label}", "columns are parted by the first space"),
        ('"i{n}.png";"{label}"', "columns are parted by semicolons"),
        ("{n},i{n}.png,{label}", "an index column is passed over"),
        ("i{n}.png,{label},", "an empty column is passed over"),
        ("{label},i{n}.png", "the target stands first"),
        ('"i{n}.png" ;"{label}" ', "columns are parted by semicolons"),
    ],
)
def test_a_list_of_another_form_is_read_and_told(images, form, told):
    plan, found = plan_of(images, rows(form))
    assert plan.task == Classification(2, ("cat", "dog"))
    assert told in found["list layout"].told
    assert named(images) == PLAIN


@pytest.mark.parametrize("form", ['"i{n}.png" ,{label}', '"i{n}.png" , "{label}" '])
def test_blanks_about_a_comma_belong_to_no_cell_quoted_or_not(images, form):
    assert plan_of(images, rows(form))[1] == {}
    assert named(images) == PLAIN


@pytest.mark.parametrize("newline", ["\r", "\r\n"])
def test_lines_end_in_any_way(images, newline):
    plan_of(images, rows(), newline=newline)
    assert named(images) == PLAIN


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_mark_of_an_encoding_is_heeded(images, encoding):
    (images / "list.csv").write_bytes("\n".join(rows(labels=("käse", "brot"))).encode(encoding))
    assert {target for _, target in named(images)} == {"käse", "brot"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n".join(rows()).encode("utf-16-le"), "holds zero bytes.*save it as UTF-8"),
        ("i0.png,käse\n".encode("latin-1"), "is not UTF-8 text.*save it as UTF-8"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a picture, expected a text file"),
        (b'[{"path": "i0.png", "label": "cat"}]', "is JSON; a list has one"),
        (b'{"path": "i0.png", "label": "cat"}\n', "is JSON; a list has one"),
    ],
)
def test_what_is_no_list_is_named(images, content, told):
    (images / "list.csv").write_bytes(content)
    with pytest.raises(InputError, match=told):
        parse_rows(str(images / "list.csv"))


@pytest.mark.parametrize(
    ("labels", "severity"),
    [(("0.0", "1.0"), "note"), (tuple(f"{n / 8}" for n in range(COUNT)), "warning")],
)
def test_decimals_as_classes_are_told_with_the_task_that_predicts_numbers(images, labels, severity):
    found = plan_of(images, rows(labels=labels))[1]["decimals as names"]
    assert (found.severity, found.count) == (severity, len(labels))
    assert "--task=regression" in found.fix


@pytest.mark.parametrize(
    ("head", "form"),
    [
        ("path,label", "i{n}.png,{label}"),
        ("filename,class", "i{n}.png,{label}"),
        ("Bild,Klasse", "i{n}.png,{label}"),
        (",path,label", "{n},i{n}.png,{label}"),
        ("filename;width;class", "i{n}.png;16;{label}"),
        ("label\timage", "{label}\ti{n}.png"),
    ],
)
def test_a_header_is_taken_as_one_and_told(images, head, form):
    plan, found = plan_of(images, [head, *rows(form)])
    assert plan.task.class_names == ("cat", "dog")
    assert "the first row names the columns" in found["list layout"].told
    assert named(images) == PLAIN


@pytest.mark.parametrize("head", ["mask,image", "drawn,file_name"])
def test_a_header_says_which_of_two_columns_of_files_are_the_images(images, head):
    for n in range(COUNT):
        Image.new("L", (16, 16), n % 2).save(images / f"m{n}.png")
    flags = ["--task=segmentation", "--num_classes=2"]
    _, found = plan_of(images, [head, *rows("m{n}.png,i{n}.png")], *flags)
    assert "the target stands first" in found["list layout"].told
    assert named(images) == [(f"i{n}.png", f"m{n}.png") for n in range(COUNT)]


def test_a_header_does_not_make_a_path_of_a_column_without_files(images):
    plan_of(images, ["picture,name", *rows()])
    assert named(images) == PLAIN


@pytest.mark.parametrize("line", ["path,label", "image", "file;class", "label,path"])
def test_a_header_without_a_row_is_told_as_one(images, line):
    assert "has a header and no row" in refusal(images, [line])


@pytest.mark.parametrize("sign", [";", "\t", "|", " "])
def test_a_list_of_two_separators_is_refused_by_both_of_them(images, sign):
    lines = [line.replace(",", (",", sign)[n % 2]) for n, line in enumerate(rows())]
    told = refusal(images, lines)
    name = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "the first space"}[sign]
    assert "20 bad rows" in told and "list.csv:2: " in told
    assert f"columns parted by {name}, those of the list by commas" in told


def test_a_row_parted_by_commas_in_a_list_of_semicolons_is_told(images):
    lines = [*rows("i{n}.png;{label}")[1:], "i0.png,cat"]
    told = refusal(images, lines)
    assert "list.csv:40: " in told and "parted by commas, those of the list by semicolons" in told


def test_a_first_image_that_is_missing_is_no_header(images):
    told = refusal(images, ["gone.png,cat", *rows()])
    assert "list.csv:1: " in told and "no such image" in told


def test_a_column_too_many_is_refused_once_with_what_was_found(images):
    told = refusal(images, rows("i{n}.png,{label},7"))
    assert "3 columns as in line 1: ['i0.png', 'cat', '7']" in told
    assert told.count("i0.png") == 1 and "Fix: write two columns" in told


def test_decimal_commas_are_three_columns_and_named_as_what_they_may_be(images):
    told = refusal(images, ["image,number", *rows("i{n}.png,0,{n}")], "--task=regression")
    assert "3 columns, named ['image', 'number'], as in line 2: ['i0.png', '0', '0']" in told
    assert "cannot be told. Fix: write two columns, and decimals with a point" in told


def test_a_header_may_leave_out_the_name_of_an_index_column(images):
    plan_of(images, ["path,label", *rows("{n},i{n}.png,{label}")])
    assert named(images) == PLAIN


def test_folders_that_cannot_be_entered_are_named_as_such(images, without_rights):
    closed = images / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0)
    with without_rights():
        told = refusal(images, rows("closed/deep/i{n}.png,{label}"))
        in_part = refusal(images, [*rows(), "closed/deep/i1.png,cat"])
        flags = [f"--train_file_path={closed}/deep/list.csv"]
        with pytest.raises(InputError, match=r"deep/list\.csv: .*cannot be entered"):
            make_plan(choices_of(build_parser().parse_args(flags)))
    closed.chmod(0o755)
    why = f"the folder {closed} cannot be entered (permission denied)"
    assert told.startswith(f"{images}/list.csv: none of the images of its {COUNT} rows can be read")
    assert why in told and len(told.splitlines()) == 1
    assert why in in_part and "list.csv:41: " in in_part


def test_a_path_column_without_any_file_is_told_once_with_the_folder(images):
    told = refusal(images, rows("photos/i{n}.png,{label}"))
    assert f"none of the images of its {COUNT} rows is there" in told
    assert f"looked for in {images}" in told and len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "with space", " leading", "trailing ", "comma, inside", 'quote"', "übel", "图片", "🐈",
        "100%", "a#b", "a;b", "[1]", "{x}", "'single'", "-dash", "tab\tinside",
    ],
)  # fmt: skip
def test_a_name_of_any_characters_is_found(images, name):
    import csv
    import io

    file = images / f"{name}.png"
    (images / "i0.png").rename(file)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[file.name, "cat"]])
    plan_of(images, [text.getvalue().rstrip("\n"), *rows()[1:]])
    assert named(images)[0] == (file.name, "cat")


def test_a_name_may_have_commas_in_a_list_of_paths_alone(images):
    for n in range(COUNT):
        (images / f"i{n}.png").rename(images / f"i, {n}.png")
    plan_of(images, rows("i, {n}.png"), "--task=pretrain")
    assert named(images)[3] == ("i, 3.png", "")


def test_windows_backslashes_and_the_other_form_of_an_umlaut_are_read_and_told(images):
    (images / "cats").mkdir()
    for n in range(COUNT):
        (images / f"i{n}.png").rename(images / "cats" / f"ü{n}.png")
    lines = rows("cats\\ü{n}.png,{label}")
    _, found = plan_of(images, [unicodedata.normalize("NFD", line) for line in lines])
    assert found["respelled names"].count == COUNT
    assert named(images)[1] == ("cats/ü1.png", "dog")


def test_a_file_address_is_a_path(images):
    plan_of(images, rows(f"file://{images}/i{{n}}.png,{{label}}"))
    found, _ = parse_rows(str(images / "list.csv"))
    assert found[2].path == f"{images}/i2.png"


def test_a_web_address_is_refused_with_what_to_do(images):
    told = refusal(images, [*rows(), "https://example.org/a.png,cat"])
    assert "list.csv:41: " in told and "download it first" in told


def test_a_web_address_that_is_skipped_counts_as_absent_and_is_told_in_the_same_words(images):
    from components.file_list_example_gen.reading import read_row

    lines = [*rows(), "https://example.org/a.png,cat"]
    plan, found = plan_of(images, lines, "--on_bad_row=skip")
    assert found["skipped rows"].count == 1
    assert of_lists(plan.lists.given(), False, may_skip=True)["train"].startswith("rows:41,")
    row = parse_rows(plan.lists.train)[0][-1]
    assert "download it first" in read_row(row, plan.task, labelled=True).reason


def test_spaces_part_columns_whose_label_has_spaces_too(images):
    plan_of(images, rows("i{n}.png {label}", ("brown bear", "cat")))
    assert named(images)[0] == ("i0.png", "brown bear")


def parted(head, *values):
    """Returns a list of sixteen rows of the first value in a third column, and eight of each
    other.
    """
    column = [values[0]] * 16 + [value for value in values[1:] for _ in range(8)]
    return [head, *(f"{row},{value}" for row, value in zip(rows(), column, strict=False))]


@pytest.mark.parametrize("name", ["split", "Set", "subset", "fold", "partition", "phase"])
def test_a_column_of_splits_is_a_warning_with_its_values(images, name):
    lines = parted(f"path,label,{name}", "train", "test", "val")
    told = plan_of(images, lines)[1]["rows of several splits"]
    assert (told.severity, told.count) == ("warning", 3)
    assert f"all rows are used, whatever the column {name} says of them" in told.told
    assert told.examples == ("'train': 16 rows", "'test': 8 rows", "'val': 8 rows")
    assert told.fix.startswith("a list for each")


def test_targets_that_are_all_splits_are_a_warning(images):
    told = plan_of(images, rows(labels=("train", "test")))[1]["rows of several splits"]
    assert "whatever the column of targets says of them" in told.told
    assert told.examples == ("'train': 20 rows", "'test': 20 rows")


def test_folds_are_splits(images):
    found = plan_of(images, parted("path,label,fold", "0", "1"))[1]
    assert found["rows of several splits"].examples == ("'0': 16 rows", "'1': 8 rows")


@pytest.mark.parametrize(
    ("head", "values"),
    [("path,label,split", ["train"]), ("path,label,width", ["640", "480"])],
)
def test_a_column_of_one_split_or_of_none_is_passed_over_with_a_note(images, head, values):
    found = plan_of(images, parted(head, *values))[1]
    assert "rows of several splits" not in found
    assert f"the column {head.split(',')[2]} is passed over" in found["list layout"].told


# Labels.


@pytest.mark.parametrize(
    "labels", [("1", "2", "3"), ("007", "008"), ("5", "9"), ("-1", "1"), ("-1", "0")]
)
def test_integers_that_are_no_ids_from_0_are_names_of_as_many_classes(images, labels):
    plan, found = plan_of(images, rows(labels=labels))
    assert plan.task == Classification(len(labels), labels)
    assert found["numbers as names"].count == len(labels)


def test_names_of_digits_are_in_the_order_of_numbers(images):
    plan, _ = plan_of(images, rows(labels=tuple(str(n) for n in range(1, 13))))
    assert plan.task.class_names == tuple(str(n) for n in range(1, 13))


def test_ids_below_num_classes_stay_ids_and_those_without_an_image_are_told(images):
    plan, found = plan_of(images, rows(labels=("1", "3")), "--num_classes=5")
    assert plan.task == Classification(5)
    told = found["classes without images"]
    assert (told.severity, told.count) == ("warning", 3)
    assert told.examples == ("class 0", "class 2", "class 4")


def test_a_gap_in_ids_is_told(images):
    plan, found = plan_of(images, rows(labels=("0", "1", "3")))
    assert plan.task == Classification(4)
    assert found["classes without images"].examples == ("class 2",)


def test_one_class_alone_is_refused_by_its_name(images):
    told = refusal(images, rows(labels=("cat",)))
    assert "The training list has the label 'cat' in 40 rows and no other" in told
    assert "--task=pretrain" in told


@pytest.mark.parametrize("labels", [("Cat", "cat", "dog"), ("hot  dog", "hot dog", "cat")])
def test_labels_in_two_spellings_are_told(images, labels):
    assert plan_of(images, rows(labels=labels))[1]["spellings of a label"].severity == "warning"


@pytest.mark.parametrize("sign", ["\u200b", "\u00ad", "\ufeff", "\u200e"])
def test_labels_that_differ_in_invisible_characters_are_told_with_these_as_escapes(images, sign):
    found = plan_of(images, rows(labels=("cat", f"cat{sign}", "dog")))[1]["spellings of a label"]
    escape = sign.encode("unicode_escape").decode()
    assert found.severity == "warning" and f"'cat{escape}': 13 images" in found.examples[0]


def test_an_error_shows_invisible_characters_as_escapes(images):
    lines = rows(labels=("cat", "cat\u200b", "dog"))
    assert r"(cat, cat\u200b, dog)" in refusal(images, lines, "--num_classes=2")


def test_what_is_noticed_shows_invisible_characters_as_escapes(images):
    told = table(list(plan_of(images, ["pa\u200bth,label", *rows()])[1].values()))
    assert r"names the columns: pa\u200bth, label" in told


@pytest.mark.parametrize("label", ["nan", "NaN", "null", "None", "N/A", "<NA>"])
def test_a_class_that_looks_like_a_missing_value_is_a_warning(images, label):
    found = plan_of(images, rows(labels=("cat", "dog", label)))[1]["labels that look missing"]
    assert (found.severity, found.count) == ("warning", 1)
    assert found.examples == (f"{label!r}: 13 images",)


def test_a_number_in_two_spellings_is_told_with_both(images):
    found = plan_of(images, rows(labels=("0", "0.0", "1", "2")))[1]["spellings of a label"]
    assert found.severity == "warning" and found.examples == ("'0': 10 images, '0.0': 10 images",)


def test_classes_of_very_different_size_are_told(images):
    lines = [f"i{n}.png,{'rare' if n in (3, 4) else 'common'}" for n in range(COUNT)]
    _, found = plan_of(images, lines)
    assert "38 images of 'common', 2 of 'rare'" in found["uneven classes"].told


def test_ids_in_two_spellings_are_counted_as_the_classes_that_they_are(images):
    label = {n: ("0", "00")[n % 2] if n > 2 else "1" for n in range(COUNT)}
    plan, found = plan_of(images, [f"i{n}.png,{label[n]}" for n in range(COUNT)])
    assert "37 images of '0', 3 of '1'" in found["uneven classes"].told
    held_out = [row for row in parse_rows(plan.lists.train)[0] if _held_out(row)]
    zeros = sum(int(row.target) == 0 for row in held_out)
    assert plan.gate.min_metric == pytest.approx(zeros / len(held_out), abs=1e-3)


def test_a_class_that_is_held_out_in_another_spelling_is_not_told_as_unseen(images):
    plan, _ = plan_of(images, rows(labels=("0", "1")))
    first = next(row for row in parse_rows(plan.lists.train)[0] if _held_out(row))
    lines = [line.replace(f"{first.name},", f"{first.name},0") for line in rows(labels=("0", "1"))]
    assert "unseen classes" not in plan_of(images, lines)[1]


# Rows that cannot be used.


def test_skipped_rows_are_counted_with_their_share_and_the_first_named(images):
    lines = [*rows(), "gone.png,cat", "i1.png,cat,x", "also_gone.png,unknown"]
    plan, found = plan_of(images, lines, "--on_bad_row=skip")
    told = found["skipped rows"]
    assert (told.severity, told.count) == ("warning", 3)
    assert "3 of 43 rows were skipped (7 %)" in told.told
    assert any("list.csv:41: " in example for example in told.examples)
    assert plan.task == Classification(2, ("cat", "dog"))


def test_rows_that_cannot_be_used_at_all_are_a_sentence(images):
    lines = ["gone.png,cat", "https://example.org/b.png,dog"]
    assert "no row of this list can be used" in refusal(images, lines, "--on_bad_row=skip")


def test_two_images_are_refused_before_anything_starts(images):
    assert "No image is" in refusal(images, rows(count=2))


def test_few_held_out_images_are_told(images):
    _, found = plan_of(images, rows())
    assert "few held out images" not in found
    _, found = plan_of(images, rows(count=20))
    assert found["few held out images"].severity == "warning"


def held_out_list(folder, *targets):
    """Returns the flag of a list to evaluate on, of images of its own."""
    lines = []
    for number in range(12):
        Image.new("L", (16, 16), 100 + number).save(folder / f"v{number}.png")
        lines.append(f"v{number}.png,{targets[number % len(targets)]}")
    (folder / "val.csv").write_text("\n".join(lines))
    return f"--val_file_path={folder / 'val.csv'}"


@pytest.mark.parametrize(
    ("labels", "alone", "flag", "kind"),
    [
        (("cat", "dog"), "cat", "--task=classification", "one class held out"),
        (("0", "1"), "1", "--task=classification", "one class held out"),
        (("3", "4.5"), "3", "--task=regression", "one number held out"),
    ],
)
def test_held_out_images_that_all_want_one_answer_are_a_warning(images, labels, alone, flag, kind):
    found = plan_of(images, rows(labels=labels), flag, held_out_list(images, alone))[1][kind]
    assert (found.severity, found.count) == ("warning", 12) and alone in found.told
    assert kind not in plan_of(images, rows(labels=labels), flag, held_out_list(images, *labels))[1]


def test_a_class_whose_images_are_all_held_out_is_told(images):
    plan, _ = plan_of(images, rows())
    held_out = [row for row in parse_rows(plan.lists.train)[0] if _held_out(row)]
    lines = [f"i{n}.png,{'rare' if f'i{n}.png' == held_out[0].name else ['cat', 'dog'][n % 2]}"
             for n in range(COUNT)]  # fmt: skip
    assert plan_of(images, lines)[1]["unseen classes"].examples == ("rare",)


def test_a_class_of_a_split_list_that_nothing_judges_is_told(images):
    plan, _ = plan_of(images, rows())
    learned = [row for row in parse_rows(plan.lists.train)[0] if not _held_out(row)]
    lines = [f"i{n}.png,{'rare' if f'i{n}.png' == learned[0].name else ['cat', 'dog'][n % 2]}"
             for n in range(COUNT)]  # fmt: skip
    assert plan_of(images, lines)[1]["classes without held out images"].examples == ("rare",)


def _held_out(row):
    from components.file_list_example_gen.held_out import is_held_out

    return is_held_out(row.image_id)


@pytest.mark.tfx
def test_what_is_held_out_is_known_before_as_tfx_will_split_it():
    import tensorflow as tf
    from tfx.components.example_gen.base_example_gen_executor import _PartitionFn
    from tfx.proto import example_gen_pb2

    from components.file_list_example_gen.held_out import is_held_out

    config = example_gen_pb2.SplitConfig(partition_feature_name="image_id")
    rng = random.Random(0)
    for number in [0, 1, 127, 128, 2**62, *(rng.getrandbits(63) for _ in range(300))]:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
        example = tf.train.Example(features=tf.train.Features(feature={"image_id": feature}))
        assert is_held_out(number) == bool(_PartitionFn(example, 2, [4, 5], config))


def test_20000_names_in_20000_rows_are_checked_within_a_second():
    names = [f"person {n:05}" for n in range(20_000)]
    started = time.perf_counter()
    task = Classification.from_targets(names, Target())
    assert [task.problem(name) for name in names] == [""] * len(names)
    assert time.perf_counter() - started < 1


# What nobody writes on purpose.

PIECES = [
    "i1.png", "i2.png", "/", "\\", ",", ";", "\t", " ", '"', '""', "'", "\n", "\r", "\r\n", "\0",
    "\ufeff", "cat", "7", "-1", "007", "path", "label", "https://a", "file://", "gs://b/c.png", "ü",
    "u\u0308", "\u2028",
    "%20", "[", "{", "..", "~", "\x1c", "\ud7ff", "nan", "é" * 300, "i1.png,7,5\n",
]  # fmt: skip
HEADS = ["", "", "path,label\n"]  # of a list; one of two columns before rows of more


def random_list(rng):
    pieces = (rng.choice(PIECES) for _ in range(rng.randint(0, 24)))
    return rng.choice(HEADS) + "".join(pieces)


def parse_random_lists(folder, count):
    """Parses lists of random pieces; returns how many were read. Any error but ours fails."""
    rng, read, path = random.Random(0), 0, folder / "random.csv"
    for _ in range(count):
        path.write_bytes(random_list(rng).encode())
        try:
            found, problems = parse_rows(str(path))
        except InputError:
            continue
        read += bool(found)
        assert all(row.name and row.path and isinstance(row.target_path, str) for row in found)
        assert all(str(problem) for problem in problems)
    return read


def test_no_list_of_random_pieces_ends_in_another_error_than_ours(images):
    assert parse_random_lists(images, 1_000) > 100


def test_every_way_of_parting_columns_takes_any_text():
    rng = random.Random(1)
    for way in WAYS.values():
        for _ in range(300):
            try:
                assert isinstance(way(random_list(rng)), list)
            except Exception as error:  # noqa: BLE001 (the claim is about which ones there are)
                assert type(error).__name__ == "Error", error


def test_one_list_named_twice_is_refused_in_one_line(images):
    with pytest.raises(InputError, match=r"list\.csv: is the training list, too.*held out$"):
        plan_of(images, rows(), f"--val_file_path={images / 'list.csv'}")
