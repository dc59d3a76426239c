"""Label maps as people draw them: what makes a segmentation meaningless is refused before training,
what may is told.
"""

import io
import random

import numpy as np
import pytest
from PIL import Image

from components.file_list_example_gen.reading import ReadRow, read_row
from components.file_list_example_gen.rows import Row, check_rows
from pipeline import check as whole_check
from pipeline.flags import build_parser, choices_of
from trainer_module.errors import InputError
from trainer_module.findings import WARNING
from trainer_module.segmentation.label_map import read_label_map
from trainer_module.segmentation.pixels import noticed, of_class, of_colour
from trainer_module.settings import Target
from trainer_module.tasks.segmentation import Segmentation

COUNT = 24


def png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def ids(place):
    """Class 1 is a region whose place differs from map to map, class 0 all around it."""
    found = np.zeros((16, 16), np.uint8)
    found[2 + place % 5 : 12, 3:9] = 1
    return found


def with_palette(pixels, *colours):
    image = Image.fromarray(pixels)
    image.putpalette([value for colour in colours for value in colour] + [0] * 700)
    return png(image)


def one_bit(place):
    return png(Image.fromarray(ids(place) * 255).convert("1"))


BLACK, RED = (0, 0, 0), (255, 0, 0)
KINDS = {
    "ids": lambda place: png(Image.fromarray(ids(place))),
    "black_white": lambda place: png(Image.fromarray(ids(place) * 255)),
    "one_bit": one_bit,
    "white_of_1_and_8_bits": lambda place: (
        one_bit(place) if place % 3 else png(Image.fromarray(ids(place) * 255))
    ),
    "from_one": lambda place: png(Image.fromarray(ids(place) + 1)),
    "all_ignored": lambda place: png(Image.fromarray(ids(place) * 0 + 255)),
    "one_class": lambda place: png(Image.fromarray(ids(place) * 0)),
    "spread": lambda place: png(Image.fromarray(ids(place) * 127)),
    "palette": lambda place: with_palette(ids(place), BLACK, RED),
    "reordered": lambda place: with_palette(
        *((1 - ids(place), RED, BLACK) if place % 2 else (ids(place), BLACK, RED))
    ),
}


@pytest.fixture
def check(tmp_path):
    """Returns a function that checks images with label maps of a kind; gives findings by kind."""

    def run(kind, *flags):
        lines = []
        for place in range(COUNT):
            image = np.random.default_rng(place).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / f"{place}.png")
            (tmp_path / f"{place}_map.png").write_bytes(KINDS[kind](place))
            lines.append(f"{place}.png,{place}_map.png\n")
        (tmp_path / "list.csv").write_text("".join(lines))
        named = [f"--train_file_path={tmp_path / 'list.csv'}", "--task=segmentation", *flags]
        few = ["--set", "gate.least_eval_images=1"]
        found, _ = whole_check.check(choices_of(build_parser().parse_args([*named, *few])))
        return {finding.kind: finding for finding in found}

    return run


@pytest.mark.parametrize("kind", ["ids", "one_bit", "palette"])
def test_class_ids_have_no_findings(kind, check):
    assert check(kind, "--num_classes=2") == {}


def test_images_that_share_a_label_map_are_a_warning():
    (found,) = Segmentation(2).noticed_in_rows(["a.png", "b.png", "a.png"])
    assert (found.severity, found.told) == (WARNING, "2 rows share 1 label map")


def test_an_image_that_is_its_own_label_map_is_a_bad_row(tmp_path):
    Image.fromarray(ids(0)).save(tmp_path / "0.png")
    path = str(tmp_path / "0.png")
    row = Row(str(tmp_path / "list.csv"), 1, path, path)
    (problem,) = check_rows([row], Segmentation(2))
    assert problem.reason == "the label map is the image itself"
    assert read_row(row, Segmentation(2), labelled=True) == problem  # ingest leaves it out, too


def test_white_for_a_class_is_refused_with_its_share_and_what_to_do(check):
    with pytest.raises(InputError) as refused:
        check("black_white", "--num_classes=2")
    told = str(refused.value)
    assert "All pixels of the training label maps that count are of class 0" in told
    assert "19 % of the pixels have the ignored id 255" in told
    assert "Fix: if 255 (white) stands for a class: --set target.values=0,255" in told


def test_black_and_white_are_read_as_two_classes_where_that_is_said(check):
    assert check("black_white", "--set", "target.values=0,255") == {}
    task = Segmentation.from_targets(["a.png"], Target(values=(0, 255)))
    assert (task.num_classes, task.values) == (2, (0, 255))
    encoded = task.example_fields(KINDS["black_white"](3), (16, 16))["label_map"]
    assert np.array_equal(read_label_map(encoded), ids(3))


def test_white_for_a_class_in_some_maps_and_ignored_in_others_is_refused_with_what_to_do(check):
    told = "White is class 1 in 16 label maps of 1 bit a pixel, but the ignored 255 in 8 of 8 bits"
    with pytest.raises(InputError, match=told) as refused:
        check("white_of_1_and_8_bits", "--num_classes=2")
    assert "Fix: if 255 (white) stands for a class: --set target.values=0,255" in str(refused.value)


