"""The model card of a pushed model, in Markdown: what it is, what it was made from, how good it is,
and for what it is not.

A run leaves it in the pushed folder, from what its summary says; `pipeline.export` puts it beside
what it writes. Standard library alone.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from components.metadata.names import FINETUNER, PRETRAINER
from pipeline.encoder_name import encoder_name
from pipeline.plan import Plan
from trainer_module.errors import visible
from trainer_module.findings import counted, quoted
from trainer_module.intervals import told
from trainer_module.metric_names import EPOCHS, UNTRAINED
from trainer_module.saved_encoder import EXTRAS, EncoderRecord
from trainer_module.settings import Encoder
from trainer_module.whole_files import write_text

CARD_FILE = "model_card.md"  # in `assets.extra` of a pushed model
# how a picture of another size is brought to the model's
RESIZED = "others stretched by bilinear interpolation with antialiasing, to whole grey levels"
# what Markdown takes for something else than itself; an underscore not within a word
MARKS = re.compile(r"[\\`*<|&\[\]~]|(?<![^\W_])_|_(?![^\W_])")
THROUGH_JPEG = (
    "It learned from images that JPEG had compressed (stored_as=jpeg). As a SavedModel it does so "
    "to every picture first; in other formats nothing does, and answers differ a little."
)


def leave_card(summary: dict, plan: Plan, command: list[str]) -> None:
    """Writes the card of a run's pushed model into its folder, unless one is there: a run that
    pushed nothing new names the model of an earlier one.

    Args:
        summary: of the run (pipeline/summary.py).
        plan: of the run.
        command: its flags.
    """
    pushed = summary["pushed_model"]
    card = Path(pushed, EXTRAS, CARD_FILE)
    if pushed and card.parent.is_dir() and not card.exists():
        write_text(card, card_of_run(summary, plan, command))


def card_of_run(summary: dict, plan: Plan, command: list[str]) -> str:
    """Returns the card of the model that a run made; arguments as `leave_card` has them."""
    size = " x ".join(map(str, plan.choices.image_size))
    title = f"# {plan.name}: {plan.task.name}, version {Path(summary['pushed_model']).name}"
    network = (
        f"{_begun(encoder_name(plan.encoder))} for images of {size} pixels, pushed after the run "
        f"{summary['run_id']}."
    )
    sections = {
        "Data": _data(summary, plan),
        "Recipe": _recipe(summary, plan, command),
        "How good it is": _scores(summary, plan),
        _worth(plan): _brought(summary, plan),
        "Limits": _limits(summary, plan),
        "Where it is from": _origin(summary, plan),
    }
    parts = [f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items() if lines]
    return "\n\n".join([title, network, *parts]) + "\n"


def card_of_record(record: EncoderRecord) -> str:
    """Returns the card of a model that carries none, as those that were pushed before there were
    cards: what its encoder is.
    """
    ours = record.encoder.builder == Encoder().builder
    stem = f", {record.encoder.stem} stem" if ours else ""
    through = f"\n\n{THROUGH_JPEG}" if record.stored_as == "jpeg" else ""
    return (
        f"# {_begun(encoder_name(record.encoder))}{stem}{through}\n\n"
        f"No run has left a card in its folder; `python -m pipeline.lineage` tells data, recipe, "
        f"scores and origin.\n"
    )


def card_of_input(
    record: EncoderRecord, classes: Sequence[str], left_behind: str, pixels: bool
) -> str:
    """Returns what the card of an exported model says beside that: what it takes, and what it
    answers, in which order.

    Args:
        record: of its encoder.
        classes: their names in the order of logits; empty where there are none, of features alone.
        left_behind: name of the task whose head lies in the SavedModel alone, '' of none.
        pixels: whether it resizes and normalizes by itself.
    """
    size = " x ".join(map(str, record.image_size))
    takes = f"Pixels of any size; within, they become {size}" if pixels else f"{size} pixels"
    takes += f" ({RESIZED})"
    done = ", which it does by itself" if pixels else ""
    mean, std = (_numbers(values) for values in (record.channel_mean, record.channel_std))
    lines = [
        "## Input and output",
        "",
        f"- Images, RGB: {takes}, in [0, 1], minus the mean {mean}, divided by {std}{done}.",
    ]
    if classes:
        named = ", ".join(f"{place} {_plain(quoted(name))}" for place, name in enumerate(classes))
        lines.append(f"- Classes, in the order of the logits: {named}.")
    elif left_behind:
        lines.append(
            f"- It is the encoder alone and answers features; scores of {left_behind} are those of "
            f"the SavedModel (`--format=saved_model`), which alone has the head."
        )
    else:
        lines.append("- It answers features.")
    return "\n".join(lines) + "\n"


def _begun(text: str) -> str:
    """Returns a text as a sentence begins with it."""
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    """Returns Markdown that shows a text as it is: names of classes and files have any characters,
    and in a table or as HTML they would be something else.
    """
    return MARKS.sub(r"\\\g<0>", visible(text, kept=""))


def _code(text: str) -> str:
    """Returns a text as code, between more backticks than it has."""
    text = visible(text, kept="")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _numbers(values) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _data(summary: dict, plan: Plan) -> list[str]:
    lines = [f"- {split}: {_code(path)}" for split, path in plan.lists.given().items()]
    lines.append(f"- held out and judged by: {counted(summary.get('eval_images', 0), 'image')}")
    return lines + [f"- {one['severity']}: {_plain(one['told'])}" for one in summary["findings"]]


def _recipe(summary: dict, plan: Plan, command: list[str]) -> list[str]:
    pretraining = plan.pretraining
    # of a run of minutes, as many as fitted
    epochs = summary["metrics"].get(EPOCHS, pretraining.epochs)
    how = f"SimCLR, {counted(epochs, 'epoch')} of batches of {pretraining.batch_size}"
    if plan.choices.from_scratch:
        how = "none, the whole network was learned from labels"
    elif plan.saved_encoder.replaces_pretraining:
        how = f"none in this run, the encoder is that of {_code(plan.saved_encoder.path)}"
    elif plan.saved_encoder.begins_pretraining:
        how += f", begun with the weights in {_code(plan.saved_encoder.path)}"
    finetuning = plan.choices.finetuning
    trained = "frozen" if finetuning.freeze else "trained along"
    head = f"{finetuning.head} head" if plan.task.on_features else "decoder"
    line = shlex.join(["python", "local_runner.py", *command])
    return [
        f"- recipe `{plan.choices.recipe}`: {_code(line)}",
        f"- pretraining: {how}",
        f"- then: a {head}, the encoder {trained}, seed {finetuning.seed}"
        if plan.task.has_target
        else "- then: nothing, the encoder is what was asked for",
        f"- {summary.get('seconds', 0):.0f} s on {summary['hardware']}",
    ]


def _scores(summary: dict, plan: Plan) -> list[str]:
    names, by_class = summary.get("metrics", {}), summary.get("metrics_by_class", {})
    if not names:
        return ["Nothing was judged: an encoder answers no task."]
    rows = ["| metric | value, with its 95 % interval |", "|---|---|"]
    rows += [f"| {name.replace('_', ' ')} | {_shown(summary, plan, name)} |" for name in names]
    ends = summary.get("intervals_by_class", {})
    if by_class:
        rows += ["", "| class | value, with its 95 % interval |", "|---|---|"]
    for name, value in by_class.items():
        low, high = (f"{100 * end:.0f}" for end in ends.get(name, (0, 0)))
        interval = f" ({low} to {high})" if name in ends else ""
        rows.append(f"| {_plain(name)} | {plan.task.shown(value)}{interval} |")
    return rows


def _shown(summary: dict, plan: Plan, name: str) -> str:
    """Returns a metric as on the terminal, with its interval where it has one."""
    value, interval = summary["metrics"][name], summary["intervals"].get(name)
    shown = plan.task.told(name, value)
    if not interval:
        return shown
    return f"{shown} {told(interval, summary['eval_images'], percent=shown.endswith('%'))}"


def _worth(plan: Plan) -> str:
    """Returns the heading of what makes the encoder better than random weights."""
    saved = plan.saved_encoder
    return "What the encoder is worth" if saved.path else "What pretraining brought"


def _brought(summary: dict, plan: Plan) -> list[str]:
    """Returns the gain in words, and each metric beside the one of the same name with random
    weights.
    """
    metrics = summary.get("metrics", {})
    lines = [f"- {gain['told']}" for gain in summary.get("gains", [])]
    for name in metrics:
        trained = name.removeprefix(UNTRAINED)
        if name != trained and trained in metrics:
            with_it, without = (_shown(summary, plan, one) for one in (trained, name))
            lines.append(
                f"- {trained.replace('_', ' ')}: {with_it}, with the same network untrained "
                f"{without}"
            )
    return lines


def _limits(summary: dict, plan: Plan) -> list[str]:
    images = summary.get("eval_images", 0)
    lines = [
        f"- The scores are of {counted(images, 'image')} held out of the same lists; on images of "
        f"another origin they may be far lower (`python -m pipeline.evaluate` tells)."
    ] if images else []  # fmt: skip
    size = " x ".join(map(str, plan.choices.image_size))
    lines += [
        f"- Every picture becomes {size} pixels, 8 bits a channel, upright, on white: what cannot "
        f"be seen at that size is not seen.",
        *([f"- {THROUGH_JPEG}"] if plan.stored_as == "jpeg" else []),
        "- The data's licence and what they show of people are not looked at here; they bind the "
        "model, too.",
    ]
    if plan.saved_encoder.from_weights:
        lines.append("- The weights that it began with bring their own licence and their own data.")
    return lines


def _origin(summary: dict, plan: Plan) -> list[str]:
    saved, versions = plan.saved_encoder, summary["versions"]
    codes = summary["code_fingerprints"]
    shown = [f"{node} {codes[node]}" for node in (PRETRAINER, FINETUNER) if node in codes]
    lines = [
        f"- run {summary['run_id']}, git commit {summary['git_commit'] or 'unknown'}",
        f"- code: {', '.join(shown)}",
        f"- versions: {', '.join(f'{name} {number}' for name, number in versions.items())}",
    ]
    if saved.path:
        lines.insert(1, f"- encoder: {_code(saved.path)}, fingerprint {saved.fingerprint}")
    if saved.mapping:
        lines.insert(2, f"- its weights: {_plain(saved.mapping)}")
    return [*lines, "- all of it: `python -m pipeline.lineage --pipeline_root ROOT MODEL`"]
