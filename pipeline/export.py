"""A pushed model for other programs: `python -m pipeline.export MODEL --format F [--output PATH]`.

MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a pipeline
root. The formats:

    safetensors  the encoder, and a classifier's head as `fc`, by torchvision's names
    onnx         from normalized float32 [B, 3, H, W] to features, and a classifier's probabilities;
                 with --preprocessing from uint8 pixels [B, h, w, 3] of any size
    keras        the same network of Keras' own layers, from normalized float32 [B, H, W, 3]
    saved_model  the folder as it was pushed: from the bytes of image files to answers, of any task

A model card lies beside it. What a model expects and answers: docs/weights.md.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.arguments import BAD_INPUT, DONE, model_parser, one_of, path_of
from pipeline.asked_model import asked_model, name_of, refuse_within, task_of
from pipeline.encoder_name import encoder_name
from pipeline.model_card import CARD_FILE, THROUGH_JPEG, card_of_input, card_of_record
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from pipeline.weights import MADE_BY, OURS, OWN_MEAN, OWN_STD
from trainer_module.errors import InputError
from trainer_module.saved_encoder import EXTRAS, HEAD_FILE, EncoderRecord, read_record
from trainer_module.settings import Encoder

ENDINGS = {"safetensors": ".safetensors", "onnx": ".onnx", "keras": ".keras", "saved_model": ""}


def export(model_dir: Path, kind: str, output: Path, preprocessing: bool = False) -> str:
    """Writes a model in a format, and its card beside it: both whole, or neither.

    Args:
        model_dir: a SavedModel that a run has left.
        kind: of ENDINGS.
        output: the file, or the folder of a SavedModel; nothing may be there.
        preprocessing: whether an ONNX model takes pixels of any size.

    Returns:
        What was written, for a person.

    Raises:
        InputError: if the model cannot be said in that format.
        OSError: if it cannot be written.
    """
    record = read_record(model_dir)
    with TemporaryDirectory(prefix=".", dir=output.absolute().parent) as place:
        draft = Path(place, output.name)
        if kind == "saved_model":
            shutil.copytree(model_dir, draft)
            told = "SavedModel with the signatures from_images, features and serving_default"
        else:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            told = _write(model_dir, record, kind, draft, preprocessing)
            told += f". {THROUGH_JPEG}" if record.stored_as == "jpeg" else ""
        card = model_dir / EXTRAS / CARD_FILE
        text = card.read_text(encoding="utf-8") if card.is_file() else card_of_record(record)
        if kind != "saved_model":
            answers = _classes(model_dir), _task_left_behind(model_dir)
            text += f"\n{card_of_input(record, *answers, preprocessing)}"
        _card(draft).write_text(text, encoding="utf-8")
        _card(draft).rename(_card(output))
        if draft.is_file():  # safetensors are written for their owner alone
            draft.chmod(_card(output).stat().st_mode)
        draft.rename(output)
    return f"{told} -> {output.absolute()}"


def _card(output: Path) -> Path:
    return output.with_name(f"{output.name}.md")


def _write(model_dir: Path, record: EncoderRecord, kind: str, output: Path, preprocessing: bool):
    """Writes what is made of encoder and head; returns what it is."""
    import keras

    from trainer_module.export import load_encoder, load_head

    encoder, head = load_encoder(str(model_dir)), load_head(str(model_dir))
    task = _task_left_behind(model_dir)
    alone = f", without the head of {task}, which saved_model has" if task else ""
    what = f"{encoder_name(record.encoder)}{alone}"
    if kind == "keras":
        from trainer_module.weights.plain_keras import plain

        whole = keras.Model(encoder.input, head(encoder.output)) if head else encoder
        plain(whole).save(output)
        return what
    _refuse_other_networks(record, encoder)
    from trainer_module.weights.exchange import taken_out

    tensors, layers = taken_out(encoder, record.encoder), _dense_layers(head)
    if kind == "onnx":
        from trainer_module.weights.onnx_graph import onnx_model

        content = onnx_model(record, tensors, layers, preprocessing).SerializeToString()
        output.write_bytes(content)
        return what
    from safetensors.numpy import save_file

    fc = _fc(layers, record.encoder.grid)
    save_file(tensors | fc, output, _metadata(model_dir, record))
    return what


def _refuse_other_networks(record: EncoderRecord, encoder) -> None:
    """Refuses networks that are not torchvision's ResNet.

    Raises:
        InputError: naming what differs.
    """
    fix = "Fix: --format=keras or --format=saved_model"
    if record.encoder.builder != Encoder().builder:
        raise InputError(
            f"`--format` of safetensors or onnx is for ResNets. Received: an encoder of "
            f"{record.encoder.builder}. {fix}"
        )
    strided = [layer for layer in encoder.layers if getattr(layer, "strides", (1, 1)) != (1, 1)]
    if any(not getattr(layer, "symmetric", layer.padding == "valid") for layer in strided):
        raise InputError(
            f"`--format` of safetensors or onnx needs PyTorch's padding. Received: a model that "
            f"was trained before encoders had it. {fix}, or train it again"
        )


def _dense_layers(head) -> list:
    """Returns kernel [D, C] and bias [C] of each dense layer of a head; [] without one."""
    layers = head.layers if head else []
    return [tuple(map(_array, layer.weights)) for layer in layers if layer.weights]


def _array(weight):
    import numpy as np

    return np.asarray(weight.numpy(), np.float32)


def _fc(layers: list, grid: int) -> dict:
    """Returns dense layers by PyTorch's names: `fc` is one, or a Sequential with a rectifier
    between two. Of the means over a grid's cells PyTorch has channels first.
    """
    import numpy as np

    found = {}
    for place, (kernel, bias) in enumerate(layers):
        name = "fc" if len(layers) == 1 else f"fc.{2 * place}"
        weight = kernel.T  # [C, D]
        if place == 0:
            weight = weight.reshape(len(bias), grid * grid, -1).transpose(0, 2, 1)
        weight = np.ascontiguousarray(weight.reshape(len(bias), -1))
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return found


def _metadata(model_dir: Path, record: EncoderRecord) -> dict[str, str]:
    """Returns what a safetensors file says of itself; `--encoder_weights` reads it again."""
    settings = record.encoder
    return {
        "format": "pt",
        MADE_BY: OURS,
        "depth": str(settings.depth),
        "width": f"{settings.width:g}",
        "stem": settings.stem,
        "grid": str(settings.grid),
        "image_size": json.dumps(record.image_size),
        "stored_as": record.stored_as,
        OWN_MEAN: json.dumps(record.channel_mean),
        OWN_STD: json.dumps(record.channel_std),
        "classes": json.dumps(_classes(model_dir)),
    }


def _classes(model_dir: Path) -> list[str]:
    """Returns the names of the classes in the order of logits; [] where no head goes along."""
    return getattr(task_of(model_dir), "names_by_id", list)() if _has_head(model_dir) else []


def _task_left_behind(model_dir: Path) -> str:
    """Returns the name of the task whose head lies in the SavedModel alone; '' where it goes along,
    or there is no task.
    """
    task = task_of(model_dir)
    return task.name if task.has_target and not _has_head(model_dir) else ""


def _has_head(model_dir: Path) -> bool:
    return (model_dir / EXTRAS / HEAD_FILE).is_file()


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = model_parser("export", __doc__)
    parser.add_argument("--format", **one_of(ENDINGS), required=True)
    parser.add_argument(
        "--output",
        type=path_of,
        help="file or folder to write, with its card NAME.md beside it; nothing may be there; "
        "default: in the current folder, as demo-1795601621.onnx of runs/demo",
    )
    parser.add_argument(
        "--preprocessing",
        action="store_true",
        help="of onnx: pixels of any size instead of numbers",
    )
    flags = parser.parse_args(arguments)
    try:
        model_dir = asked_model(flags.model)
        output = flags.output or Path(f"{name_of(model_dir)}{ENDINGS[flags.format]}")
        refuse_within(model_dir, output)
        _check(flags, output)
        with libraries_to_log(os.devnull):
            told = export(model_dir, flags.format, output, flags.preprocessing)
    except ValueError as error:
        print(f"pipeline.export: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"{told}\nmodel card -> {output.absolute()}.md")
    return DONE


def _check(flags: argparse.Namespace, output: Path) -> None:
    there = [path for path in (output, _card(output)) if os.path.lexists(path)]
    if there:
        raise InputError(
            f"`--output` must be new. Received: {there[0].absolute()}, which is there. Fix: "
            f"another --output"
        )
    if not output.absolute().parent.is_dir():
        raise InputError(f"`--output` must lie in a folder that exists. Received: {output}")
    if output.suffix != ENDINGS[flags.format] and ENDINGS[flags.format]:
        raise InputError(f"`--output` must end in {ENDINGS[flags.format]}. Received: {output}")
    if flags.preprocessing and flags.format != "onnx":
        raise InputError(
            f"`--preprocessing` is of --format=onnx. Received: --format={flags.format}"
        )
    if flags.format == "onnx" and not _has_onnx():
        raise InputError("`--format=onnx` needs the package onnx. Fix: make extra NAME=onnx")


def _has_onnx() -> bool:
    import importlib.util

    return importlib.util.find_spec("onnx") is not None


if __name__ == "__main__":
    run_tool(main)
