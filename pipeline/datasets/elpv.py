"""2,624 solar cells photographed by their own light (300x300, grey), functional or defective, from
the package elpv-dataset.

Two experts' verdicts make a defect probability of 0, 1/3, 2/3 or 1: functional or defective, sure
or unsure (Deitsch et al. 2019, https://doi.org/10.1016/j.solener.2019.02.067). A cell counts as
defective above 1/2: 1,803 are functional, 821 defective. As there, a quarter of the cells is for
testing, drawn alike from both verdicts and both kinds of module; which cells those are is our own
choice. Licence of the images: CC BY-NC-SA 4.0, non-commercial.
"""

import importlib.util
from pathlib import Path

from pipeline.datasets import files
from trainer_module.errors import InputError

LISTS_ALONE = False  # images are written, once


def write(output_dir: str | Path) -> dict[str, Path]:
    """Writes the images as they are in the package and the lists train.csv and eval.csv.

    Args:
        output_dir: where images and lists go.

    Returns:
        Paths of the lists `train` and `eval` (path,label).

    Raises:
        InputError: where the package is not installed or lacks its data.
    """
    folder, data = Path(output_dir), _package_data()
    labels, strata = {}, {}
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, probability, module_type = line.split()
        labels[name] = "defective" if float(probability) > 0.5 else "functional"
        strata.setdefault((labels[name], module_type), []).append(name)
    testing = {name for names in strata.values() for name in _quarter(names)}
    for name in labels:
        files.write_file(folder / name, (data / name).read_bytes())
    rows = {"train": [], "eval": []}
    for name, label in labels.items():
        rows["eval" if name in testing else "train"].append((name, label))
    return {split: files.write_list(folder / f"{split}.csv", rows[split]) for split in rows}


def _package_data() -> Path:
    """The package's folder of data, found without importing (and so running) the package."""
    package = importlib.util.find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise InputError(
            "`elpv` needs the package elpv-dataset (90 MB, for non-commercial use): run `make "
            "extra NAME=elpv`, or `python -m pip install elpv-dataset`"
        )
    data = Path(package.origin).parent / "data"
    if not (data / "labels.csv").is_file():
        raise InputError(
            f"'{data}' has no labels.csv: run `python -m pip install --force-reinstall "
            f"elpv-dataset`"
        )
    return data


def _quarter(names: list[str]) -> list[str]:
    return sorted(names, key=files.stable_fraction)[: (len(names) + 2) // 4]
