"""Reading tensors out of weight files, without running what a file may hold.

A file is what its bytes say. Safetensors are read by the library of that name. PyTorch's own files
are pickles, which can run any code: they are read by PyTorch alone, where it is installed, and only
as far as they hold tensors and plain values (`weights_only`).
"""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from trainer_module.errors import InputError
from trainer_module.findings import counted

# what a weight may be, as safetensors and as PyTorch say it
TAKEN = {"F16", "BF16", "F32", "F64", "float16", "bfloat16", "float32", "float64"}
ZIP, PICKLE = b"PK", b"\x80"
# Safetensors begin with the length of a header, whose first byte may be any, and the header with {.
HEADER = 8
FIX = "Fix: a whole file of a ResNet as torchvision, timm or lightly has it (docs/weights.md)"


class WeightsFile:
    """The tensors of a file, by name.

    Attributes:
        shapes: name -> shape of every tensor.
        metadata: what a safetensors file says besides, text by name.
    """

    def __init__(self, path: str):
        """Reads names and shapes.

        Args:
            path: the file.

        Raises:
            InputError: if it is no file of tensors, is damaged, or would run code.
        """
        self._path, self._tensors = path, None
        self.metadata: dict[str, str] = {}
        start = _start(path)
        if start.startswith((ZIP, PICKLE)) and start[HEADER:] != b"{":
            self._tensors = _of_pytorch(path, start)
            self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
            return
        with _safetensors(path) as opened:
            self.metadata = dict(opened.metadata() or {})
            names = opened.keys()
            self.shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in names}

    def read(self, names: Iterable[str]) -> dict:
        """Returns name -> float32 array of some tensors.

        Raises:
            InputError: naming the first that holds no floating-point numbers, those of 8 bits
                included, or that is sparse or without values.
        """
        names = list(names)
        if self._tensors is not None:
            chosen = {name: self._tensors[name] for name in names}
            self._refuse_other_kinds({name: _kind(tensor) for name, tensor in chosen.items()})
            return {name: tensor.detach().float().numpy() for name, tensor in chosen.items()}
        import ml_dtypes  # noqa: F401 (teaches numpy bfloat16)

        with _safetensors(self._path) as opened:
            self._refuse_other_kinds({name: opened.get_slice(name).get_dtype() for name in names})
            return {name: opened.get_tensor(name).astype("float32") for name in names}

    def _refuse_other_kinds(self, kinds: dict[str, str]) -> None:
        bad = [name for name, kind in kinds.items() if kind not in TAKEN]
        if bad:
            raise InputError(
                f"`--encoder_weights` must hold weights of float16, bfloat16, float32 or float64. "
                f"Received: {self._path}, whose {bad[0]} is {kinds[bad[0]]} "
                f"({counted(len(bad), 'such tensor')}). Fix: the same weights as dense float32, "
                f"from before they were quantized or made smaller"
            )


def _kind(tensor) -> str:
    """Returns what a tensor of PyTorch holds, and how where that is not plainly."""
    kind, layout = (str(one).removeprefix("torch.") for one in (tensor.dtype, tensor.layout))
    if layout != "strided":
        return f"{layout} {kind}"
    return f"{kind} without values" if tensor.is_meta else kind


def _start(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(HEADER + 1)
    except OSError as error:
        raise InputError(
            f"`--encoder_weights` must be a file of weights. Received: {path}, "
            f"{error.strerror}. {FIX}"
        ) from error


def _safetensors(path: str):
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise InputError(
            f"`--encoder_weights` must be a whole file of safetensors or of PyTorch. Received: "
            f"{path}, which is none or was cut short ({error}). {FIX}"
        ) from error


def _of_pytorch(path: str, start: bytes) -> dict:
    """Returns name -> tensor of all in nested dictionaries, their keys joined by dots."""
    if start.startswith(ZIP):
        _refuse_other_archive(path)
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"`--encoder_weights` must be safetensors where PyTorch is not installed: its own "
            f"files are pickles, which are never unpickled otherwise. Received: {path}. Fix: make "
            f"extra NAME=torch, or turn it into safetensors where PyTorch is (docs/weights.md)"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what was cut short breaks its reader anywhere
        asked = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"asks for {asked[1]}" if asked else "cannot be read, or was cut short"
        raise InputError(
            f"`--encoder_weights` must hold tensors and plain values alone, whole. Received: "
            f"{path}, which {reason}, and of which nothing was run. Fix: its state_dict as "
            f"safetensors, made where the file is trusted (docs/weights.md)"
        ) from error
    return dict(_tensors(loaded, torch.Tensor))


def _refuse_other_archive(path: str) -> None:
    """Refuses zip files that are not PyTorch's tensors, and those that are not whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"`--encoder_weights` must be a whole file. Received: {path}, which was cut short "
            f"({error}). Fix: copy or download it again"
        ) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"`--encoder_weights` must hold tensors alone. Received: {path}, an archive of "
            f"TorchScript, which holds code, too. Fix: `torch.jit.load({path!r}).state_dict()` as "
            f"safetensors, made where the file is trusted (docs/weights.md)"
        )
    if not any(name.endswith("data.pkl") for name in names):
        keras = "config.json" in names
        kind = "a file of Keras" if keras else "an archive of another kind"
        fix = "Fix: a model's folder as `--pretrain_save_path`" if keras else FIX
        raise InputError(
            f"`--encoder_weights` must be safetensors or a file of PyTorch. Received: {path}, "
            f"{kind}. {fix}"
        )


def _tensors(value, kind: type, name: str = ""):
    """Yields name and tensor of all that a value holds."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _tensors(inner, kind, f"{name}.{key}" if name else key)
