"""Join a model's upstream files into one state dict."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.errors import CheckpointError
from models.landmarks.points import POINTS
from models.store.model_card import ModelCard
from models.weights import doctor
from models.weights.architecture import LANDMARKS, STARGAN, Arguments, StateDict
from models.weights.loading import KINDS

MEAN_FACE_KEY = "mean"  # in the .npz file of the mean face's points


@dataclass(frozen=True)
class Converted:
    """The joined state dict, and notes on what was renamed or left out."""

    state: StateDict
    notes: list[str]


def convert(card: ModelCard, files: list[Path]) -> Converted:
    """Read a model's files, check each strictly, and join them.

    A StarGAN v2 for faces has three files: its networks, the landmark network, and the points of the mean face.

    Raises:
        CheckpointError: a file is not what the card needs, or one is missing.
    """
    wants_landmarks = bool(card.network.get("landmarks"))
    network: Arguments = {name: value for name, value in card.network.items() if name != "landmarks"}
    first, *others = files
    weights = doctor.load_exactly(first, KINDS[card.family], network)
    state, notes = dict(weights.state), list(weights.notes)
    for path in others:
        if path.suffix == ".npz":
            state["landmark_mean"] = _mean_face(path)
        else:
            landmarks = doctor.load_exactly(path, LANDMARKS, {"num_landmarks": POINTS})
            state |= {f"landmarks.{key}": tensor for key, tensor in landmarks.state.items()}
            notes += [f"{path.name}: {note}" for note in landmarks.notes]
    found = {key.split(".")[0] for key in state} & {"landmarks", "landmark_mean"}
    if card.family == "stargan_v2" and len(found) != 2 * wants_landmarks:
        raise CheckpointError(
            f"{card.name} is a {STARGAN} {'with' if wants_landmarks else 'without'} landmarks, but its files hold "
            f"{' and '.join(sorted(found)) or 'neither a landmark network nor a mean face'}"
        )
    return Converted(state, notes)


def _mean_face(path: Path) -> torch.Tensor:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            points = arrays[MEAN_FACE_KEY]
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path.name} ({path.stat().st_size} bytes) is not an .npz file with an array {MEAN_FACE_KEY!r}: {error}"
        ) from error
    if points.shape != (POINTS, 2) or points.dtype.kind != "f" or not np.isfinite(points).all():
        raise CheckpointError(f"{path.name} holds points of shape {points.shape}; expected ({POINTS}, 2)")
    return torch.from_numpy(points.astype(np.float32))
