"""Data sets are image files and list files, the same bytes every time, from sources that are never
trusted.
"""

import io
import pickle
import resource
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets import camvid, cifar10, elpv, files, folder, shapes
from trainer_module.errors import InputError

REPOSITORY = Path(__file__).parents[1]


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def times(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def run(*arguments, **options):
    command = [sys.executable, "-m", "pipeline.datasets", *map(str, arguments)]
    options |= {"capture_output": True, "text": True, "check": False}
    return subprocess.run(command, cwd=REPOSITORY, **options)


def tar_of(directory, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        archive.add(directory, arcname=directory.name)
    return path


def write_images(directory, names):
    for number, name in enumerate(names):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(files.encode_png(np.full((4, 4, 3), number % 256, np.uint8)))
    return directory


# shapes


@pytest.fixture(scope="module")
def small_shapes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shapes")
    return directory, shapes.write(directory, train_images=40, eval_images=16)


def test_the_same_seed_draws_the_same_bytes(small_shapes, tmp_path):
    shapes.write(tmp_path, train_images=40, eval_images=16)
    assert contents(tmp_path) == contents(small_shapes[0])


def test_another_seed_draws_other_images(small_shapes, tmp_path):
    shapes.write(tmp_path, train_images=8, eval_images=8, seed=1)
    assert not any(
        contents(small_shapes[0])[name] == content
        for name, content in contents(tmp_path).items()
        if name.startswith("train/")
    )


def test_a_longer_data_set_starts_with_the_shorter_one(small_shapes, tmp_path):
    shapes.write(tmp_path, train_images=8, eval_images=8)
    longer = contents(small_shapes[0])
    assert all(
        longer[name] == content
        for name, content in contents(tmp_path).items()
        if name.endswith(".png")
    )


def test_classes_are_equally_frequent_and_lists_are_complete(small_shapes):
    directory, lists = small_shapes
    rows = files.read_list(lists["train"])
    labels = [label for _, label in rows]
    assert {label: labels.count(label) for label in shapes.CLASSES} == dict.fromkeys(
        shapes.CLASSES, 5
    )
    assert sorted(path for path, _ in rows) == sorted(
        name for name in contents(directory) if name.startswith("train/")
    )


def test_label_maps_hold_the_class_of_the_image_and_the_background(small_shapes):
    directory, lists = small_shapes
    labels = dict(files.read_list(lists["train"]))
    for image, label_map in files.read_list(lists["train_segmentation"]):
        ids = np.asarray(Image.open(directory / label_map))
        assert Image.open(directory / image).size == (32, 32)
        assert ids.shape == (32, 32) and ids.dtype == np.uint8
        assert set(np.unique(ids)) == {shapes.CLASSES.index(labels[image]), shapes.BACKGROUND}


def test_the_pattern_fills_the_region_of_the_label_map():
    # Twice the same chance, other patterns: what changes lies inside, whatever stays outside.
    stripes, label_maps = shapes.draw(
        np.random.default_rng(0), np.full(8, shapes.CLASSES.index("stripes")), 32
    )
    dots, _ = shapes.draw(np.random.default_rng(0), np.full(8, shapes.CLASSES.index("dots")), 32)
    changed = (stripes != dots).any(-1)
    inside = label_maps != shapes.BACKGROUND
    # a pixel less than half inside counts as outside and still shows some pattern
    edge = 0.02 * changed.size
    assert changed[inside].mean() > 0.3 and changed[~inside].sum() < edge


def test_regions_cover_a_good_share_of_the_image():
    _, label_maps = shapes.draw(np.random.default_rng(0), np.arange(500) % 8, 32)
    shares = (label_maps != shapes.BACKGROUND).mean((1, 2))
    assert np.percentile(shares, 1) > 0.35 and np.percentile(shares, 99) < 0.95


def test_with_several_regions_each_has_a_class_of_its_own_and_edges_are_ignored():
    images, label_maps = shapes.draw_scenes(np.random.default_rng(0), 60, 48, regions=3)
    assert (
        images.shape == (60, 48, 48, 3)
        and label_maps.shape == (60, 48, 48)
        and label_maps.dtype == np.uint8
    )
    found = [
        set(np.unique(label_map)) - {shapes.BACKGROUND, shapes.IGNORED} for label_map in label_maps
    ]
    assert {len(ids) for ids in found} <= {1, 2, 3} and np.mean([len(ids) for ids in found]) > 2.3
    assert set().union(*found) == set(range(len(shapes.CLASSES)))
    assert 0.01 < np.mean(label_maps == shapes.IGNORED) < 0.1
    assert not np.array_equal(images[0], images[1])


def test_a_region_is_ignored_where_it_meets_another_class():
    _, label_maps = shapes.draw_scenes(np.random.default_rng(0), 60, 48, regions=3)
    left, right = label_maps[:, :, :-1], label_maps[:, :, 1:]
    met = (left != right) & (left != shapes.IGNORED) & (right != shapes.IGNORED)
    assert met.mean() < 0.005  # an edge that falls exactly between two pixels


def test_with_several_regions_there_are_lists_of_label_maps_alone(tmp_path):
    lists = shapes.write(tmp_path, train_images=6, eval_images=4, regions=3)
    assert set(lists) == {"train_segmentation", "eval_segmentation"}
    image, label_map = files.read_list(lists["eval_segmentation"])[3]
    assert np.asarray(Image.open(tmp_path / image)).shape == (32, 32, 3)
    assert np.asarray(Image.open(tmp_path / label_map)).shape == (32, 32)


@pytest.fixture(scope="module")
def raw_pixels():
    train, _ = shapes.draw(np.random.default_rng(0), np.arange(2000) % 8, 32)
    queries, _ = shapes.draw(np.random.default_rng(1), np.arange(1000) % 8, 32)
    return tuple(images.reshape(len(images), -1) / 255 - 0.5 for images in (train, queries))


def test_a_linear_classifier_of_raw_pixels_is_hardly_better_than_chance(raw_pixels):
    train, queries = raw_pixels
    targets = np.eye(8)[np.arange(2000) % 8] - 1 / 8
    dual = np.linalg.solve(train @ train.T + 100 * np.eye(2000), targets)  # ridge regression
    predicted = (queries @ train.T @ dual).argmax(1)
    assert (
        predicted == np.arange(1000) % 8
    ).mean() < 0.19  # chance is 0.125; over seeds 0.14 to 0.17 were measured


def test_the_neighbours_of_raw_pixels_are_hardly_better_than_chance(raw_pixels):
    train, queries = raw_pixels
    distances = (train**2).sum(
        1
    ) - 2 * queries @ train.T  # [1000, 2000], up to a constant of each query
    nearest = np.argsort(distances, axis=1)[:, :20] % 8  # class ids
    votes = np.array([np.bincount(row, minlength=8).argmax() for row in nearest])
    assert (votes == np.arange(1000) % 8).mean() < 0.19


def test_writing_again_touches_nothing(tmp_path):
    shapes.write(tmp_path, train_images=8, eval_images=8)
    before = times(tmp_path)
    shapes.write(tmp_path, train_images=8, eval_images=8)
    assert times(tmp_path) == before


def test_a_damaged_image_is_written_anew(tmp_path):
    shapes.write(tmp_path, train_images=8, eval_images=8)
    before = contents(tmp_path)
    (tmp_path / "train/dots/000003.png").write_bytes(b"broken")
    shapes.write(tmp_path, train_images=8, eval_images=8)
    assert contents(tmp_path) == before


# cifar10: small batches of the official versions, two images a class


def cifar_batches():
    generator = np.random.default_rng(0)
    labels = np.arange(10).repeat(2)
    for number, name in enumerate([*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]]):
        yield (
            name,
            generator.integers(0, 256, (20, cifar10.PIXELS), np.uint8),
            np.roll(labels, number),
        )


def python2_pickle(pixels, labels):
    """The opcodes that Python 2 and NumPy 1 wrote in 2009: protocol 2, text and bytes alike as
    (BIN)STRING.
    """

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        + integer(0)
        + b"\x85"
        + text(b"b")
        + b"tR"
    )
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += (
        b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    )
    content = pixels.tobytes()
    state = (
        b"("
        + integer(1)
        + integer(pixels.shape[0])
        + integer(pixels.shape[1])
        + b"\x86"
        + dtype
        + b"\x89"
    )
    state += b"T" + struct.pack("<I", len(content)) + content + b"tb"
    listed = b"](" + b"".join(integer(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + listed + b"u."


@pytest.fixture
def python_version(tmp_path):
    directory = tmp_path / "cifar-10-batches-py"
    directory.mkdir()
    for name, pixels, labels in cifar_batches():
        (directory / name).write_bytes(python2_pickle(pixels, labels))
    return directory


@pytest.fixture
def binary_version(tmp_path):
    directory = tmp_path / "cifar-10-batches-bin"
    directory.mkdir()
    for name, pixels, labels in cifar_batches():
        (directory / f"{name}.bin").write_bytes(
            np.concatenate([labels.astype(np.uint8)[:, None], pixels], 1).tobytes()
        )
    return directory


def test_python_and_binary_archives_and_folders_give_the_same_files(
    python_version, binary_version, tmp_path
):
    sources = [
        python_version,
        tar_of(python_version, tmp_path / "python.tar.gz", "w:gz"),
        binary_version,
        tar_of(binary_version, tmp_path / "binary.tar.gz", "w:gz"),
    ]
    written = []
    for number, source in enumerate(sources):
        cifar10.write(tmp_path / str(number), source)
        written.append(contents(tmp_path / str(number)))
    assert len(written[0]) == 120 + 2
    assert all(other == written[0] for other in written[1:])


def test_official_batches_are_read_as_planes_of_red_green_and_blue(python_version, tmp_path):
    lists = cifar10.write(tmp_path / "out", python_version)
    name, pixels, labels = next(cifar_batches())
    path, label = files.read_list(lists["train"])[7]
    image = np.asarray(Image.open(tmp_path / "out" / path))
    assert label == cifar10.CLASSES[labels[7]]
    np.testing.assert_array_equal(image[:, :, 2].ravel(), pixels[7, 2048:], name)


def test_images_in_class_folders_are_copied_as_they_are(python_version, tmp_path):
    cifar10.write(tmp_path / "cifar", python_version)
    for source in (tmp_path / "cifar", tar_of(tmp_path / "cifar", tmp_path / "cifar.tar")):
        lists = cifar10.write(tmp_path / "copy", source)
        assert len(files.read_list(lists["train"])) == 100
        for name, content in contents(tmp_path / "copy").items():
            assert name.endswith(".csv") or content == (tmp_path / "cifar" / name).read_bytes()


def test_subsets_are_balanced_and_nested(python_version, tmp_path):
    subsets = {}
    for count in (20, 50):
        rows = files.read_list(
            cifar10.write(
                tmp_path / str(count), python_version, train_images=count, eval_images=10
            )["train"]
        )
        subsets[count] = {path for path, _ in rows}
        assert {
            label: [row[1] for row in rows].count(label) for label in cifar10.CLASSES
        } == dict.fromkeys(cifar10.CLASSES, count // 10)
    assert subsets[20] < subsets[50]


class Malicious:
    def __reduce__(self):
        return (exec, ("open('ran', 'w')",))


def test_a_pickle_that_runs_a_program_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"asks for 'builtins\.exec'"):
        cifar10.parse_python_batch(pickle.dumps({b"data": Malicious()}, protocol=4), "data_batch_1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps([1]), pickle.dumps({b"data": b"12", b"labels": [1]})],
)
def test_a_broken_batch_is_named(content):
    with pytest.raises(InputError, match="data_batch_1"):
        cifar10.parse_python_batch(content, "data_batch_1")


def test_a_source_without_one_of_the_batches_names_it(binary_version, tmp_path):
    (binary_version / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match=r"lacks data_batch_3\.bin"):
        cifar10.write(tmp_path / "out", binary_version)


# archives


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "train/../../evil.png"])
def test_an_archive_that_points_outside_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(InputError, match="points outside"):
        cifar10.write(tmp_path / "out", tmp_path / "evil.tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("train/cat/1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(member)
    with pytest.raises(InputError, match="link or a device"):
        cifar10.write(tmp_path / "out", tmp_path / "evil.tar")


def test_a_cut_off_archive_is_named(python_version, tmp_path):
    archive = tar_of(python_version, tmp_path / "python.tar.gz", "w:gz")
    archive.write_bytes(archive.read_bytes()[:-50_000])
    with pytest.raises(InputError, match=r"python\.tar\.gz' is damaged"):
        cifar10.write(tmp_path / "out", archive)


@pytest.mark.parametrize("packed", ["bz2", "xz"])
def test_an_archive_that_is_damaged_in_its_middle_is_named(packed, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 2_000_000, np.uint8)  # bz2's blocks: 900,000
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").write_bytes(noise.tobytes())
    archive = tar_of(tmp_path / "images", tmp_path / f"images.tar.{packed}", f"w:{packed}")
    content = bytearray(archive.read_bytes())
    content[1_200_000:1_200_200] = bytes(200)
    archive.write_bytes(content)
    refused = pytest.raises(InputError, match=rf"images\.tar\.{packed}' is damaged")
    with refused, files.open_source(archive) as source:
        source.read("images/0.png")


# folder


@pytest.fixture
def photos(tmp_path):
    return write_images(
        tmp_path / "photos",
        [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(50)],
    )


def test_without_a_network_a_download_is_refused_at_once_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"cannot be downloaded.*refused.*--source PATH"):
        cifar10.write(tmp_path / "out", download=True)


