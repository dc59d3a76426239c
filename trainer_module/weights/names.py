"""Which tensors a ResNet has under the names of torchvision, and which ResNet a file of tensors is.

timm's plain ResNets have torchvision's names; lightly's say `shortcut` for `downsample`; a backbone
made of a list of a ResNet's modules has numbers. A program that trains puts a prefix before all of
them. Standard library alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainer_module.errors import InputError
from trainer_module.findings import counted
from trainer_module.resnets import BLOCKS, BOTTLENECK_FROM, EXPANSION, STAGE_CHANNELS, channels_of
from trainer_module.saved_encoder import CHANNELS
from trainer_module.settings import Encoder

VERSION = 2  # raise it where the same file would become another encoder
SHOWN = 20  # tensors named in an error, and prefixes
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
NORM |= {"running_var": "moving_variance"}
# what stands beside the first convolution: parts of the ResNet, and heads, which it does without
OWN_PARTS = re.compile(r"(conv1|bn1|layer\d+)\.")
HEADS = re.compile(r"(fc|linear|classifier|heads?|last_linear)\d*\.|project|predict|prototype")
DENSE = 2  # dimensions of a dense layer's kernel
FLAGS = {"depth": "--depth", "width": "--width", "stem": "encoder.stem"}
COUNTERS = "num_batches_tracked"  # of PyTorch's normalization, which nothing reads
# averages that follow the network that learns, as the keys of MoCo do
FOLLOWERS = re.compile(r"(^|[._])(momentum|teacher|target|ema|(key|k)(?=[._]))")
# the first block of a ResNet, by what stands before its name
FIRST_BLOCK = re.compile(r"(.*?)(layer1|\d+)\.0\.conv1\.weight$")
STEM_OF_KERNEL = {3: "small", 7: "imagenet"}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a ResNet: where it is in ours, and its shape as PyTorch has it."""

    layer: str
    part: str  # name of the weight in that layer
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """The ResNet in a file of tensors."""

    encoder: Encoder  # its architecture, the stem decided
    tensors: Mapping[str, str]  # torchvision's name -> name in the file
    prefix: str  # before all of these names in the file
    left_out: tuple[str, ...]  # all other tensors of the file


def tensors_of(encoder: Encoder) -> dict[str, Tensor]:
    """Returns torchvision's name -> tensor for every tensor of an encoder, the stem decided."""
    stem, *_ = channels = channels_of(encoder)
    taps = 7 if encoder.stem == "imagenet" else 3
    found = _convolution("conv1", "stem", (stem, CHANNELS, taps, taps)) | _norm("bn1", "stem", stem)
    incoming = stem
    for stage, (blocks, count) in enumerate(
        zip(BLOCKS[encoder.depth], channels, strict=True), start=1
    ):
        for block in range(blocks):
            ours = f"stage{stage}" if block == blocks - 1 else f"stage{stage}_block{block + 1}"
            outgoing = count * (EXPANSION if encoder.depth >= BOTTLENECK_FROM else 1)
            shrinks = stage > 1 and block == 0
            theirs = f"layer{stage}.{block}"
            found |= _block(theirs, ours, (incoming, count, outgoing), shrinks)
            incoming = outgoing
    return found


def _block(theirs: str, ours: str, channels: tuple[int, int, int], shrinks: bool):
    """Returns the tensors of a block, by channels coming in, within, and going out."""
    incoming, count, outgoing = channels
    if outgoing > count:
        kernels = [(count, incoming, 1, 1), (count, count, 3, 3), (outgoing, count, 1, 1)]
    else:
        kernels = [(count, incoming, 3, 3), (outgoing, count, 3, 3)]
    found = {}
    for number, shape in enumerate(kernels, start=1):
        found |= _convolution(f"{theirs}.conv{number}", f"{ours}_{number}", shape)
        found |= _norm(f"{theirs}.bn{number}", f"{ours}_{number}", shape[0])
    if shrinks or incoming != outgoing:
        shape = (outgoing, incoming, 1, 1)
        found |= _convolution(f"{theirs}.downsample.0", f"{ours}_shortcut", shape)
        found |= _norm(f"{theirs}.downsample.1", f"{ours}_shortcut", outgoing)
    return found


