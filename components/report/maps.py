"""What lies near what in feature space: the maps of the images (t-SNE), and nearest neighbours.

N images, D dims.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from components.report import pictures, plots
from components.report.answers import kinds, label
from components.report.sample import Sample
from trainer_module.neighbours import nearest, unit_rows
from trainer_module.tasks.task import Task

PERPLEXITY = 30.0  # about how many neighbours each point keeps near
ITERATIONS = 500
PRINCIPAL_DIMS = 50  # t-SNE on these takes half the time and looks the same
LEAST_POINTS = 10
QUERIES, NEIGHBOURS = 8, 6


def maps(task: Task, sample: Sample, told: list[list[str]]) -> dict:
    """Returns the maps of features and embeddings, and what is shown under the pointer."""
    vectors = [("Features h", "what the encoder gives, and what is used later", sample.features)]
    if sample.embeddings is not None:
        vectors.append(
            (
                "Embeddings g(h)",
                "what the projection head makes of them, for the loss alone",
                sample.embeddings,
            )
        )
    colours = kinds(task, sample)
    with ThreadPoolExecutor() as pool:
        points = list(pool.map(flat_map, [values for _, _, values in vectors]))
    figures = [
        {"title": title, "meaning": meaning, "figure": plots.flat_map(places, colours)}
        for (title, meaning, _), places in zip(vectors, points, strict=True)
    ]
    coloured_by = "" if colours is None else "class" if isinstance(colours, list) else task.target
    labels = [] if colours is None else [label(kind) for kind in colours]
    return {
        "figures": figures,
        "sheet": pictures.sheet(sample.images),
        "captions": told,
        "coloured_by": coloured_by,
        "labels": labels,
    }


def neighbours(task: Task, sample: Sample, told: list[list[str]]) -> list[dict]:
    """Returns some images, each with its nearest neighbours in feature space among the sampled
    ones.
    """
    found = kinds(task, sample)
    classes = found if isinstance(found, list) else None
    queries = spread(classes or [""] * len(sample.names), QUERIES)
    near = nearest(sample.features, NEIGHBOURS)[0][queries]
    rows = []
    for query, others in zip(queries, near, strict=True):
        shown = [
            {
                "uri": pictures.picture(sample.images[index]),
                "caption": told[index],
                "label": "" if found is None else label(found[index]),
                "look": ""
                if classes is None
                else "same"
                if classes[index] == classes[query]
                else "other",
            }
            for index in (query, *others)
        ]
        rows.append({"query": shown[0], "near": shown[1:], "classes": classes is not None})
    return rows


def spread(names: list[str], count: int) -> np.ndarray:
    """Returns `count` indices that take turns through the names, the same ones at every call."""
    seen: Counter = Counter()
    rounds = []
    for index, name in enumerate(names):
        rounds.append((seen[name], index))
        seen[name] += 1
    return np.array([index for _, index in sorted(rounds)[:count]])


def flat_map(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lays points out in the plane so that near ones, by direction, stay near (t-SNE, van der
    Maaten & Hinton 2008).

    Args:
      vectors: float [N, D], N at least `LEAST_POINTS`.
      seed: of the randomness in PCA.

    Returns:
      float32 [N, 2].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    unit = unit_rows(vectors)
    dims = min(PRINCIPAL_DIMS, *unit.shape)
    principal = PCA(dims, random_state=seed).fit_transform(unit)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    # as sklearn's 'pca'; also for points that all coincide
    start = principal[:, :2] / max(float(np.std(principal[:, 0])), 1e-12) * 1e-4
    tsne = TSNE(perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed, n_jobs=1)
    # On a busy machine the threads of one map wait for each other at every step, ten times as long
    # as they work.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(principal).astype(np.float32)
