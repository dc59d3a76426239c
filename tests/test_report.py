"""The report's parts: drawing, maps, pictures, mistakes, text that stays text."""

import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks.lineage import fill
from components.metadata.snapshot import read
from components.metadata.store import open_store
from components.metadata.stored_run import StoredRun, runs_with_other_models
from components.report import drawing, pictures, plots
from components.report.answers import answers, most_confused
from components.report.contents import collect, nearness
from components.report.details import flat
from components.report.maps import flat_map, spread
from components.report.page import duration, json_data, megabytes, render
from components.report.sample import Sample
from components.report.tensorboard import METADATA_FILE, write_projector
from pipeline import report
from trainer_module.examples import Examples
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.unlabelled import Unlabelled


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """Rows as TFX writes them: a run, one with another parameter, one that is cached from end to
    end; no files.
    """
    folder = tmp_path_factory.mktemp("store")
    fill(str(folder / "metadata.sqlite"), folder, ["data", "parameter", "nothing"])
    return read(open_store(str(folder / "metadata.sqlite")))


@pytest.fixture(scope="module")
def latest(snapshot):
    return StoredRun(snapshot, list(snapshot.runs)[-1])


def test_every_node_stands_below_all_that_it_reads_from(latest):
    drawn = drawing.draw(latest)
    top = {box.name: box.y for box in drawn.boxes}
    assert set(top) == set(latest.nodes)
    assert len(drawn.lines) > 10
    assert all(top[line.source] < top[line.target] for line in drawn.lines)


def test_nodes_do_not_cover_each_other_and_stay_inside_the_drawing(latest):
    drawn = drawing.draw(latest)
    for one in drawn.boxes:
        assert (
            one.x >= 0
            and one.x + drawing.WIDTH <= drawn.width
            and one.y + drawing.HEIGHT <= drawn.height
        )
        apart = [
            abs(one.x - other.x) >= drawing.WIDTH or abs(one.y - other.y) >= drawing.HEIGHT
            for other in drawn.boxes
            if other is not one
        ]
        assert all(apart)


def test_a_long_line_goes_round_the_nodes_between_its_ends():
    edges = {("a", "b"), ("b", "c"), ("a", "c")}
    layers = drawing.ordered_layers(drawing.depths(["a", "b", "c"], edges), edges)
    assert [len(layer) for layer in layers] == [1, 2, 1]
    assert set(layers[1]) == {"b", ("a", 1)}


def test_a_node_that_reads_nothing_stands_beside_the_one_that_ran_before_it():
    assert drawing.depths(["a", "b", "alone", "c"], {("a", "b"), ("b", "c")}) == {
        "a": 0,
        "b": 1,
        "alone": 1,
        "c": 2,
    }


def test_earlier_runs_are_those_with_a_model_of_their_own(snapshot):
    first, second, cached = snapshot.runs
    assert [run.id for run in runs_with_other_models(StoredRun(snapshot, cached))] == [first]
    assert [run.id for run in runs_with_other_models(StoredRun(snapshot, second))] == [first]
    assert runs_with_other_models(StoredRun(snapshot, first)) == []


def test_a_run_whose_files_are_gone_still_has_lineage_and_settings(latest):
    contents = collect(latest)
    assert contents.sample is None and contents.maps is None and contents.answers is None
    assert {item["name"] for item in contents.details} == set(latest.nodes)
    assert contents.settings


def test_of_a_run_whose_examples_are_gone_and_its_encoder_is_not_no_views_are_drawn(tmp_path):
    fill(str(tmp_path / "metadata.sqlite"), tmp_path, ["data"])
    snapshot = read(open_store(str(tmp_path / "metadata.sqlite")))
    (run,) = (StoredRun(snapshot, one) for one in snapshot.runs)
    run.folder("Pretrainer", "model").mkdir(parents=True)
    assert collect(run).views is None


def test_t_sne_keeps_groups_apart_and_is_the_same_every_time():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 20))
    vectors = np.concatenate([centre + 0.01 * rng.normal(size=(20, 20)) for centre in centres])
    points = flat_map(vectors)
    groups = points.reshape(3, 20, 2)
    within = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=-1).mean()
    between = np.linalg.norm(groups.mean(axis=1)[:, None] - groups.mean(axis=1)[None], axis=-1)[
        np.triu_indices(3, 1)
    ].min()
    assert between > 3 * within
    np.testing.assert_array_equal(points, flat_map(vectors))