@pytest.mark.parametrize("kind", ["one_bit", "white_of_1_and_8_bits"])
def test_white_is_255_in_maps_of_any_bits_where_values_are_said(kind, check):
    assert check(kind, "--set", "target.values=0,255") == {}
    task = Segmentation(2, values=(0, 255))
    encoded = task.example_fields(KINDS[kind](4), (16, 16))["label_map"]
    assert np.array_equal(read_label_map(encoded), ids(4))


def test_a_map_of_ignored_pixels_alone_beside_black_ones_of_1_bit_is_none_of_white_for_a_class():
    task, border = Segmentation(2), ids(0)
    border[0] = 255
    black = task.counts(png(Image.new("1", (16, 16))))
    assert black == of_class(ids(0) * 0)
    assert task.counts(png(Image.fromarray(border))) == of_class(border)
    assert task.counts(with_palette(ids(0) * 255, BLACK, RED)).keys() >= {"0", "255"}
    assert noticed({"train": {"0": 5, "1": 5, "255": 5}}, 2, 255) == []


def test_a_value_that_is_none_of_those_said_is_a_bad_row(check):
    with pytest.raises(InputError, match=r"holds the value 127, none of `target\.values`, 0, 255"):
        check("spread", "--set", "target.values=0,255")


@pytest.mark.parametrize("values", ["0", "0,0", "0,256", "-1,3", "0,1,2"])
def test_values_that_no_label_map_has_are_refused(values, check):
    with pytest.raises(InputError, match="values"):
        check("ids", "--num_classes=2", "--set", f"target.values={values}")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("all_ignored", "No pixel of the training label maps counts: 100 % of the pixels"),
        ("one_class", "All pixels of the training label maps that count are of class 0"),
        ("from_one", "holds class id 2, outside"),
    ],
)
def test_label_maps_without_two_classes_are_refused_before_training(kind, told, check):
    with pytest.raises(InputError, match=told):
        check(kind, "--num_classes=2")


def test_a_class_without_a_pixel_is_told_with_the_pixels_of_the_others(check):
    told = check("from_one", "--num_classes=3")["pixels by class"]
    assert told.severity == "warning" and "class of 3 without a pixel" in told.told
    assert told.examples[0] == "class 0: 0 pixels"
    assert (
        told.examples[2] == f"class 2: {sum(ids(place).sum() for place in range(COUNT)):,} pixels"
    )


def test_a_class_without_a_pixel_in_the_evaluation_list_alone_is_told_too():
    sums = {"train": {"0": 5, "1": 5, "2": 5}, "eval": {"0": 9, "2": 1}}
    (found,) = noticed(sums, 3, 255)
    assert found.severity == "note" and "in the evaluation label maps: 1" in found.told


def test_evaluation_label_maps_of_one_class_alone_are_a_warning():
    sums = {"train": {"0": 5, "1": 5}, "eval": {"0": 9}}
    (found,) = noticed(sums, 2, 255)
    assert found.severity == "warning" and "always answering class 0 is right" in found.told


def test_palettes_that_differ_from_file_to_file_are_told_with_counts(check):
    told = check("reordered", "--num_classes=2")["palettes"]
    assert told.severity == "warning"
    assert told.examples[0] == "class 0: #000000 in 12 files, #ff0000 in 12 files"


def test_colours_of_indices_that_no_pixel_has_are_no_difference():
    first = with_palette(ids(0), BLACK, RED, (1, 2, 3))
    second = with_palette(ids(0), BLACK, RED, (9, 9, 9))
    task = Segmentation(2)
    sums = of_class(ids(0)) | {
        key: 2 * count for key, count in of_colour({0: "000000", 1: "ff0000"}).items()
    }
    assert (
        task.counts(first)
        == task.counts(second)
        == of_class(ids(0)) | of_colour({0: "000000", 1: "ff0000"})
    )
    assert noticed({"train": sums}, 2, 255) == []


def corrupted(rng):
    """A label map with some bytes changed, cut off or doubled."""
    content = bytearray(KINDS[rng.choice([*KINDS])](rng.randrange(8)))
    for _ in range(rng.randint(0, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    start = rng.choice((0, 0, 0, rng.randrange(len(content))))
    return bytes(content[start : rng.choice((len(content), rng.randrange(len(content))))])


def read_random_label_maps(folder, count):
    """Reads damaged label maps as ingest does; returns how many passed."""
    rng, passed, task = random.Random(0), 0, Segmentation(3)
    Image.new("RGB", (16, 16)).save(folder / "image.png")
    row = Row(str(folder / "list.csv"), 1, "image.png", "map.png")
    for _ in range(count):
        (folder / "map.png").write_bytes(corrupted(rng))
        passed += isinstance(read_row(row, task, labelled=True), ReadRow)
    return passed


def test_no_damaged_label_map_ends_in_another_error_than_a_bad_row(tmp_path):
    assert 10 < read_random_label_maps(tmp_path, 500) < 490
