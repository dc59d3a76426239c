"""The number format follows from the hardware."""

import pytest

from trainer_module.devices import best_precision, dtype_policy


@pytest.mark.parametrize(
    ("capability", "cpu_flags", "precision"),
    [
        (None, "fma avx2", "float32"),
        (None, "fma avx2 avx512f", "float32"),
        (None, "avx512f avx512_bf16", "bfloat16"),
        (None, "amx_tile amx_bf16", "bfloat16"),
        ((7, 5), "avx2", "float16"),
        ((8, 0), "avx2", "bfloat16"),
        ((9, 0), "avx512_bf16", "bfloat16"),
    ],
)
def test_hardware_decides_the_precision(capability, cpu_flags, precision):
    assert best_precision(capability, cpu_flags) == precision


def test_a_chosen_precision_is_kept():
    assert [dtype_policy(name) for name in ("float32", "bfloat16", "float16")] == [
        "float32",
        "mixed_bfloat16",
        "mixed_float16",
    ]
