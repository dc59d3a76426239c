"""The step that a GPU compiles with XLA computes what the uncompiled one does, from images alone.

TensorFlow is told of a GPU that is not there (benchmarks/compiled_step.py), so `build_learner` and
`finetune` make what they make on one. Which step is made of what is listed there, too.
"""

import os
from functools import cache

import pytest

pytest.importorskip("tensorflow", reason="compiles the step of TensorFlow")

from benchmarks.compiled_step import FINETUNINGS, PRETRAININGS, gaps, step

HALVES = {"nt_xent_bfloat16": 2**-8, "nt_xent_float16": 2**-11}  # and half a last digit
ALL = PRETRAININGS | FINETUNINGS
WHOLES = [name for name in ALL if name not in HALVES]
FETCHING = ("Placeholder", "IteratorGetNext", "OptionalFromValue", "Identity", "NoOp")
HOST = ("Host", "PyFunc", "Infeed", "Outfeed", "Iterator", "_Send", "_Recv")  # in operations' names
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.fixture(autouse=True, scope="module")
def _quick_to_compile():
    # XLA reads the flags once in a process, when it first compiles; where that was before, the
    # tests are slower and claim the same.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip())
        yield


@cache
def compiled(name):
    return step(ALL[name])


@cache
def uncompiled(name):
    return step(ALL[name], compiles=False)


def the_compiled_call(graph):
    """Returns the one node of a step's graph that XLA compiles, and the function it calls."""
    functions = {function.signature.name: function for function in graph.library.function}
    calls = [(node, functions.get(node.attr["f"].func.name)) for node in graph.node]
    [call] = [one for one in calls if one[1] is not None and one[1].attr["_XlaMustCompile"].b]
    return call


def operations(graph):
    """Returns the names of all operations that are compiled, those of called functions included."""
    functions = {function.signature.name: function for function in graph.library.function}
    found, seen, ahead = set(), set(), [the_compiled_call(graph)[1].signature.name]
    while ahead:
        current = ahead.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in functions[current].node_def:
            found.add(node.op)
            called = [one for value in node.attr.values() for one in (value.func, *value.list.func)]
            ahead += [one.name for one in called if one.name in functions]
    return found


def copied(graph):
    """Returns the dtypes of what enters the compiled call besides variables, parts of the batch."""
    import tensorflow as tf

    call, function = the_compiled_call(graph)
    producers = {node.name: node.op for node in graph.node}
    inputs = [one.split(":")[0] for one in call.input if not one.startswith("^")]
    dtypes = [tf.dtypes.as_dtype(argument.type) for argument in function.signature.input_arg]
    pairs = zip(dtypes, inputs, strict=True)
    entering = [(dtype.name, producers[one]) for dtype, one in pairs if dtype != tf.resource]
    assert {operation for _, operation in entering} == {"IteratorGetNext"}
    return [dtype for dtype, _ in entering]


@pytest.mark.parametrize("name", WHOLES)
def test_the_compiled_step_has_loss_and_update_of_the_uncompiled_one(name):
    gap = gaps(compiled(name), uncompiled(name))
    # AdamW's first step is the gradient's sign, which rounding changes where that is almost zero.
    assert gap["loss_gap"] < 1e-5 and gap["update_gap"] < (1e-2 if name == "vicreg" else 1e-3)


@pytest.mark.parametrize(("name", "rounding"), HALVES.items())
def test_in_half_precision_compiling_moves_a_step_by_the_noise_of_the_precision(name, rounding):
    gap = gaps(compiled(name), uncompiled(name))
    noise = gaps(uncompiled(name), uncompiled("nt_xent"))["update_gap"]
    assert gap["loss_gap"] < rounding and gap["update_gap"] < 2 * noise < 0.5


@pytest.mark.parametrize("name", ALL)
def test_nothing_but_fetching_the_batch_happens_outside_the_compiled_call(name):
    assert {node.op for node in compiled(name).graph.node} <= {*FETCHING, "StatefulPartitionedCall"}


@pytest.mark.parametrize("name", ALL)
def test_the_compiled_step_never_calls_the_host(name):
    used = operations(compiled(name).graph)
    assert [operation for operation in used if any(word in operation for word in HOST)] == []


@pytest.mark.parametrize("name", PRETRAININGS)
def test_one_batch_of_uint8_images_is_all_that_pretraining_copies_to_the_device(name):
    assert copied(compiled(name).graph) == ["uint8"]


@pytest.mark.parametrize(
    ("name", "targets"),
    [("classification", "int64"), ("regression", "float32"), ("segmentation", "uint8")],
)
def test_uint8_images_and_targets_are_all_that_finetuning_copies_to_the_device(name, targets):
    assert copied(compiled(name).graph) == ["uint8", targets]
