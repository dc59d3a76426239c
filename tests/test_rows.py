import os

import pytest

from components.file_list_example_gen.list_fingerprint import EARLIEST, fingerprint
from components.file_list_example_gen.rows import Problem, check_rows, read_rows, refuse
from trainer_module.errors import InputError
from trainer_module.settings import Target
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_row_is_a_path_or_a_path_and_a_target(tmp_path):
    rows = read_rows(write(tmp_path / "list.csv", "a.png\nsub/b.png, 3\n\n/abs/c.png,dog\n"))
    assert [(row.line, row.path, row.target) for row in rows] == [
        (1, f"{tmp_path}/a.png", ""),
        (2, f"{tmp_path}/sub/b.png", "3"),
        (4, "/abs/c.png", "dog"),
    ]


def test_a_path_with_a_comma_is_quoted(tmp_path):
    assert read_rows(write(tmp_path / "list.csv", '"a,b.png",1\n'))[0].name == "a,b.png"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfa.png,1\r\nb.png,2\r\n")
    assert [(row.name, row.target) for row in read_rows(str(path))] == [
        ("a.png", "1"),
        ("b.png", "2"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "list is empty"),
        ("a.png,1,2\n", "list.csv:1: a.png: malformed row"),
        (",1\n", "malformed row"),
        ('"a.png,1\n', "malformed row"),
    ],
)
def test_a_bad_list_is_refused_with_its_name_and_the_reason(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason):
        read_rows(write(tmp_path / "list.csv", content))


def test_a_missing_list_and_a_directory_are_named(tmp_path):
    with pytest.raises(InputError, match="no such list file"):
        read_rows(str(tmp_path / "absent.csv"))
    with pytest.raises(InputError, match="is a directory, expected a text file") as refused:
        read_rows(str(tmp_path))
    assert "--images" not in str(refused.value)  # which is of a run alone


def test_a_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_rows(str(tmp_path / "list.csv"))


def test_a_list_that_is_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(InputError, match="cannot be read: it is a named pipe, not a file"):
        read_rows(str(tmp_path / "list.csv"))
    with pytest.raises(InputError, match="cannot be read: it is a device, not a file"):
        read_rows("/dev/zero")


def test_a_pipe_of_the_shell_is_read_as_a_list(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"a.png\n")
    os.close(writing)
    assert [row.name for row in read_rows(f"/dev/fd/{reading}")] == ["a.png"]


def test_every_bad_row_is_found_in_one_pass(tmp_path, image_list):
    image_list("train", 2)
    text = "train/0.png,0\nabsent.png,1\ntrain,1\ntrain/1.png,7\ntrain/1.png,cat\ntrain/1.png\n"
    text += "pipe.png,1\n"
    os.mkfifo(tmp_path / "pipe.png")
    problems = check_rows(
        read_rows(write(tmp_path / "list.csv", text)), Classification(num_classes=2)
    )
    assert [(problem.line, problem.reason) for problem in problems] == [
        (2, "no such image"),
        (3, "is a directory, not an image"),
        (4, "label 7 lies outside [0, 2)"),
        (5, "label 'cat' is not an integer, as the labels of the training list are"),
        (6, "no label: a row of this task is `path,label`"),
        (7, "is a named pipe, not an image"),
    ]


def test_rows_that_are_bad_for_one_reason_are_told_together(tmp_path):
    names = [f"{index}.png" for index in range(25)]
    rows = read_rows(write(tmp_path / "list.csv", "\n".join([*names, str(tmp_path)])))
    with pytest.raises(InputError) as error:
        refuse(check_rows(rows, Unlabelled()))
    assert str(error.value).replace(f"{tmp_path}/", "").splitlines() == [
        "26 bad rows:",
        "25 rows: no such image",
        "  list.csv:1: 0.png",
        "  list.csv:2: 1.png",
        "  list.csv:3: 2.png",
        "  ... and 22 more",
        f"list.csv:26: {tmp_path}: is a directory, not an image",
        "Fix: mend or remove them",
    ]


def test_the_first_20_reasons_are_told_and_the_other_rows_counted():
    problems = [Problem("list.csv", line, "a.png", f"reason {line}") for line in range(1, 26)]
    with pytest.raises(InputError) as error:
        refuse(problems)
    lines = str(error.value).splitlines()
    assert (lines[0], len(lines), lines[-2]) == ("25 bad rows:", 23, "... and 5 more")


