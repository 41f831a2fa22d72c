"""A run's checkpoints: written whole, read without running any code that a file brings."""

import errno
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from models.errors import RunFolderError
from models.store.run_folder import RunFolder
from models.weights import doctor
from models.weights.architecture import StateDict


def save_checkpoint(run: RunFolder, state: dict[str, Any], exports: dict[str, StateDict]) -> Path:
    """Write ``state`` (with its ``step``), and ``exports``, weights by name, in the precision they have.

    The checkpoint's file comes last: where it is, its exports are whole too. What a failure leaves is removed.

    Raises:
        OSError: there is no room for it, or the folder cannot be written.
    """
    target = run.checkpoint_path(state["step"])
    target.parent.mkdir(parents=True, exist_ok=True)
    exported = run.export_path(state["step"])
    part = target.with_suffix(".part")
    try:
        exported.mkdir(parents=True, exist_ok=True)
        for name, weights in exports.items():
            doctor.save(weights, exported / f"{name}.safetensors")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        if not target.exists():
            shutil.rmtree(exported, ignore_errors=True)
        # torch and safetensors have errors of their own for a write that failed
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        if isinstance(error, SafetensorError):
            raise OSError(errno.ENOSPC, f"a checkpoint could not be written: {error}") from error
        raise
    return target


def load_checkpoint(run: RunFolder) -> dict[str, Any] | None:
    """The newest checkpoint's state on the CPU, or None before the first."""
    files = run.checkpoints()
    return load_state(files[-1]) if files else None


def load_state(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU; tensors and plain values only, no code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise RunFolderError(f"{path} is not a checkpoint that can be read: {error}") from error
    return state
