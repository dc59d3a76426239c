"""The step that a GPU compiles with XLA: it compiles, computes what the uncompiled step computes, and asks the host for images alone.

TensorFlow is told of a GPU that is not there (benchmarks/compiled_step.py), so `build_learner` and `finetune` make what they make on one.
"""

from functools import cache, partial

import pytest

pytest.importorskip("tensorflow", reason="compiles the step of TensorFlow")

from tensorflow.python.framework import kernels

from benchmarks.compiled_step import finetuning, gaps, observed, pretraining

# Every precision, loss and optimizer once, with all augmentations on; every task with a frozen encoder and with one that learns.
# AdamW in float32: its first steps are the gradient's sign, which in half precision is noise for weights of a tiny gradient.
STEPS = {
    "nt_xent": partial(pretraining, precision="float16", loss="nt_xent", optimizer="sgd", augmentation="all"),
    "dcl": partial(pretraining, precision="bfloat16", loss="dcl", optimizer="lars", augmentation="all"),
    "vicreg": partial(pretraining, precision="float32", loss="vicreg", optimizer="adamw", augmentation="all"),
    "classification": partial(finetuning, task="classification", frozen=False, precision="bfloat16"),
    "classification_frozen": partial(finetuning, task="classification", frozen=True, precision="float32"),
    "regression": partial(finetuning, task="regression", frozen=False, precision="float16"),
    "regression_frozen": partial(finetuning, task="regression", frozen=True, precision="float32"),
    "segmentation": partial(finetuning, task="segmentation", frozen=False, precision="float32"),
    "segmentation_frozen": partial(finetuning, task="segmentation", frozen=True, precision="bfloat16"),
}
ON_FEATURES = ("classification_frozen", "regression_frozen")  # encoded beforehand: no image enters the step
NOISE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.01}  # of the weights' update; other views make it 1
CALLS = ("PartitionedCall", "StatefulPartitionedCall")  # of other functions, whose operations are looked at
HOST = ("Host", "PyFunc", "Infeed", "Outfeed", "Iterator", "_Send", "_Recv")  # in names of operations that wait for the host


@cache
def compiled(name):
    return observed(STEPS[name])


@pytest.fixture(params=STEPS)
def name(request):
    return request.param


def the_compiled_call(graph):
    """Returns the one node of a training step's graph that XLA compiles, and the function that it calls."""
    functions = {function.signature.name: function for function in graph.library.function}
    calls = [(node, functions.get(node.attr["f"].func.name)) for node in graph.node]
    [call] = [(node, function) for node, function in calls if function is not None and function.attr["_XlaMustCompile"].b]
    return call


def operations(graph, function):
    """Returns the names of all operations of a function and of those it calls."""
    functions, found, seen, ahead = {one.signature.name: one for one in graph.library.function}, set(), set(), [function.signature.name]
    while ahead:
        current = ahead.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in functions[current].node_def:
            found.add(node.op)
            values = node.attr.values()
            ahead += [called.name for value in values for called in (value.func, *value.list.func) if called.name in functions]
    return found


def test_the_compiled_step_is_the_uncompiled_one_within_the_noise_of_its_precision(name):
    gap = gaps(compiled(name), observed(STEPS[name], compiles=False))
    noise = NOISE[STEPS[name].keywords["precision"]]
    assert gap["loss_gap"] < noise and gap["update_gap"] < noise


def test_xla_has_every_operation_of_the_compiled_step_on_a_gpu(name):
    graph = compiled(name).graph
    kernels_of = lambda operation: {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel}  # noqa: E731
    used = operations(graph, the_compiled_call(graph)[1]) - set(CALLS)
    assert len(used) > 20 and {operation for operation in used if "XLA_GPU_JIT" not in kernels_of(operation)} == set()


def test_the_compiled_step_never_calls_the_host(name):
    graph = compiled(name).graph
    used = operations(graph, the_compiled_call(graph)[1])
    assert {operation for operation in used if any(word in operation for word in HOST)} == set()


def test_one_batch_of_uint8_images_is_all_that_pretraining_copies_to_the_device():
    call, function = the_compiled_call(compiled("nt_xent").graph)
    assert copied(compiled("nt_xent").graph, call, function) == ["uint8"]


@pytest.mark.parametrize(("name", "targets"), [("classification", "int64"), ("regression", "float32"), ("segmentation", "uint8")])
def test_uint8_images_and_their_targets_are_all_that_finetuning_copies_to_the_device(name, targets):
    call, function = the_compiled_call(compiled(name).graph)
    assert copied(compiled(name).graph, call, function) == ["uint8", targets]


def copied(graph, call, function):
    """Returns the dtypes of what enters the compiled call besides variables, each one being a part of the batch."""
    import tensorflow as tf

    producers = {node.name: node.op for node in graph.node}
    dtypes = [tf.dtypes.as_dtype(argument.type) for argument in function.signature.input_arg]
    inputs = [one for one in call.input if not one.startswith("^")]
    entering = [(dtype.name, producers[one.split(":")[0]]) for dtype, one in zip(dtypes, inputs, strict=True) if dtype != tf.resource]
    assert {operation for _, operation in entering} == {"IteratorGetNext"}
    return [dtype for dtype, _ in entering]
