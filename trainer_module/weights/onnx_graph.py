"""A ResNet, and the head on it, as an ONNX graph: from the tensors by torchvision's names, node by
node, without a converter.

B images of H x W pixels, D feature dims, C classes. Needs the package onnx.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer_module.resnets import BLOCKS, BOTTLENECK_FROM, last_side
from trainer_module.saved_encoder import EncoderRecord
from trainer_module.weights.exchange import TORCH_EPSILON

OPSET, IR_VERSION = 18, 10  # Resize has `antialias` from 18 on
IMAGES, FEATURES, LOGITS, PROBABILITIES = "images", "features", "logits", "probabilities"
Dense = tuple[np.ndarray, np.ndarray]  # kernel [D, C] and bias [C]


def onnx_model(
    record: EncoderRecord,
    tensors: Mapping[str, np.ndarray],
    head: Sequence[Dense] = (),
    preprocessing: bool = False,
) -> onnx.ModelProto:
    """Returns an encoder as an ONNX model.

    Args:
        record: what the encoder is, and how its images are normalized.
        tensors: torchvision's name -> float32 array, as `exchange.taken_out` has them.
        head: dense layers on the features, with a rectifier between two; none for features alone.
        preprocessing: whether it takes uint8 [B, h, w, 3] of any one size, and resizes and
            normalizes them as Transform does; else it takes normalized float32 [B, 3, H, W].

    Returns:
        A model with the outputs `features` [B, D] and, of a head, `logits` and `probabilities`
        [B, C].
    """
    graph = _Graph()
    images = _prepared(graph, record) if preprocessing else IMAGES
    tensor = _stem(graph, tensors, images, record.encoder.stem)
    for stage, blocks in enumerate(BLOCKS[record.encoder.depth], start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            tensor = _block(graph, tensors, tensor, f"layer{stage}.{block}", stride)
    features = _features(graph, tensor, record)
    outputs = [(FEATURES, record.encoder.grid**2 * len(tensors[_last_bias(record)]))]
    if head:
        outputs += _head(graph, features, head)
    height, width = record.image_size
    given = (
        (TensorProto.UINT8, ["batch", "height", "width", 3])
        if preprocessing
        else (TensorProto.FLOAT, ["batch", 3, height, width])
    )
    made = helper.make_graph(
        graph.nodes,
        f"resnet{record.encoder.depth}",
        [helper.make_tensor_value_info(IMAGES, *given)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in outputs
        ],
        graph.constants,
    )
    model = helper.make_model(
        made, producer_name="simclr-tfx", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass
class _Graph:
    """Nodes and constants, named as they come."""

    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes) -> str:
        """Adds a node and returns the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: np.ndarray, name: str = "") -> str:
        """Adds a constant and returns its name."""
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _prepared(graph: _Graph, record: EncoderRecord) -> str:
    """Adds what Transform and normalization do to decoded pixels."""
    height, width = record.image_size
    pixels = graph.node("Cast", [IMAGES], to=TensorProto.FLOAT)
    pixels = graph.node("Transpose", [pixels], perm=[0, 3, 1, 2])  # [B, 3, h, w]
    batch = graph.node("Shape", [pixels], start=0, end=1)
    shape = graph.constant(np.array([3, height, width], np.int64))
    size = graph.node("Concat", [batch, shape], axis=0)
    # at the border TensorFlow drops the weights outside the image, ONNX repeats its last pixels
    how = {"mode": "linear", "antialias": 1, "exclude_outside": 1}
    resized = graph.node("Resize", [pixels, "", "", size], **how)
    limits = [graph.constant(np.array(limit, np.float32)) for limit in (0, 255)]
    whole = graph.node("Clip", [graph.node("Round", [resized]), *limits])
    mean, std = (
        graph.constant(np.array(values, np.float32).reshape(1, 3, 1, 1))
        for values in (record.channel_mean, record.channel_std)
    )
    scaled = graph.node("Div", [whole, graph.constant(np.array(255, np.float32))])
    return graph.node("Div", [graph.node("Sub", [scaled, mean]), std])