def test_lists_point_to_the_images_where_they_are(photos, tmp_path):
    lists = folder.write(tmp_path / "lists", photos)
    rows = [row for path in lists.values() for row in files.read_list(path)]
    assert {path: label for path, label in rows} == {
        path.as_posix(): path.parent.name for path in photos.rglob("*.png")
    }
    assert sorted(contents(tmp_path / "lists")) == [files.NOTICED, "eval.csv", "train.csv"]


def test_paths_are_relative_where_the_images_lie_beside_the_lists(photos):
    rows = files.read_list(folder.write(photos, photos)["train"])
    assert all(path.startswith(f"{label}/") for path, label in rows)


def test_images_that_are_added_move_no_other_image(photos, tmp_path):
    before = {row[0] for row in files.read_list(folder.write(tmp_path / "lists", photos)["eval"])}
    write_images(photos, [f"cat/new{number}.png" for number in range(50)])
    after = {row[0] for row in files.read_list(folder.write(tmp_path / "lists", photos)["eval"])}
    assert before == {path for path in after if not Path(path).name.startswith("new")}


def test_the_split_has_about_the_share_asked_for(photos, tmp_path):
    lists = folder.write(tmp_path / "lists", photos, eval_fraction=0.5)
    assert 35 <= len(files.read_list(lists["eval"])) <= 65


