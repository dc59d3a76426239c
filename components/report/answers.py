"""What the fine-tuned model answers, drawn as its task asks for it: the one place of the report
that knows tasks apart.

Each function returns a dict that page.html shows under "What it gets wrong", with a `kind` that
names the template's block. N sampled images, C classes.
"""

import numpy as np

from components.metadata.names import EVALUATOR
from components.metadata.stored_run import StoredRun
from components.metadata.verdict import all_classes
from components.report import pictures, plots
from components.report.sample import Sample
from trainer_module.intervals import of_share
from trainer_module.segmentation.painting import palette
from trainer_module.tasks.task import Task

CONFUSION = "MultiClassConfusionMatrixPlot"  # TFMA's name
CANDIDATE = "candidate"  # TFMA's name of the model that is judged
MOST_CLASSES = 30  # of a confusion matrix; of more, those with the most mistakes
MOST_PAIRS = 6
PICTURES_A_PAIR = 6
MOST_DRAWN = 8  # pictures that a task draws itself


def answers(run: StoredRun, task: Task, sample: Sample) -> dict | None:
    """Returns what to show of the model's answers, or None if there are none."""
    if not sample.answers or not task.has_target:
        return None
    if task.one_class_an_image:
        evaluation = run.uri(EVALUATOR, "evaluation")  # '' once it is pruned
        named = len(task.names_by_id())
        counts = evaluated_confusion(evaluation, named) if evaluation else None
        return None if counts is None else _classes(counts, task, sample)
    if np.ndim(sample.answers[0].get(task.target, ())) == 0:
        return _numbers(task, sample)
    return _drawn(run, task, sample)


def kinds(task: Task, sample: Sample) -> list[str] | np.ndarray | None:
    """Returns what colours the N images on a map: the names of their classes, their true numbers,
    or None where they have neither.
    """
    if not task.has_target:
        return None
    if task.one_class_an_image:
        return _names(task, sample.examples.targets)
    raw = sample.raw_targets(task.target)
    return np.array(raw) if all(isinstance(value, float) for value in raw) else None


def captions(task: Task, sample: Sample) -> list[list[str]]:
    """Returns, for each image, the lines to show beside it: its file, its class or number, the
    model's answer.
    """
    found = kinds(task, sample)
    lines = []
    for index, name in enumerate(sample.names):
        truth = [] if found is None else [f"true: {label(found[index])}"]
        answer = (
            [f"model: {task.line(sample.answers[index])}"]
            if task.has_target and index < len(sample.answers)
            else []
        )
        lines.append([name, *truth, *answer])
    return lines


def label(kind: str | float) -> str:
    """Returns a class name or a number as a short text."""
    return kind if isinstance(kind, str) else f"{kind:.4g}"


def _names(task: Task, targets: np.ndarray) -> list[str]:
    names = task.names_by_id()
    return [_class_name(names, int(label)) for label in targets.ravel()]


def _class_name(names: list[str], class_id: int) -> str:
    """Returns the name of a class, of which a task may name all or none."""
    if 0 <= class_id < len(names):
        return names[class_id]
    return f"unknown {class_id}" if names else f"class {class_id}"


def _classes(counts: np.ndarray, task: Task, sample: Sample) -> dict:
    names = [_class_name(task.names_by_id(), class_id) for class_id in range(len(counts))]
    mistakes = counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    totals = counts.sum(axis=1)
    return {
        "kind": "classes",
        "matrix": plots.confusion(counts[np.ix_(shown, shown)], [names[index] for index in shown]),
        "left_out": len(names) - len(shown),
        "images": int(counts.sum()),
        "classes": [
            {
                "name": names[index],
                "images": int(totals[index]),
                "accuracy": counts[index, index] / int(totals[index]),
                "interval": of_share(counts[index, index] / int(totals[index]), int(totals[index])),
            }
            for index in range(len(names))
            if totals[index]
        ],
        "pairs": [
            _pair(counts, names, sample, *pair) for pair in most_confused(counts, MOST_PAIRS)
        ],
    }


