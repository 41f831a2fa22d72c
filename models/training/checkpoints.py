"""Writes and reads the checkpoints of a run. Reading never runs code from a file."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from models.errors import RunFolderError
from models.store.disk import require_free
from models.store.files import replacing
from models.store.run_folder import RunFolder
from models.weights import doctor
from models.weights.architecture import StateDict


def save_checkpoint(run: RunFolder, state: dict[str, Any], exports: dict[str, StateDict]) -> Path:
    """Write a checkpoint.

    The file with ``state`` comes last: where it is, the exports are complete too. A failure leaves nothing behind.

    Args:
        state: what resuming needs, with its ``step``.
        exports: weights by name, in the precision to save them in.

    Raises:
        OSError: the disk is full, or the folder can't be written to.
    """
    if before := run.checkpoints():  # which was as large
        require_free(run.path, before[-1].stat().st_size)
    target = run.checkpoint_path(state["step"])
    target.parent.mkdir(parents=True, exist_ok=True)
    exported = run.export_path(state["step"])
    try:
        exported.mkdir(parents=True, exist_ok=True)
        for name, weights in exports.items():
            doctor.save(weights, exported / f"{name}.safetensors")
        with replacing(target) as part, part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        if not target.exists():
            shutil.rmtree(exported, ignore_errors=True)
        # torch raises an error of its own when a write fails
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    return target


def load_checkpoint(run: RunFolder) -> dict[str, Any] | None:
    """The state in the newest checkpoint, on the CPU; None if there is no checkpoint yet."""
    files = run.checkpoints()
    return load_state(files[-1]) if files else None


def load_state(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU: tensors and plain values only.

    Raises:
        RunFolderError: the file is damaged, or it is not a checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise RunFolderError(f"The checkpoint {path} can't be read: {str(error) or 'it ends too early'}") from error
    return state