@pytest.mark.parametrize(
    "vectors", [np.ones((12, 4)), np.eye(12, 3)], ids=["all equal", "fewer dims than two maps need"]
)
def test_t_sne_of_collapsed_or_few_features_is_finite(vectors):
    assert np.isfinite(flat_map(vectors)).all()


def test_a_tile_of_the_sheet_shows_its_image_alone():
    images = np.zeros((5, 24, 24, 3), np.uint8)
    images[3] = 255
    sheet = pictures.sheet(images)
    pixels = np.asarray(Image.open(io.BytesIO(sheet.jpeg)))
    assert pixels.shape == (sheet.rows * sheet.side, sheet.columns * sheet.side, 3)
    tiles = (
        pixels.reshape(sheet.rows, sheet.side, sheet.columns, sheet.side, 3)
        .mean(axis=(1, 3, 4))
        .ravel()
    )
    np.testing.assert_allclose(tiles, [0, 0, 0, 255, 0, 0], atol=1)


def test_small_pictures_keep_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    uri = pictures.picture(image)
    import base64

    assert uri.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))), image
    )


def test_the_most_confused_pairs_come_first_and_right_answers_are_none():
    counts = np.array([[90, 5, 0], [9, 80, 0], [0, 1, 70]])
    assert most_confused(counts, 2) == [(1, 0), (0, 1)]
    assert most_confused(np.diag([3, 4]), 2) == []


def test_figures_are_what_plotly_accepts():
    import plotly.graph_objects as go

    points = np.random.default_rng(0).normal(size=(6, 2))
    figures = [
        plots.curves({"loss": [3.0, None, 1.0]}, "loss"),
        plots.curves({"a": [0.1], "b": [None]}, "accuracy", percent=True),
        plots.flat_map(points, ["cat", "dog"] * 3),
        plots.flat_map(points, np.arange(6.0)),
        plots.flat_map(points, None),
        plots.confusion(np.eye(3, dtype=int), ["a", "b", "c"]),
        plots.bars({"train": {"a": 1}, "eval": {"b": 2}}, "class"),
        plots.against_truth(np.arange(6.0), np.arange(6.0) + 1, "age"),
    ]
    for figure in figures:
        go.Figure(data=figure["data"], layout=figure["layout"])
        json.dumps(figure)


def test_characters_that_act_unseen_are_written_as_escapes():
    told = json.loads(json_data(["a\nb\u202egpj\u200fc", "Straße 犬 🐕"]))
    assert told == ["a\\nb\\u202egpj\\u200fc", "Straße 犬 🐕"]


def test_a_name_with_a_line_break_is_one_row_of_the_projector(tmp_path):
    sheet = pictures.sheet(np.zeros((2, 8, 8, 3), np.uint8))
    write_projector(tmp_path, {"features": np.eye(2)}, {"image": ["a\nb", "c\td"]}, sheet)
    assert (tmp_path / METADATA_FILE).read_text() == "a\\nb\nc\\td\n"


def test_json_in_a_page_cannot_end_its_script_and_reads_as_it_was():
    value = {"name": "</script><script>alert(1)</script>", "list": ["<!--", 1.5, None]}
    text = str(json_data(value))
    assert "<" not in text
    assert json.loads(text) == value


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_a_page_holds_no_number_that_its_browser_cannot_read(latest):
    """JSON has neither NaN nor infinity, and a plot that cannot be read would stop every script
    behind it.
    """
    loss = plots.curves({"loss": [2.0, math.nan, math.inf, 1.0]}, "loss")
    truth, said = np.array([1.0, 2.0, math.nan]), np.array([1.5, -math.inf, 3.0])
    ages = plots.flat_map(np.eye(3, 2), np.array([1.0, math.nan, math.inf]))
    contents = dataclasses.replace(
        collect(latest),
        learning=[{"title": "Loss", "meaning": "", "figure": figure} for figure in (loss, ages)],
        answers={
            "kind": "numbers",
            "scatter": plots.against_truth(truth, said, "age"),
            "images": 3,
        },
    )
    figures = re.findall(
        r'<script type="application/json">(.*?)</script>', render(contents), re.DOTALL
    )
    curve, points, scatter = (json.loads(figure, parse_constant=no_constant) for figure in figures)
    assert (curve["data"][0]["x"], curve["data"][0]["y"]) == ([1, 4], [2.0, 1.0])
    assert points["data"][0]["marker"]["color"] == [1.0, None, None]
    assert [scatter["data"][1][axis] for axis in "xy"] == [[1.0, 2.0, None], [1.5, None, 3.0]]


