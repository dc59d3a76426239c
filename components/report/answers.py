"""What the fine-tuned model answers, drawn as its task asks for it: the one place of the report that knows tasks apart.

Each function returns a dict that page.html shows under "What it gets wrong", with a `kind` that names the template's block.
N sampled images, C classes.
"""

import numpy as np

from components.report import pictures, plots
from components.report.run import EVALUATOR, Run
from components.report.sample import Sample

MOST_CLASSES = 30  # of a confusion matrix; of more, those with the most mistakes
MOST_PAIRS = 6
PICTURES_A_PAIR = 6
MOST_DRAWN = 8  # pictures that a task draws itself


def answers(run: Run, task, sample: Sample) -> dict | None:
    """Returns what to show of the model's answers, or None if there are none."""
    if not sample.answers:
        return None
    if task.one_class_an_image:
        return _classes(run, task, sample)
    return _drawn(task, sample)


def groups(task, sample: Sample) -> list[str]:
    """Returns N names that colour the images on a map: their class where they have one."""
    if sample.examples.targets is None or not task.one_class_an_image:
        return ["image"] * len(sample.names)
    return _names(task, sample.examples.targets)


def captions(task, sample: Sample) -> list[list[str]]:
    """Returns, for each image, the lines to show beside it: its file, its class, the model's answer."""
    lines = [[name] if name else [] for name in sample.names]
    if sample.examples.targets is not None and task.one_class_an_image:
        for line, name in zip(lines, _names(task, sample.examples.targets), strict=True):
            line.append(f"class: {name}")
    if sample.answers and task.has_target:
        for index, line in enumerate(lines):
            line.append(f"model: {task.line(_answer(sample, index))}")
    return lines


def _names(task, targets: np.ndarray) -> list[str]:
    names = task.names_by_id()
    return [names[int(label)] if 0 <= int(label) < len(names) else f"unknown {int(label)}" for label in targets.ravel()]


def _answer(sample: Sample, index: int) -> dict:
    """Returns the answer to one image as tasks take it."""
    return {name: values[index] for name, values in sample.answers.items()}


def _classes(run: Run, task, sample: Sample) -> dict:
    counts = evaluated_confusion(run.uri(EVALUATOR, "evaluation"), task.num_classes)
    names = task.names_by_id()
    mistakes = counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    totals = counts.sum(axis=1)
    return {
        "kind": "classes",
        "matrix": plots.confusion(counts[np.ix_(shown, shown)], [names[index] for index in shown]),
        "left_out": len(names) - len(shown),
        "images": int(counts.sum()),
        "classes": [
            {"name": names[index], "images": int(totals[index]), "accuracy": counts[index, index] / max(int(totals[index]), 1)}
            for index in range(len(names))
            if totals[index]
        ],
        "pairs": [_pair(counts, names, sample, *pair) for pair in most_confused(counts, MOST_PAIRS)],
    }


def evaluated_confusion(evaluation_uri: str, num_classes: int) -> np.ndarray:
    """Returns the Evaluator's confusion matrix over the whole evaluation split, integers [C, C], a row a true class."""
    import tensorflow_model_analysis as tfma

    overall = dict(tfma.load_eval_result(evaluation_uri).plots)[()]
    matrix = overall[""][""]["multiClassConfusionMatrixAtThresholds"]["matrices"][0]  # the likeliest class, however unlikely
    counts = np.zeros((num_classes, num_classes), int)
    for entry in matrix["entries"]:
        counts[entry.get("actualClassId", 0), entry.get("predictedClassId", 0)] = int(entry.get("numWeightedExamples", 0))
    return counts


def most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Returns the (true class, answer) off the diagonal with the most images, at most `most` of them."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [tuple(int(index) for index in np.unravel_index(place, wrong.shape)) for place in order]
    return [pair for pair in pairs if wrong[pair] > 0]


def _pair(counts: np.ndarray, names: list[str], sample: Sample, true: int, said: int) -> dict:
    labels, answers_ = sample.examples.targets.ravel(), sample.answers["class_id"]
    places = np.flatnonzero((labels == true) & (answers_ == said))[:PICTURES_A_PAIR]
    return {
        "true": names[true],
        "said": names[said],
        "count": int(counts[true, said]),
        "share": counts[true, said] / max(int(counts[true].sum()), 1),
        "pictures": [{"uri": pictures.picture(sample.images[place]), "caption": sample.names[place]} for place in places],
    }


def _drawn(task, sample: Sample) -> dict:
    rows = []
    for index in range(min(MOST_DRAWN, len(sample.records))):
        answer = _answer(sample, index)
        drawn = task.drawn(answer, sample.encoded(index))
        rows.append(
            {
                "name": sample.names[index],
                "line": task.line(answer),
                "pictures": [pictures.picture(sample.images[index]), *(pictures.reencoded(content) for content in drawn.values())],
            }
        )
    return {"kind": "drawn", "rows": rows}