def _convolution(theirs: str, ours: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return {f"{theirs}.weight": Tensor(f"{ours}_conv", "kernel", shape)}


def _norm(theirs: str, ours: str, channels: int) -> dict[str, Tensor]:
    return {
        f"{theirs}.{part}": Tensor(f"{ours}_norm", name, (channels,)) for part, name in NORM.items()
    }


def find_resnet(
    shapes: Shapes, asked: Mapping[str, object], source: str, own: Mapping[str, object] = {}
) -> Found:
    """Returns the ResNet that tensors are.

    Args:
        shapes: name -> shape of every tensor.
        asked: settings of the encoder that the person named; the others follow from the tensors.
        source: the file, for messages.
        own: settings that the file says itself, for those that the person did not name.

    Raises:
        InputError: if they are none, or not the one asked for: every tensor that is missing, too
          many, or of another shape is named (the first 20).
    """
    prefix = _prefix_of(shapes, source)
    names, bare = _in_torchvisions_names(shapes, prefix)
    shape = shapes[names["conv1.weight"]]
    if len(shape) != 4 or shape[1] != CHANNELS:
        of = counted(shape[1], "channel") if len(shape) == 4 else f"shape {list(shape)}"
        raise InputError(
            f"`--encoder_weights` must take images of {CHANNELS} channels, as they are read. "
            f"Received: {names['conv1.weight']} of {of} in {source}. Fix: weights that were "
            f"trained on three channels, as grey images are read, too"
        )
    theirs = {name: shapes[original] for name, original in names.items()}
    encoder = _architecture(theirs, bare, {**own, **asked})
    problems = _problems(theirs, encoder)
    if problems:
        raise InputError(_told(problems, encoder, source, asked))
    needed = tensors_of(encoder)
    used = {name: names[name] for name in needed}
    left_out = sorted(set(shapes) - set(used.values()))
    return Found(encoder, used, prefix, tuple(n for n in left_out if not n.endswith(COUNTERS)))


def _prefix_of(shapes: Shapes, source: str) -> str:
    """Returns what stands before the names of the ResNet's tensors: of several, of the one that
    learns and that stands highest.
    """
    prefixes = {
        match[1] for name in shapes if (match := FIRST_BLOCK.match(name))
        and f"{match[1]}{'conv1' if match[2] == 'layer1' else '0'}.weight" in shapes
    }  # fmt: skip
    ranks = {one: (len(FOLLOWERS.findall(one)), one.count(".")) for one in prefixes}
    first = sorted(one for one in prefixes if ranks[one] == min(ranks.values()))
    if len(first) == 1:
        return first[0]
    if first:
        raise InputError(
            f"`--encoder_weights` must hold one ResNet. Received: {source} with {len(first)}, "
            f"below {', '.join(first[:SHOWN])}. Fix: save the state_dict of one of them"
        )
    some = ", ".join(list(shapes)[:3])
    raise InputError(
        f"`--encoder_weights` must hold a ResNet under the names of torchvision, timm or lightly "
        f"(conv1.weight, layer1.0.conv1.weight, ...). Received: {source} with {len(shapes)} "
        f"tensors, {some + ', ...' if some else 'none'}"
    )


def _in_torchvisions_names(shapes: Shapes, prefix: str) -> tuple[dict[str, str], bool]:
    """Returns torchvision's name -> name in the file for all below a prefix, and whether a list of
    modules has no rectifier between its first normalization and its first block.
    """
    below = [name for name in shapes if name.startswith(prefix) and not name.endswith(COUNTERS)]
    rests = {name.removeprefix(prefix): name for name in below}
    blocks = {int(rest.split(".")[0]) for rest in rests if re.match(r"\d+\.\d+\.", rest)}
    modules = {f"{place}": f"layer{stage}" for stage, place in enumerate(sorted(blocks), start=1)}
    if "conv1.weight" in rests:
        modules = {}
    elif blocks:
        modules |= {"0": "conv1", "1": "bn1"}
    named = {}
    for rest, name in rests.items():
        first, dot, others = rest.partition(".")
        renamed = f"{modules.get(first, first)}{dot}{others}"
        named[renamed.replace(".shortcut.", ".downsample.")] = name
    return named, bool(modules) and min(blocks) == 2


def _architecture(theirs: Shapes, bare: bool, asked: Mapping[str, object]) -> Encoder:
    """Returns the ResNet that these tensors are, or are nearest to."""
    stem = theirs["conv1.weight"]
    taps = STEM_OF_KERNEL.get(stem[-1], "small")
    kind = "lightly" if bare and taps == "small" else taps
    deep = "layer1.0.conv3.weight" in theirs
    depths = [depth for depth in BLOCKS if (depth >= BOTTLENECK_FROM) == deep]
    counts = [
        len({name.split(".")[1] for name in theirs if name.startswith(f"layer{stage}.")})
        for stage in range(1, len(STAGE_CHANNELS) + 1)
    ]
    distance = {
        depth: sum(abs(one - other) for one, other in zip(counts, BLOCKS[depth], strict=True))
        for depth in depths
    }
    width = min(max(stem[0] / STAGE_CHANNELS[0], 1 / 8), 4.0)
    settings = {"depth": min(depths, key=distance.get), "width": width, "stem": kind}
    wanted = {name: value for name, value in asked.items() if (name, value) != ("stem", "auto")}
    return Encoder(**(settings | wanted))


def _problems(theirs: Shapes, encoder: Encoder) -> dict[str, list[str]]:
    """Returns kind of problem -> what is told of each tensor that has it."""
    needed = tensors_of(encoder)
    beside = _beside(theirs)
    extra = [name for name in theirs if name not in needed and _part(name) not in beside]
    misshapen = [
        f"{name} is {list(theirs[name])} and not {list(tensor.shape)}"
        for name, tensor in needed.items()
        if name in theirs and tuple(theirs[name]) != tensor.shape
    ]
    missing = [name for name in needed if name not in theirs]
    found = {"missing": missing, "too many": extra, "of another shape": misshapen}
    return {kind: names for kind, names in found.items() if names}


def _part(name: str) -> str:
    """Returns the first part of a tensor's name, with its dot."""
    return name.partition(".")[0] + "."


def _beside(theirs: Shapes) -> set[str]:
    """Returns the parts beside a ResNet that its features do without: heads and twins.

    Other heads show by dense layers: attention and norms, which do change features, have none.
    """
    ranks: dict[str, int] = {}  # part -> dimensions of the tensor that has most
    for name, shape in theirs.items():
        part = _part(name)
        ranks[part] = max(len(shape), ranks.get(part, 0))
    networks = {_part(name) for name in theirs if FIRST_BLOCK.match(name)}
    twins = {part for part in networks if FOLLOWERS.search(part)}
    return {
        part
        for part, rank in ranks.items()
        if not OWN_PARTS.match(part) and (HEADS.match(part) or part in twins or rank == DENSE)
    }


def _told(
    problems: dict[str, list[str]], encoder: Encoder, source: str, asked: Mapping[str, object]
) -> str:
    counts = ", ".join(f"{len(names)} {kind}" for kind, names in problems.items())
    lines = [f"{kind}: {name}" for kind, names in problems.items() for name in names]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return (
        f"`--encoder_weights` must hold a ResNet of 18, 34, 50, 101 or 152 layers, and the one "
        f"asked for. Received: {source}, whose tensors differ from those of a ResNet-"
        f"{encoder.depth} of width {encoder.width:g} with the {encoder.stem} stem: {counts}. Fix: "
        f"{_fix(problems, asked)}\n  " + "\n  ".join([*lines[:SHOWN], *more])
    )


def _fix(problems: dict[str, list[str]], asked: Mapping[str, object]) -> str:
    """Returns what can help: flags are named if they were given."""
    fixes = ["other weights"]
    *before, last = [flag for name, flag in FLAGS.items() if name in asked] or [""]
    if last:
        given = f"{', '.join(before)} and {last}" if before else last
        fixes.append(f"leave out {given}")
    if problems.keys() == {"too many"}:
        fixes.append(
            "a file without what is too many, if the features do not need it (docs/weights.md)"
        )
    return ", or ".join(fixes)