def _stem(graph: _Graph, tensors, images: str, stem: str) -> str:
    if stem != "imagenet":
        tensor = _unit(graph, tensors, images, ("conv1", "bn1"), (1, 1))
        return tensor if stem == "lightly" else graph.node("Relu", [tensor])
    tensor = graph.node("Relu", [_unit(graph, tensors, images, ("conv1", "bn1"), (2, 3))])
    return graph.node("MaxPool", [tensor], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def _block(graph: _Graph, tensors, tensor: str, name: str, stride: int) -> str:
    shortcut = tensor
    if f"{name}.downsample.0.weight" in tensors:
        names = f"{name}.downsample.0", f"{name}.downsample.1"
        shortcut = _unit(graph, tensors, tensor, names, (stride, 0))
    count = 3 if f"{name}.conv3.weight" in tensors else 2
    for number in range(1, count + 1):
        at = stride if number == count - 1 else 1  # the first 3x3
        padding = tensors[f"{name}.conv{number}.weight"].shape[-1] // 2
        names = f"{name}.conv{number}", f"{name}.bn{number}"
        tensor = _unit(graph, tensors, tensor, names, (at, padding))
        tensor = graph.node("Relu", [tensor]) if number < count else tensor
    return graph.node("Relu", [graph.node("Add", [tensor, shortcut])])


def _unit(graph: _Graph, tensors, tensor: str, names: tuple[str, str], how: tuple[int, int]) -> str:
    """Adds a convolution of a stride and a padding, and its normalization."""
    (convolution, norm), (stride, padding) = names, how
    kernel = graph.constant(tensors[f"{convolution}.weight"], f"{convolution}.weight")
    tensor = graph.node("Conv", [tensor, kernel], strides=[stride] * 2, pads=[padding] * 4)
    parts = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    constants = [graph.constant(tensors[part], part) for part in parts]
    return graph.node("BatchNormalization", [tensor, *constants], epsilon=TORCH_EPSILON)


def _features(graph: _Graph, tensor: str, record: EncoderRecord) -> str:
    """Adds the mean over the last stage, or over each cell of a grid, cell by cell."""
    grid = record.encoder.grid
    if grid == 1:
        return graph.node("Flatten", [graph.node("GlobalAveragePool", [tensor])], output=FEATURES)
    sides = [last_side(record.encoder, side) for side in record.image_size]
    rows, columns = (_shares(side, grid) for side in sides)
    cells = graph.constant(np.kron(rows, columns).T)  # [H' * W', G * G]
    shape = graph.constant(np.array([0, 0, -1], np.int64))
    means = graph.node("MatMul", [graph.node("Reshape", [tensor, shape]), cells])  # [B, C, G * G]
    ordered = graph.node("Transpose", [means], perm=[0, 2, 1])
    return graph.node("Flatten", [ordered], output=FEATURES)


def _shares(side: int, grid: int) -> np.ndarray:
    """Returns float32 [grid, side]: what each position adds to the mean of each cell.

    Cells overlap where the side is no multiple of the grid, as adaptive pooling has it.
    """
    shares = np.zeros((grid, side), np.float32)
    for cell in range(grid):
        start, end = cell * side // grid, -(-(cell + 1) * side // grid)
        shares[cell, start:end] = 1 / (end - start)
    return shares


def _head(graph: _Graph, tensor: str, head: Sequence[Dense]) -> list[tuple[str, int]]:
    for place, (kernel, bias) in enumerate(head, start=1):
        last = place == len(head)
        weights = [graph.constant(kernel), graph.constant(bias)]
        tensor = graph.node("Gemm", [tensor, *weights], output=LOGITS if last else "")
        tensor = tensor if last else graph.node("Relu", [tensor])
    graph.node("Softmax", [tensor], output=PROBABILITIES, axis=1)
    classes = head[-1][1].shape[0]
    return [(LOGITS, classes), (PROBABILITIES, classes)]


def _last_bias(record: EncoderRecord) -> str:
    depth = record.encoder.depth
    last = 3 if depth >= BOTTLENECK_FROM else 2
    return f"layer4.{BLOCKS[depth][-1] - 1}.bn{last}.bias"
