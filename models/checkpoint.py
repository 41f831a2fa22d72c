"""Weights files: what one holds, whether it can be trusted, and its conversion to safetensors.

``python -m models.checkpoint FILE`` says all of that about any file.
"""

import hashlib
import pickle
import re
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from models.cyclegan import PatchDiscriminator, ResnetGenerator

StateDict = dict[str, torch.Tensor]

# Old PyTorch kept running statistics for InstanceNorm, which has never used them in these networks.
LEGACY_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
SHOWN_KEYS = 3


class CheckpointError(Exception):
    """The file cannot be used; the message says what it is and what was expected."""


@dataclass(frozen=True)
class Checkpoint:
    """A state dict that fits its network exactly."""

    kind: str  # "cyclegan generator" or "cyclegan discriminator"
    arguments: dict[str, int]  # the network's constructor arguments, as the shapes tell them
    state: StateDict
    notes: list[str] = field(default_factory=list)  # what was understood or left out on the way


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path) -> Checkpoint:
    """Read a weights file of any known format and check it strictly. Never runs code that the file brings.

    Raises:
        CheckpointError: it is missing, truncated, hostile, not weights, or of no known network.
    """
    notes: list[str] = []
    state = _state_dict(_read(path), path, notes)
    state = _without_legacy_statistics(state, notes)
    state = _without_prefix(state, notes)
    kind, arguments, network = _identify(state, path)
    _check_strictly(state, network, f"{path.name} looks like a {kind} with {_shown(arguments)}, but")
    return Checkpoint(kind, arguments, state, notes)


def load_generator(path: Path, arguments: dict[str, int]) -> Checkpoint:
    """:func:`load`, for a CycleGAN generator with exactly these constructor arguments."""
    checkpoint = load(path)
    expected = f"a cyclegan generator with {_shown(arguments)}"
    if checkpoint.kind != "cyclegan generator" or checkpoint.arguments != arguments:
        raise CheckpointError(
            f"{path.name} is a {checkpoint.kind} with {_shown(checkpoint.arguments)}; expected {expected}"
        )
    return checkpoint


def save(state: StateDict, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write safetensors to a temporary name and rename it, so that no reader ever sees half a file."""
    part = path.with_name(path.name + ".part")
    save_file({key: tensor.to(dtype or tensor.dtype).contiguous() for key, tensor in state.items()}, part)
    part.chmod(0o644)  # safetensors creates files for the owner alone; other roles read them too
    part.replace(path)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    size = path.stat().st_size
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} ({size} bytes) is not a whole safetensors file: {error}") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        hostile = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|GLOBAL) ([\w.]+)", str(error))
        if hostile:
            raise CheckpointError(
                f"{path.name} is a pickle that would call {hostile[1]}; refused, since only tensors and plain values "
                "are read from weights files"
            ) from error
        raise CheckpointError(_not_weights(path, size)) from error
    except Exception as error:  # torch.load raises whatever its zip and pickle readers raise
        raise CheckpointError(_not_weights(path, size)) from error


def _not_weights(path: Path, size: int) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" and not zipfile.is_zipfile(path):
        return f"{path.name} ({size} bytes) is a PyTorch file that was cut short; expected a whole one"
    return f"{path.name} ({size} bytes) is no PyTorch weights file, or one that was cut short; expected a state dict"


def _state_dict(content: Any, path: Path, notes: list[str]) -> StateDict:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        notes.append("the state dict was found under the key 'state_dict'")
        content = content["state_dict"]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items())
    ):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not a state dict of named tensors")
    return dict(content)


def _without_legacy_statistics(state: StateDict, notes: list[str]) -> StateDict:
    kept = {key: tensor for key, tensor in state.items() if not key.endswith(LEGACY_STATISTICS)}
    if len(kept) < len(state):
        notes.append(f"{len(state) - len(kept)} unused InstanceNorm statistics of old PyTorch were dropped")
    return kept


def _without_prefix(state: StateDict, notes: list[str]) -> StateDict:
    """Strip what wrappers put before every key (``module.``, ``netG.`` ...)."""
    prefixes = {key[: match.start()] for key in state if (match := re.search(r"\bmodel\.\d", key))}
    if len(prefixes) == 1 and (prefix := prefixes.pop()) and all(key.startswith(prefix) for key in state):
        notes.append(f"the prefix {prefix!r} was removed from every key")
        return {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _identify(state: StateDict, path: Path) -> tuple[str, dict[str, int], nn.Module]:
    """Tell the network by its keys and shapes; returned on the meta device, for its own keys and shapes."""
    arguments: dict[str, int]
    first = state.get("model.1.weight", state.get("model.0.weight"))
    if first is None or first.dim() != 4:  # out channels, in channels, height, width
        pass
    elif "model.1.weight" in state and any(".conv_block." in key for key in state):
        blocks = {key.split(".")[1] for key in state if ".conv_block." in key}
        arguments = {"ngf": state["model.1.weight"].shape[0], "n_blocks": len(blocks)}
        with torch.device("meta"):
            return "cyclegan generator", arguments, ResnetGenerator(**arguments)
    elif "model.0.weight" in state and state["model.0.weight"].shape[1:] == (3, 4, 4):
        n_layers = sum(key.endswith(".weight") for key in state) - 2
        arguments = {"ndf": state["model.0.weight"].shape[0], "n_layers": n_layers}
        with torch.device("meta"):
            return "cyclegan discriminator", arguments, PatchDiscriminator(**arguments)
    raise CheckpointError(
        f"{path.name} holds {len(state)} tensors ({_some(list(state))}) of no network known here; expected a CycleGAN "
        "generator (model.1.weight ...) or discriminator (model.0.weight ...)"
    )


def _check_strictly(state: StateDict, network: nn.Module, subject: str) -> None:
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    problems = []
    if missing := [key for key in expected if key not in state]:
        problems.append(f"lacks {len(missing)} tensors ({_some(missing)})")
    if unexpected := [key for key in state if key not in expected]:
        problems.append(f"has {len(unexpected)} tensors too many ({_some(unexpected)})")
    for key, shape in expected.items():
        if key in state and state[key].shape != shape:
            problems.append(f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(shape)}")
            break
    if problems:
        raise CheckpointError(f"{subject} it {' and '.join(problems)}")


def _shown(arguments: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items())


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m models.checkpoint FILE", file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    try:
        checkpoint = load(path)
    except CheckpointError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    tensors = checkpoint.state.values()
    dtypes = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
    print(f"{path.name}: {checkpoint.kind}, {_shown(checkpoint.arguments)}")
    print(f"{len(tensors)} tensors, {sum(tensor.numel() for tensor in tensors):,} parameters, {dtypes}")
    print(f"sha256 {sha256(path)}")
    for note in checkpoint.notes:
        print(f"note: {note}")
    print("loads: yes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
