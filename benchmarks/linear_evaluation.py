"""Our judges of features beside scikit-learn's, in accuracy and seconds: `python
benchmarks/linear_evaluation.py TRAIN.npz EVAL.npz`, both made by `python -m pipeline.embed`.

Logistic regression with the same weight decay, on the same standardised features; 10 nearest
neighbours by cosine that vote; the nearest other images of each. They take turns, since the machine
may be shared, and the median counts. Ridge regression is scikit-learn's own, so it has no rival.
The last line is JSON.

    python -m pipeline.embed runs/demo data/shapes/train.csv --output train.npz
    python -m pipeline.embed runs/demo data/shapes/eval.csv --output eval.npz
    python benchmarks/linear_evaluation.py train.npz eval.npz
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors  # noqa: E402

from trainer_module.linear_eval import WEIGHT_DECAY, fit_linear, linear_accuracy  # noqa: E402
from trainer_module.metric_names import NEIGHBOURS  # noqa: E402
from trainer_module.neighbours import knn_accuracy, nearest  # noqa: E402


class Data:
    """Features and class numbers of two splits.

    Attributes:
      train, held_out: float32 [N, D] and [M, D].
      labels, held_out_labels: integers [N] and [M] in [0, C).
    """

    def __init__(self, train: Path, held_out: Path):
        stored = [np.load(path) for path in (train, held_out)]
        self.train, self.held_out = (file["features"].astype(np.float32) for file in stored)
        self.names, self.labels = np.unique(stored[0]["targets"], return_inverse=True)
        self.held_out_labels = np.searchsorted(self.names, stored[1]["targets"])


def our_linear(data: Data) -> float:
    """Returns the accuracy of our logistic regression."""
    kernel, bias = fit_linear(data.train, data.labels, len(data.names), WEIGHT_DECAY)
    return linear_accuracy(kernel, bias, data.held_out, data.held_out_labels)


def their_linear(data: Data) -> float:
    """Returns the accuracy of scikit-learn's, which minimises the same sum times 1 / weight
    decay.
    """
    mean, std = data.train.mean(axis=0), data.train.std(axis=0) + 1e-6
    fitted = LogisticRegression(C=1 / (WEIGHT_DECAY * len(data.labels)), max_iter=1000)
    fitted.fit((data.train - mean) / std, data.labels)
    return fitted.score((data.held_out - mean) / std, data.held_out_labels)


def our_neighbours(data: Data) -> float:
    """Returns the accuracy of our nearest neighbours."""
    return knn_accuracy(data.train, data.labels, data.held_out, data.held_out_labels)


def their_neighbours(data: Data) -> float:
    """Returns the accuracy of scikit-learn's."""
    fitted = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(data.train, data.labels)
    return fitted.score(data.held_out, data.held_out_labels)


def our_search(data: Data) -> float:
    """Returns the mean similarity of the ten nearest others, by our search."""
    return float(nearest(data.train, NEIGHBOURS)[1].mean())


def their_search(data: Data) -> float:
    """Returns the same by scikit-learn's search."""
    found = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(data.train)
    return float(1 - found.kneighbors()[0].mean())


PAIRS = {
    "linear_accuracy": (our_linear, their_linear),
    "knn_accuracy": (our_neighbours, their_neighbours),
    "mean_similarity": (our_search, their_search),
}


def measure(data: Data, turns: int) -> dict:
    """Returns, for each judge, what both say, their median seconds and how often ours is faster."""
    measured = {}
    for name, pair in PAIRS.items():
        said, seconds = ([], []), ([], [])
        for _ in range(turns):
            for side, judge in enumerate(pair):
                started = time.perf_counter()
                said[side].append(judge(data))
                seconds[side].append(time.perf_counter() - started)
        ours, theirs = (statistics.median(values) for values in seconds)
        measured[name] = {
            "ours": said[0][-1],
            "scikit_learn": said[1][-1],
            "seconds": [round(ours, 3), round(theirs, 3)],
            "times_faster": round(theirs / ours, 2),
        }
    return measured


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("--turns", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args(arguments)
    data = Data(options.train, options.eval)
    shape = {"images": list(map(len, (data.labels, data.held_out_labels)))}
    shape |= {"dims": data.train.shape[1], "classes": len(data.names)}
    print(json.dumps(shape | measure(data, options.turns)))


if __name__ == "__main__":
    main(sys.argv[1:])
