"""ExampleGen's driver: what of the rows and files is part of the cache key of ingest."""

import pytest
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs

from components.file_list_example_gen.component import FileListExampleGen
from components.file_list_example_gen.driver import ListDriver
from trainer_module.errors import InputError
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.segmentation import Segmentation

pytestmark = pytest.mark.tfx


@pytest.fixture
def rows(tmp_path):
    """Returns a function that writes a list of two images whose targets name files."""

    def write(name):
        for index in range(2):
            (tmp_path / f"{index}.png").write_bytes(b"image")
            (tmp_path / f"{index}_map.png").write_bytes(b"map")
        path = tmp_path / name
        path.write_text("0.png,0_map.png\n1.png,1_map.png\n")
        return path

    return write


def key(task, **lists):
    """Returns what the driver adds to the parameters of a node with these lists, as TFX has it do
    so.
    """
    node = FileListExampleGen(
        {split: str(path) for split, path in lists.items()}, task_to_json(task), "x"
    )
    properties = dict(node.exec_properties)
    driver = ListDriver(None)
    driver.resolve_exec_properties(properties, None, None)
    return properties["input_fingerprint"], properties[standard_component_specs.INPUT_BASE_KEY]


def test_it_names_each_list_with_its_digest(rows):
    found, base = key(Classification(2), train=rows("train.csv"), eval=rows("eval.csv"))
    assert [part.split(",")[0] for part in found.split(";")] == ["train:rows:2", "eval:rows:2"]
    assert base == str(rows("train.csv").parent)


def test_a_label_map_that_changes_counts_if_targets_are_files(rows, tmp_path):
    path = rows("train.csv")
    before = key(Segmentation(2), train=path), key(Classification(2), train=path)
    (tmp_path / "0_map.png").write_bytes(b"another map")
    after = key(Segmentation(2), train=path), key(Classification(2), train=path)
    assert after[0] != before[0] and after[1] == before[1]


def test_targets_of_the_unlabelled_list_are_not_looked_at(rows, tmp_path):
    lists = {"train": rows("train.csv"), "pretrain": rows("pretrain.csv")}
    lists["pretrain"].write_text("0.png,gone.png\n")
    assert key(Segmentation(2), **lists)[0].endswith(
        key(Segmentation(2), pretrain=lists["pretrain"])[0]
    )


def test_a_list_with_glob_characters_in_its_name_is_that_one_list(rows):
    path = rows("train[1].csv")
    splits = [example_gen_pb2.Input.Split(name="train", pattern=path.name)]
    processor = ListDriver(None).get_input_processor(splits, None, str(path.parent))
    assert processor.resolve_span_and_version() == (0, None)
    assert processor.get_input_fingerprint(0, None).startswith("train:rows:2,sha256:")


def test_without_options_targets_are_no_files(rows):
    path = rows("train.csv")
    splits = [example_gen_pb2.Input.Split(name="train", pattern=path.name)]
    processor = ListDriver(None).get_input_processor(splits, None, str(path.parent))
    assert f"{processor.get_input_fingerprint(0, None)}" == key(Classification(2), train=path)[0]


def test_a_span_in_the_name_of_a_list_is_resolved_to_the_latest(rows, tmp_path):
    rows("train-1.csv").write_text("0.png,0_map.png\n")
    rows("train-2.csv")
    found, _ = key(Classification(2), train=tmp_path / "train-{SPAN}.csv")
    assert found == key(Classification(2), train=tmp_path / "train-2.csv")[0]


def test_a_missing_image_is_told(rows, tmp_path):
    path = rows("train.csv")
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match="no such file"):
        key(Classification(2), train=path)


def test_an_image_that_changes_between_the_look_and_the_reading_has_another_key_next_time(
    rows, tmp_path
):
    found = key(Classification(2), train=rows("train.csv"))
    (tmp_path / "1.png").write_bytes(b"another")  # what the run that looked before now reads
    assert key(Classification(2), train=tmp_path / "train.csv") != found
