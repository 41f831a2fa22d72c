"""Examine a weights file: what it holds, whether it loads, and its conversion to safetensors.

``python -m models.weights.doctor FILE`` reports on any file.
"""

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

from models.errors import CheckpointError
from models.store.files import replacing, sha256
from models.weights import architecture
from models.weights.architecture import Arguments, StateDict

# Old PyTorch stored running statistics for InstanceNorm, which these networks never use.
LEGACY_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
# StarGAN v2's files hold one state dict per network.
STARGAN_NETWORKS = ("generator", "mapping_network", "style_encoder")
UNUSED_NETWORKS = ("fan",)  # also in those files, but the landmark network is read from a file of its own
UNUSED_FILTER = "generator.hpf.filter"  # a constant that some files contain
# The landmark network's file also holds the other modules of the stack that it was taken from.
_OTHER_MODULES = re.compile(r"(?:m|top_m_|conv_last|bn_end|l)[1-9]\d*\.|(?:al|bl)\d+\.")
_FIRST_LAYERS = re.compile(r"\bmodel\.\d|\bconv1\.conv\.weight$")
SHOWN_KEYS = 3


@dataclass(frozen=True)
class Checkpoint:
    """A state dict that fits its network exactly."""

    kind: str  # as models.weights.architecture names it
    arguments: Arguments  # the network's constructor arguments, read off the shapes
    state: StateDict
    notes: list[str] = field(default_factory=list)  # what was renamed or left out while reading


def load(path: Path) -> Checkpoint:
    """Read a weights file of any known format and check it strictly. Never runs code from the file.

    Raises:
        CheckpointError: it is missing, truncated, hostile, not weights, or of an unknown network.
    """
    notes: list[str] = []
    state = _state_dict(_read(path), path, notes)
    state = _without_prefix(state, notes)
    state = _without_unused(state, notes)
    try:
        found = architecture.identify(state)
    except (ValueError, IndexError, RuntimeError):  # familiar keys with impossible shapes
        found = None
    if found is None:
        raise CheckpointError(
            f"{path.name} holds {len(state)} tensors ({_some(list(state))}) of an unknown network; expected "
            f"{architecture.KNOWN}"
        )
    _check_strictly(state, found.network, f"{path.name} looks like a {found.kind} with {_shown(found.arguments)}, but")
    return Checkpoint(found.kind, found.arguments, state, notes)


def load_exactly(path: Path, kind: str, arguments: Arguments) -> Checkpoint:
    """:func:`load`, for weights of a network of this kind with exactly these constructor arguments."""
    checkpoint = load(path)
    wanted = architecture.expected(kind, arguments)
    if checkpoint.kind != kind or checkpoint.arguments != wanted:
        raise CheckpointError(
            f"{path.name} is a {checkpoint.kind} with {_shown(checkpoint.arguments)}; expected a {kind} with "
            f"{_shown(wanted)}"
        )
    return checkpoint


def save(state: StateDict, path: Path) -> None:
    """Write a safetensors file that appears whole."""
    with replacing(path) as part:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, part)
        part.chmod(0o644)  # safetensors creates files for the owner alone; other roles read them too


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
    except Exception as error:  # torch.load passes on all errors of its zip and pickle readers
        raise CheckpointError(_not_weights(path, size)) from error


def _not_weights(path: Path, size: int) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" and not zipfile.is_zipfile(path):
        return f"{path.name} ({size} bytes) is a truncated PyTorch file"
    return f"{path.name} ({size} bytes) is not a PyTorch weights file, or it is truncated; expected a state dict"


def _state_dict(content: Any, path: Path, notes: list[str]) -> StateDict:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        notes.append("the state dict was found under the key 'state_dict'")
        content = content["state_dict"]
    if isinstance(content, dict) and all(isinstance(content.get(name), dict) for name in STARGAN_NETWORKS):
        content = _flattened(content, path, notes)
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items())
    ):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not a state dict of named tensors")
    return dict(content)


def _flattened(networks: dict[str, Any], path: Path, notes: list[str]) -> dict[str, Any]:
    """Join several state dicts into one, with the network's name before each key."""
    unknown = [name for name in networks if name not in (*STARGAN_NETWORKS, *UNUSED_NETWORKS)]
    if unknown:
        raise CheckpointError(
            f"{path.name} holds {_some(list(map(str, unknown)))} beside {', '.join(STARGAN_NETWORKS)}; expected these "
            f"three, and at most {', '.join(UNUSED_NETWORKS)} beside them"
        )
    if unused := [name for name in networks if name in UNUSED_NETWORKS]:
        notes.append(f"the network {', '.join(unused)} was left out")
    flat = {}
    for name in STARGAN_NETWORKS:
        for key, tensor in networks[name].items():
            flat[f"{name}.{str(key).removeprefix('module.')}"] = tensor
    if any(str(key).startswith("module.") for key in networks["generator"]):
        notes.append("the prefix 'module.' was removed from every key")
    return flat


def _without_unused(state: StateDict, notes: list[str]) -> StateDict:
    """Drop the tensors that are known by name and not needed."""
    if "m0.coordconv.conv.weight" in state:
        kept = {key: tensor for key, tensor in state.items() if not _OTHER_MODULES.match(key)}
        if len(kept) < len(state):
            notes.append(f"{len(state) - len(kept)} tensors of other modules were left out")
        return kept
    if "generator.from_rgb.weight" in state:
        return {key: tensor for key, tensor in state.items() if key != UNUSED_FILTER}
    kept = {key: tensor for key, tensor in state.items() if not key.endswith(LEGACY_STATISTICS)}
    if len(kept) < len(state):
        notes.append(f"{len(state) - len(kept)} unused InstanceNorm statistics of old PyTorch were dropped")
    return kept


def _without_prefix(state: StateDict, notes: list[str]) -> StateDict:
    """Strip the prefix that a wrapper put before every key (``module.``, ``netG.`` ...)."""
    if any(key.startswith("generator.") for key in state):
        return state
    prefixes = {key[: match.start()] for key in state if (match := _FIRST_LAYERS.search(key))}
    if len(prefixes) == 1 and (prefix := prefixes.pop()) and all(key.startswith(prefix) for key in state):
        notes.append(f"the prefix {prefix!r} was removed from every key")
        return {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _check_strictly(state: StateDict, network: nn.Module, subject: str) -> None:
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    problems = []
    if missing := [key for key in expected if key not in state]:
        problems.append(f"lacks {len(missing)} tensors ({_some(missing)})")
    if unexpected := [key for key in state if key not in expected]:
        problems.append(f"has {len(unexpected)} unexpected tensors ({_some(unexpected)})")
    for key, shape in expected.items():
        if key in state and state[key].shape != shape:
            problems.append(f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(shape)}")
            break
    if problems:
        raise CheckpointError(f"{subject} it {' and '.join(problems)}")


def _shown(arguments: Arguments) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items())


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m models.weights.doctor FILE", file=sys.stderr)
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