def test_the_fingerprint_sees_an_image_edited_in_place_but_not_a_touched_list(tmp_path, image_list):
    path = image_list("train", 3)
    before = fingerprint(read_rows(str(path)))
    os.utime(path, ns=(1, 1))
    assert fingerprint(read_rows(str(path))) == before
    os.utime(tmp_path / "train" / "1.png", ns=(1, 1))
    assert fingerprint(read_rows(str(path))) != before


@pytest.mark.parametrize("when", ["the epoch", "1980", "one time for all", "the future"])
@pytest.mark.parametrize("with_targets", [False, True])
def test_the_fingerprint_sees_a_content_where_times_cannot_be_trusted(
    tmp_path, image_list, when, with_targets
):
    rows = read_rows(str(image_list("train", 3)))
    if with_targets:
        rows = read_rows(write(tmp_path / "list.csv", "train/0.png,train/1.png\n"))
    future = 4 * 10**18
    times = {
        "the epoch": 0,
        "1980": EARLIEST - 10**9,
        "one time for all": 10**18,
        "the future": future,
    }

    def set_times():
        for index in range(3):
            moved = 0 if when == "one time for all" else index
            os.utime(tmp_path / "train" / f"{index}.png", ns=(0, times[when] + moved))

    set_times()
    before = fingerprint(rows, with_targets)
    assert fingerprint(rows, with_targets) == before
    file = tmp_path / "train" / "1.png"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    set_times()
    assert (fingerprint(rows, with_targets) != before) is True


def test_the_fingerprint_reads_no_content_where_times_tell(image_list, tmp_path):
    rows = read_rows(str(image_list("train", 3)))
    for index in range(3):
        file = tmp_path / "train" / f"{index}.png"
        os.utime(file, ns=(10**18 + index, 10**18 + index))
    before = fingerprint(rows)
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))
    os.utime(file, ns=(10**18 + 2, 10**18 + 2))
    assert fingerprint(rows) == before


def test_the_fingerprint_sees_a_label_map_edited_in_place(tmp_path, image_list):
    image_list("train", 2)
    rows = read_rows(write(tmp_path / "list.csv", "train/0.png,train/1.png\n"))
    before = fingerprint(rows, with_targets=True)
    os.utime(tmp_path / "train" / "1.png", ns=(1, 1))
    assert fingerprint(rows, with_targets=True) != before


def test_a_missing_label_map_is_told_beside_its_image(tmp_path, image_list):
    image_list("train", 2)
    rows = read_rows(
        write(tmp_path / "list.csv", "train/0.png,absent.png\ntrain/1.png,train\ntrain/1.png\n")
    )
    assert [str(problem) for problem in check_rows(rows, Segmentation(2))] == [
        f"{tmp_path}/list.csv:1: {tmp_path}/train/0.png: no such label map {tmp_path}/absent.png",
        f"{tmp_path}/list.csv:2: {tmp_path}/train/1.png: is a directory, not a label map "
        f"{tmp_path}/train",
        f"{tmp_path}/list.csv:3: {tmp_path}/train/1.png: no label map: a row of this task is "
        f"`path,labelmap`",
    ]


def test_the_image_id_does_not_depend_on_the_folder(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "list.csv", "a.png\n")
    ids = {read_rows(str(tmp_path / folder / "list.csv"))[0].image_id for folder in ("one", "two")}
    assert len(ids) == 1
    assert 0 <= ids.pop() < 2**63


def test_integer_labels_are_class_ids_and_others_are_names():
    assert Classification.from_targets(["0", "2"], Target()) == Classification(3)
    assert Classification.from_targets(["dog", "cat", "dog"], Target()) == Classification(
        2, ("cat", "dog")
    )


@pytest.mark.parametrize(
    ("targets", "num_classes", "message"),
    [
        (["a", "b", "c"], 2, "num_classes"),
        (["0", "0"], 0, r"has the label '0' in 2 rows and no other, but a classifier needs two"),
    ],
)
def test_a_list_with_too_many_or_too_few_classes_is_refused(targets, num_classes, message):
    with pytest.raises(InputError, match=message):
        Classification.from_targets(targets, Target(num_classes))


@pytest.mark.parametrize("task", [Classification, Regression])
def test_label_maps_are_no_labels_and_no_numbers_and_the_task_that_takes_them_is_named(task):
    with pytest.raises(InputError, match=r"Fix: of label maps --task=segmentation --num_classes=C"):
        task.from_targets(["maps/0.png", "maps/1.PNG", ""], Target())