def evaluated_confusion(evaluation_uri: str, num_classes: int) -> np.ndarray | None:
    """Returns the Evaluator's confusion matrix over the whole evaluation split.

    Args:
      evaluation_uri: where the evaluation lies.
      num_classes: as far as the task names them; C is more where the evaluation met more.

    Returns:
      Integers [C, C], a row a true class; None if the task's configuration asks for no such plot.
    """
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(evaluation_uri)
    if not any(
        metric.class_name == CONFUSION
        for spec in result.config.metrics_specs
        for metric in spec.metrics
    ):
        return None
    # Beside a baseline TFMA keeps the plots of either model under its name, and finds none without.
    plots = dict(result.plots) or dict(
        tfma.load_eval_result(evaluation_uri, model_name=CANDIDATE).plots
    )
    if () not in plots:  # there was no image
        return np.zeros((num_classes, num_classes), int)
    # The first of the matrices: the likeliest class, however unlikely.
    entries = plots[()][""][""]["multiClassConfusionMatrixAtThresholds"]["matrices"][0]["entries"]
    cells = [(entry.get("actualClassId", 0), entry.get("predictedClassId", 0)) for entry in entries]
    size = max([num_classes, *(1 + class_id for cell in cells for class_id in cell)])
    counts = np.zeros((size, size), int)
    for cell, entry in zip(cells, entries, strict=True):
        counts[cell] = int(entry.get("numWeightedExamples", 0))
    return counts


def most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Returns the (true class, answer) off the diagonal with the most images, at most `most` of
    them.
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [tuple(int(index) for index in np.unravel_index(place, wrong.shape)) for place in order]
    return [pair for pair in pairs if wrong[pair] > 0]


def _pair(counts: np.ndarray, names: list[str], sample: Sample, true: int, said: int) -> dict:
    # A task need not serve class ids; its pairs then stand without pictures.
    answered = np.array([answer.get("class_id", -1) for answer in sample.answers])
    labels = sample.examples.targets.ravel()[: len(answered)]
    places = np.flatnonzero((labels == true) & (answered == said))[:PICTURES_A_PAIR]
    return {
        "true": names[true],
        "said": names[said],
        "count": int(counts[true, said]),
        "share": counts[true, said] / max(int(counts[true].sum()), 1),
        "pictures": [
            {"uri": pictures.picture(sample.images[place]), "caption": sample.names[place]}
            for place in places
        ],
    }


def _numbers(task: Task, sample: Sample) -> dict:
    truth = np.array(sample.raw_targets(task.target))
    said = np.array([float(answer[task.target]) for answer in sample.answers])
    return {
        "kind": "numbers",
        "scatter": plots.against_truth(truth, said, task.target),
        "images": len(said),
    }


def _drawn(run: StoredRun, task: Task, sample: Sample) -> dict:
    rows = []
    raw = sample.raw_targets(task.target)
    for index, answer in enumerate(sample.answers[:MOST_DRAWN]):
        encoded = sample.encoded(index)
        # The true map is drawn as the answer is: it stands in every place where the answer holds
        # bytes.
        truth = {
            name: raw[index] if isinstance(value, bytes) else value
            for name, value in answer.items()
        }
        shown = [
            ("image", encoded),
            ("truth", _last(task.drawn(truth, encoded))),
            ("the model's answer", _last(task.drawn(answer, encoded))),
        ]
        drawn = [
            {"title": title, "uri": pictures.reencoded(content)}
            for title, content in shown
            if content
        ]
        rows.append({"name": sample.names[index], "line": task.line(answer), "pictures": drawn})
    evaluation = run.uri(EVALUATOR, "evaluation")
    classes = evaluated_classes(evaluation) if evaluation else []
    colours = palette(len(classes)) if classes else []
    coloured = [
        row | {"colour": f"rgb{tuple(int(value) for value in colour)}"}
        for row, colour in zip(classes, colours, strict=True)
    ]
    return {"kind": "drawn", "rows": rows, "classes": coloured}


def _last(drawn: dict[str, bytes]) -> bytes:
    """Returns the picture that a task draws last, the one for people."""
    return list(drawn.values())[-1] if drawn else b""


def evaluated_classes(evaluation_uri: str) -> list[dict]:
    """Returns the Evaluator's metric of each class: `name` and `value` in [0, 1], None where the
    class does not occur.
    """
    return [
        {"name": f"class {name}", "value": value}
        for name, value in all_classes(evaluation_uri).items()
    ]