def test_names_with_commas_and_quotes_survive_the_list(tmp_path):
    names = [f'a, "b"/{number}.png' for number in range(20)] + [
        f"c/é,{number}.png" for number in range(20)
    ]
    write_images(tmp_path, names)
    lists = folder.write(tmp_path, tmp_path)
    assert sorted(path for split in lists.values() for path, _ in files.read_list(split)) == sorted(
        names
    )


def test_class_folders_with_numbers_that_are_no_ids_become_names(tmp_path):
    write_images(tmp_path, [f"{label}/{number}.png" for label in (1, 2) for number in range(20)])
    assert {label for _, label in files.read_list(folder.write(tmp_path, tmp_path)["train"])} == {
        "class_1",
        "class_2",
    }


# elpv and camvid


def test_solar_cells_are_defective_above_one_half_and_a_quarter_is_for_testing(
    tmp_path, monkeypatch
):
    data = tmp_path / "elpv_dataset" / "data"
    names = [f"images/cell{number:04d}.png" for number in range(80)]
    write_images(data, names)
    probabilities = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")
    rows = [
        f"{name}  {probabilities[number % 4]}  {('mono', 'poly')[number % 2]}"
        for number, name in enumerate(names)
    ]
    (data / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "elpv_dataset" / "__init__.py").write_text(
        "raise RuntimeError('nobody needs to import the package')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    lists = elpv.write(tmp_path / "out")
    labels = dict(files.read_list(lists["train"]) + files.read_list(lists["eval"]))
    assert labels == {
        name: ("functional", "defective")[number % 4 > 1] for number, name in enumerate(names)
    }
    assert len(files.read_list(lists["eval"])) == 20


def test_camvid_keeps_its_published_splits(tmp_path):
    source = tmp_path / "camvid"
    for listed, split in (("train.txt", "train"), ("val.txt", "val"), ("test.txt", "test")):
        write_images(source, [f"{split}/1.png", f"{split}annot/1.png"])
        (source / listed).write_text(f"{split}/1.png,{split}annot/1.png\n")
    lists = camvid.write(tmp_path / "out", tar_of(source, tmp_path / "camvid.tar"))
    assert files.read_list(lists["eval_segmentation"]) == [["val/1.png", "valannot/1.png"]]
    assert (tmp_path / "out/testannot/1.png").read_bytes() == (
        source / "testannot/1.png"
    ).read_bytes()


def camvid_with(folder, listed):
    """Returns a source whose train.txt is these bytes."""
    write_images(folder, ["i.png", "m.png"])
    for name in ("train.txt", "val.txt", "test.txt"):
        (folder / name).write_bytes(listed if name == "train.txt" else b"i.png,m.png\n")
    return folder


@pytest.mark.parametrize("listed", [b"\xef\xbb\xbfi.png,m.png\r\n", b"i.png, m.png \n \n\n"])
def test_a_list_of_camvid_may_have_a_byte_order_mark_and_blanks(listed, tmp_path):
    lists = camvid.write(tmp_path / "out", camvid_with(tmp_path / "camvid", listed))
    assert files.read_list(lists["train_segmentation"]) == [["i.png", "m.png"]]


def test_a_list_of_camvid_that_is_no_utf8_is_named(tmp_path):
    source = camvid_with(tmp_path / "camvid", "stra\xdfe.png,m.png\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"train\.txt is not UTF-8 text .*Fix: save it as UTF-8"):
        camvid.write(tmp_path / "out", source)


# the command line


def test_the_command_line_says_what_it_wrote_and_what_comes_next(tmp_path):
    result = run("shapes", "--output_dir", tmp_path, "--train_images", 16, "--eval_images", 8)
    command = (
        f"python local_runner.py --train_file_path={tmp_path}/train.csv "
        f"--val_file_path={tmp_path}/eval.csv --task=classification"
    )
    assert result.returncode == 0, result.stderr
    assert f"{command} --num_classes=8" in result.stdout and "checks 2, crosses 2" in result.stdout


BAD_INPUT = {
    "an unknown name": (["shape", "--output_dir", "OUT"], "Did you mean 'shapes'?"),
    "an unknown flag": (
        ["shapes", "--output_dir", "OUT", "--train_image=4"],
        "Did you mean '--train_images'?",
    ),
    "no name": ([], "required: NAME"),
    "no output folder": (["shapes"], "required: --output_dir"),
    "a file as output folder": (
        ["shapes", "--output_dir", "FILE"],
        "`output_dir` must be a folder that can be written to",
    ),
    "a size of 0": (
        ["shapes", "--output_dir", "OUT", "--train_images=0"],
        "`train_images` must be at least 1",
    ),
    "a size in words": (
        ["shapes", "--output_dir", "OUT", "--train_images=ten"],
        "invalid int value: 'ten'",
    ),
    "no source": (["cifar10", "--output_dir", "OUT"], "`--source PATH`"),
    "a missing source": (
        ["cifar10", "--output_dir", "OUT", "--source", "OUT/no.tar"],
        "no.tar' does not exist",
    ),
    "a source of another kind": (
        ["cifar10", "--output_dir", "OUT", "--source", "FILE"],
        "is neither",
    ),
    "an empty source": (
        ["folder", "--output_dir", "OUT", "--source", "OUT"],
        "holds no image",
    ),
    "an address as output folder": (
        ["shapes", "--output_dir", "gs://bucket/out", "--train_images=0"],
        "`--output_dir` must be a folder of this machine. Received: gs://bucket/out. Fix: ",
    ),
    "an address as source": (
        ["folder", "--output_dir", "OUT", "--source", "gs://bucket/pics"],
        "`--source` must be a folder or an archive of this machine. Received: gs://bucket/pics",
    ),
    "a fraction of 1": (
        ["folder", "--output_dir", "OUT", "--source", "OUT", "--eval_fraction=1"],
        "0 < eval_fraction < 1",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_with_2_and_one_message(case, tmp_path):
    arguments, message = BAD_INPUT[case]
    (tmp_path / "file").write_text("no archive")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    for word, place in places.items():
        arguments = [argument.replace(word, place) for argument in arguments]
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr and result.stderr.count("\n") == 1 and not result.stdout


def no_large_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # bytes


def test_what_cannot_be_written_is_one_line_and_exit_code_1(tmp_path):
    result = run("shapes", "--output_dir", tmp_path, preexec_fn=no_large_files)
    assert result.returncode == 1
    assert "file too large" in result.stderr and result.stderr.count("\n") == 1


def test_a_missing_package_is_named_with_its_command(tmp_path):
    if elpv.importlib.util.find_spec("elpv_dataset"):
        pytest.skip("elpv-dataset is installed")
    result = run("elpv", "--output_dir", tmp_path)
    assert result.returncode == 2 and "pip install elpv-dataset" in result.stderr


def test_help_needs_neither_numpy_nor_pillow():
    program = (
        "import sys; from pipeline.datasets import __main__; __main__.parse(['shapes', "
        "'--output_dir', 'x'])"
    )
    code = f"{program}; print({{'numpy', 'PIL'}} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
