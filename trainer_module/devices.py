"""What this machine computes with: the number format and the compiler that suit it."""

from pathlib import Path

import keras

AMPERE = (8, 0)  # compute capability from which NVIDIA GPUs multiply bfloat16 matrices
BFLOAT16_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def dtype_policy(precision: str) -> str:
    """Returns the Keras dtype policy for a precision of the settings.

    Args:
        precision: 'float32', 'bfloat16', 'float16' (loss scaled by Keras) or 'auto': bfloat16 where
          the hardware multiplies it fast, float16 on older GPUs, float32 else.

    Returns:
        'float32', 'mixed_bfloat16' or 'mixed_float16'; weights are float32 in all of them.
    """
    return POLICIES[precision_here(precision)]


def precision_here(precision: str) -> str:
    """Returns the precision that 'auto' means on this machine, and any other as it is."""
    return best_precision(gpu_capability(), _cpu_flags()) if precision == "auto" else precision


def best_precision(capability: tuple[int, int] | None, cpu_flags: str) -> str:
    """Returns the precision that suits a GPU of this compute capability, or where it is None a CPU
    with these flags.
    """
    if capability is not None:
        return "bfloat16" if capability >= AMPERE else "float16"
    flags = cpu_flags.split()
    return "bfloat16" if any(flag in flags for flag in BFLOAT16_CPU_FLAGS) else "float32"


def compiles_with_xla() -> bool:
    """Tells whether to compile the step with XLA: always on JAX, on TensorFlow with a GPU only (on
    CPU it is slower, measured).
    """
    return keras.backend.backend() == "jax" or gpu_capability() is not None


def gpu_capability() -> tuple[int, int] | None:
    """Returns the compute capability of the first GPU the backend sees, or None where there is
    none.
    """
    if keras.backend.backend() == "jax":
        return _jax_capability()
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_capability()
    return None


def _jax_capability():
    import jax

    device = jax.devices()[0]
    if device.platform not in ("gpu", "cuda"):
        return None
    major, minor = str(device.compute_capability).split(".")
    return int(major), int(minor)


def _tensorflow_capability():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", AMPERE)


def _cpu_flags() -> str:
    """Returns the flags of the first CPU as Linux names them, '' elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "")
