"""The tensors of a weights file, for graphs that are made without torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from models.errors import CheckpointError
from models.store.catalog import Model


class WeightsFile:
    """A model's weights file, for graphs that are made of it now and later. Its tensors are not kept in memory.

    Raises:
        ModelUnavailable: it is not on this machine.
        CheckpointError: it is not the file that the card names.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._verify()

    def tensors(self) -> "Tensors":
        """All of them, read anew, since a graph takes them apart. A file that has not changed is not verified again.

        Raises:
            ModelUnavailable: it is gone.
            CheckpointError: another one is in its place, or it can't be read.
        """
        if _state(self._path) != self._verified:
            self._verify()
        return Tensors(self._path, f"{self._model.name}/{self._path.name}")

    def _verify(self) -> None:
        before = self._model.weights and _state(self._model.weights)
        self._path, self._verified = self._model.verified_weights(), before


def _state(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class Tensors:
    """Hands out each tensor of a safetensors file once, as float32.

    Args:
        label: the file's name for messages.

    Raises:
        CheckpointError: it can't be read, or a number in it is not finite.
    """

    def __init__(self, path: Path, label: str) -> None:
        self._label = label
        try:
            with safe_open(path, framework="numpy") as file:
                self._tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{label} can't be read as safetensors of floats: {error}") from error
        broken = [key for key, tensor in self._tensors.items() if not np.isfinite(tensor).all()]
        if broken:
            raise CheckpointError(
                f"{label} holds numbers that are not finite (NaN or infinity), for instance in {broken[0]}; pictures "
                "can't be made with them"
            )

    @property
    def left(self) -> int:
        """How many numbers were not taken yet."""
        return sum(tensor.size for tensor in self._tensors.values())

    def take(self, key: str, *shape: int) -> NDArray[np.float32]:
        """The tensor of this name and shape.

        Raises:
            CheckpointError: there is none.
        """
        tensor = self._tensors.pop(key, None)
        if tensor is None:
            raise CheckpointError(f"{self._label} lacks {key}, or it is needed twice")
        if tensor.shape != shape or tensor.dtype.kind != "f":
            raise CheckpointError(
                f"{self._label} has {key} of shape {tensor.shape} ({tensor.dtype}) instead of {shape} floats"
            )
        floats: NDArray[np.float32] = tensor.astype(np.float32, copy=False)
        return floats

    def drop(self, key: str) -> None:
        """Pass over a tensor that nothing reads in service."""
        self._tensors.pop(key, None)

    def require_all_taken(self) -> None:
        """Raise unless the network has used the whole file.

        Raises:
            CheckpointError: tensors are left.
        """
        if self._tensors:
            left = next(iter(self._tensors))
            raise CheckpointError(f"{self._label} has {len(self._tensors)} unexpected tensors ({left}, ...)")
