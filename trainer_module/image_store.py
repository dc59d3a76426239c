"""Room for many images: in memory where they fit, in a file that the system pages in and out where
they do not.

Either way it is one array, so batches are drawn from it in the same order, and a run on more images
than memory holds is shuffled as thoroughly, and resumes as exactly, as any other.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from trainer_module.errors import InputError

MOST_OF_MEMORY = 0.5  # of what is available; the rest is for the step and for what else runs


def room_for(shape: tuple[int, ...], dtype, folder: str, memory: int, disk: int) -> np.ndarray:
    """Returns an array to write images or label maps into: in memory if it takes at most half of
    what is available, else in a file.

    Args:
        shape: of the array, as in (N, H, W, 3).
        dtype: of its values.
        folder: where the file goes, made where it is missing. It has no name there and its space is
          free again when the process ends.
        memory: bytes available, see trainer_module/memory.py.
        disk: bytes available in `folder`, see `available_disk`.

    Returns:
        An array of that shape, a `numpy.memmap` if it is a file.

    Raises:
        InputError: if there is no room in either.
    """
    needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if needed <= MOST_OF_MEMORY * memory:
        return np.empty(shape, dtype)
    if needed > disk:
        raise InputError(
            f"The images must fit into half of the available memory, or onto the disk. Received: "
            f"an array of {shape}, {needed:,} bytes; "
            f"available: {memory:,} bytes of memory, {disk:,} bytes in {folder}. Fix: fewer or "
            f"smaller images, or TMPDIR on a larger disk"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)  # keeps the file alive without its name


def available_disk(folder: str) -> int:
    """Returns the bytes free where a folder is, or will be made."""
    path = Path(folder).resolve()
    return shutil.disk_usage(
        next(parent for parent in (path, *path.parents) if parent.exists())
    ).free