def test_of_lines_that_lie_on_one_another_all_are_seen():
    same = [1.0, 1.0]
    traces = plots.curves({"kNN": same, "untrained": same, "probe": same}, "accuracy")["data"]
    assert [trace["line"]["dash"] for trace in traces] == ["solid", "dash", "dot"]
    sizes = [trace["marker"]["size"] for trace in traces]  # those above leave a rim of those below
    assert sizes == sorted(set(sizes), reverse=True)


def test_the_baseline_stands_between_the_candidate_and_the_evaluator_that_asks_it():
    nodes = ("Finetuner", "Baseline", "Evaluator", "RunReport")
    graph = {
        "nodes": [{"id": name, "kind": "execution", "name": name} for name in nodes],
        "edges": [
            {"from": "Finetuner", "to": "artifact:1", "label": "model", "baseline": False},
            {"from": "artifact:1", "to": "Evaluator", "label": "model", "baseline": False},
        ],
    }
    assert drawing.edges_between(graph) == {
        ("Finetuner", "Evaluator"),
        ("Finetuner", "Baseline"),
        ("Baseline", "Evaluator"),
    }


@pytest.mark.parametrize("values", [[math.nan, 0.0, 2.0], [0.0, math.nan, 2.0], [0.0, None, 2.0]])
def test_the_axis_of_a_curve_begins_at_its_least_number_whatever_else_was_measured(values):
    assert plots.curves({"loss": values}, "loss")["layout"]["yaxis"]["rangemode"] == "tozero"


def test_the_line_of_right_predictions_spans_the_numbers_there_are():
    truth, said = np.array([1.0, math.nan, 4.0]), np.array([math.inf, 2.0, 6.0])
    assert plots.against_truth(truth, said, "age")["data"][0]["x"] == [1.0, 6.0]
    nothing = np.full(2, math.nan)
    assert plots.against_truth(nothing, nothing, "age")["data"][0]["x"] == []


def test_classes_take_turns_among_the_shown_images():
    assert spread(["a", "a", "a", "b", "c", "b"], 4).tolist() == [0, 3, 4, 1]


def test_numbers_read_as_a_person_says_them():
    assert [duration(0.04), duration(75), duration(7260)] == ["0.0 s", "1 min 15 s", "2 h 1 min"]
    assert [megabytes(2_700), megabytes(3_000_000)] == ["2.7 kB", "3.0 MB"]
    assert flat({"encoder": {"depth": 18}, "image_size": [32, 32]}) == [
        ("encoder.depth", 18),
        ("image_size", [32, 32]),
    ]


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--run", "nobody"], "`--run` must be a run of this store"),
        (["--output", "no/such/folder/page.html"], "`--output` must be a file"),
    ],
)
def test_a_wrong_command_line_is_told_at_once(capsys, tmp_path, flags, reason):
    fill(str(tmp_path / "metadata.sqlite"), tmp_path, ["data"])
    assert report.main(["--pipeline_root", str(tmp_path), *flags]) == 2
    assert reason in capsys.readouterr().err


def sample_of(features):
    count = len(features)
    images = np.zeros((count, 8, 8, 3), np.uint8)
    examples = Examples(images, np.zeros(count, int), np.zeros(3), np.ones(3))
    names = [f"{number}.png" for number in range(count)]
    return Sample("eval", count, names, examples, features, None, [], [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_leave_a_report_that_says_no_numbers(latest, value):
    features = np.ones((12, 4), np.float32)
    features[3, 1] = value
    near = nearness(Unlabelled(), sample_of(features), [[""]] * 12)
    page = render(dataclasses.replace(collect(latest), **near))
    assert "features are not all numbers" in page


@pytest.mark.parametrize(("brought", "told"), [(True, "this encoder"), (False, "pretraining")])
def test_the_page_tells_a_gain_as_that_of_what_made_the_encoder(latest, brought, told):
    of = {"brought": brought, "told": ["+2.0 points"], "advice": []}
    page = render(dataclasses.replace(collect(latest), gains=of))
    assert f"With {told}: <b>+2.0 points</b>" in page


def test_features_that_are_numbers_have_a_map():
    rng = np.random.default_rng(0)
    near = nearness(Unlabelled(), sample_of(rng.normal(size=(12, 4))), [[""]] * 12)
    assert near["maps"] and not near["no_numbers"]


def test_a_run_whose_evaluation_is_pruned_still_has_a_report(latest):
    sample = dataclasses.replace(sample_of(np.ones((12, 4))), answers=[{"class_id": 0}] * 12)
    assert answers(latest, Classification(2, ("a", "b")), sample) is None
