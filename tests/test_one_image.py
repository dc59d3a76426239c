"""Read me first: one image on its way from a row of a list to a class, one stage a test, in the
order of README's table, whose files and lines are counted at the end.

Each stage looks at that same image as the stage before leaves it; the networks are smaller than
README's.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.file_list_example_gen.rows import check_rows, read_bytes, read_rows
from trainer_module.augment import augment
from trainer_module.features import encode
from trainer_module.heads import build_projection_head
from trainer_module.loss import nt_xent
from trainer_module.normalize import normalize
from trainer_module.resnet import build_encoder
from trainer_module.settings import Augmentation, Encoder
from trainer_module.tasks.classification import Classification

ROOT = Path(__file__).resolve().parent.parent
# Tokens that are no code.
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
TASK = Classification(2, ("cat", "dog"))
MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(Encoder(width=0.25), (32, 32))


@pytest.fixture
def row(tmp_path):
    Image.fromarray(np.arange(40 * 48 * 3, dtype=np.uint8).reshape(40, 48, 3)).save(
        tmp_path / "cat.png"
    )
    (tmp_path / "list.csv").write_text("cat.png,cat\n")
    return read_rows(str(tmp_path / "list.csv"))[0]


@pytest.fixture
def image(row):
    """uint8 [1, 32, 32, 3], as Transform stores it."""
    import tensorflow as tf

    from trainer_module.preprocessing import decode_images

    return decode_images(tf.constant([read_bytes(row.path)]), 32, 32).numpy()


def test_a_row_names_an_image_and_its_label(row):
    assert (row.name, row.target) == ("cat.png", "cat")
    assert not check_rows([row], TASK)


def test_transform_makes_it_a_small_uint8_image(image):
    assert (image.shape, image.dtype) == ((1, 32, 32, 3), np.uint8)


def test_two_views_of_it_differ(image):
    import keras

    views = np.asarray(
        augment(
            np.concatenate([image, image]), Augmentation(), (32, 32), keras.random.SeedGenerator(0)
        )
    )
    assert views.shape == (2, 32, 32, 3)
    assert np.abs(views[0] - views[1]).max() > 0.1
    assert 0 <= views.min() <= views.max() <= 1


def test_normalized_pixels_are_centred_by_the_learned_statistics(image):
    np.testing.assert_allclose(
        normalize(image, MEAN, STD), (image / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-5
    )


def test_the_encoder_makes_features_and_the_head_an_embedding_whose_loss_is_finite(image, encoder):
    features = encode(encoder, np.concatenate([image, image]), MEAN, STD)
    assert features.shape == (2, 128)
    head = build_projection_head(128, 2, 64, 32)
    embedding = head(features)
    assert embedding.shape == (2, 32)
    assert np.isfinite(float(nt_xent(embedding, embedding[::-1], 0.5)))


def test_a_linear_head_turns_the_features_into_one_logit_a_class(image, encoder):
    logits = TASK.head(encoder, "linear")(normalize(image, MEAN, STD))
    assert logits.shape == (1, 2)
    assert TASK.served(logits, None, {})["class_name"].numpy()[0] in (b"cat", b"dog")


def road():
    """Returns the files of README's table, in its order."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Follow one image")[2].partition("##")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def lines_of_code(path):
    """Counts the lines that are neither blank nor comment nor docstring."""
    source = path.read_text(encoding="utf-8")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    documented = [node for node in documented if ast.get_docstring(node) is not None]
    docstrings = {
        line
        for node in documented
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    coded = {
        line
        for token in tokens
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(coded - docstrings)


def test_the_road_has_ten_files_and_1400_lines_of_code():
    files = [ROOT / name for name in road()]
    assert len(files) == 10
    assert sum(map(lines_of_code, files)) <= 1400


def test_readme_has_130_lines_of_100_columns():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 100
