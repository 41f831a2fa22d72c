"""Examine a weights file: which networks it holds, whether they load, and their conversion to safetensors."""

import errno
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from models.errors import CheckpointError
from models.store.files import replacing
from models.store.model_card import PLAIN_GENERATOR
from models.weights import architecture, strangers
from models.weights.architecture import CYCLEGAN, STARGAN, STYLE, Arguments, StateDict
from models.weights.inventory import FoundNetwork, Inventory, take_inventory
from models.weights.reading import read

# Old PyTorch stored running statistics for InstanceNorm, which these networks never use.
LEGACY_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
UNUSED_FILTER = "generator.hpf.filter"  # a constant that some files contain
SHOWN_KEYS = 3
SERVABLE = (CYCLEGAN, STARGAN, STYLE)

# The landmark network's file also holds the other modules of the stack that it was taken from.
_OTHER_MODULES = re.compile(r"(?:m|top_m_|conv_last|bn_end|l)[1-9]\d*\.|(?:al|bl)\d+\.")
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Checkpoint:
    """A state dict that fits its network exactly, of finite numbers."""

    kind: str  # as models.weights.architecture names it
    arguments: Arguments  # the network's constructor arguments, read off the keys and shapes
    state: StateDict
    notes: list[str] = field(default_factory=list)  # what was renamed or left out while reading


@dataclass(frozen=True)
class Examined:
    """A weights file and what became of each network in it."""

    inventory: Inventory
    checkpoints: dict[str, Checkpoint]  # by name, those that load
    refusals: dict[str, str]  # by name, why the others don't
    notes: list[str]  # on the file

    @property
    def servable(self) -> list[str]:
        """The names of the networks that can be put into service."""
        return [name for name, checkpoint in self.checkpoints.items() if checkpoint.kind in SERVABLE]


def load(path: Path, *, network: str | None = None, label: str | None = None) -> Checkpoint:
    """Read a weights file of any known format and check it strictly. Never runs code from the file.

    Args:
        network: the name of one network, for files that hold several. None takes the only one, or the only generator.
        label: the file's name for messages; default: its own.

    Raises:
        CheckpointError: it is missing, truncated, hostile or not weights, or its network is unknown or damaged.
    """
    label = label or path.name
    examined = examine(path, label=label)
    found = examined.inventory
    if network is not None:
        chosen = found.named(network)
        if chosen is None:
            raise CheckpointError(f"{label} holds no network {network!r}; it holds {listed(examined)}")
    else:
        chosen = _only(examined)
        if chosen is None:
            raise CheckpointError(f"{label} holds several networks: {listed(examined)}. Name the one to take (network)")
    if chosen.name in examined.refusals:
        raise CheckpointError(examined.refusals[chosen.name])
    checkpoint = examined.checkpoints[chosen.name]
    if others := [other.name or "(nameless)" for other in found.networks if other is not chosen]:
        checkpoint = replace(checkpoint, notes=[*checkpoint.notes, f"left out of the file: {', '.join(others)}"])
    return replace(checkpoint, notes=[*examined.notes, *checkpoint.notes])


def load_exactly(path: Path, kind: str, arguments: Arguments, *, label: str | None = None) -> Checkpoint:
    """:func:`load`, for weights of a network of this kind with exactly these constructor arguments.

    Returns:
        The checkpoint with the arguments in full, also those that can't be read off the weights.
    """
    checkpoint = load(path, label=label)
    wanted = architecture.expected(kind, arguments)
    if checkpoint.kind != kind or checkpoint.arguments != architecture.visible(kind, wanted):
        raise CheckpointError(
            f"{label or path.name} is a {checkpoint.kind} with {shown(checkpoint.arguments)}; expected a {kind} with "
            f"{shown(wanted)}"
        )
    return replace(checkpoint, arguments=wanted)


def examine(path: Path, *, label: str | None = None) -> Examined:
    """Read a weights file and try each of its networks.

    Raises:
        CheckpointError: it is missing, truncated or hostile, or there is no network in it.
    """
    label = label or path.name
    notes: list[str] = []
    content = read(path, label, notes)
    inventory = take_inventory(content)
    if not inventory.networks:
        if inventory.optimizers:
            raise CheckpointError(
                f"{label} holds optimizers alone ({some(inventory.optimizers)}), as training saves them to resume; the "
                "weights are in another file"
            )
        raise CheckpointError(f"{label} holds a {type(content).__name__}, not a state dict of named tensors")
    checkpoints, refusals = {}, {}
    for network in inventory.networks:
        subject = label if len(inventory.networks) == 1 else f"{network.name} in {label}"
        try:
            checkpoints[network.name] = _checked(network, subject)
        except CheckpointError as error:
            refusals[network.name] = str(error)
    return Examined(inventory, checkpoints, refusals, notes)


def _checked(network: FoundNetwork, subject: str) -> Checkpoint:
    notes = list(network.notes)
    state = _without_unused(network.state, notes)
    if (stranger := strangers.name(state)) is not None:
        raise CheckpointError(f"{subject} is {stranger}")
    try:
        found = architecture.identify(state)
    except (ValueError, IndexError, RuntimeError):  # familiar keys with impossible shapes
        found = None
    if found is None:
        raise CheckpointError(
            f"{subject} holds {len(state)} tensors ({some(list(state))}) of an unknown network; expected "
            f"{architecture.KNOWN}"
        )
    state = _with_counters(state, found.network, notes)
    _check_keys(state, found.network, f"{subject} looks like a {found.kind} with {shown(found.arguments)}, but")
    _check_numbers(state, subject)
    return Checkpoint(found.kind, found.arguments, state, notes)


def _only(examined: Examined) -> FoundNetwork | None:
    """The only network of a file, or else the only one that can be put into service, or else the only known one."""
    networks = examined.inventory.networks
    if len(networks) == 1:
        return networks[0]
    loaded = [network for network in networks if network.name in examined.checkpoints]
    servable = [network for network in loaded if network.name in examined.servable]
    for candidates in (servable, loaded):
        if candidates:
            return candidates[0] if len(candidates) == 1 else None
    return None


def listed(examined: Examined) -> str:
    kinds = examined.checkpoints
    return "; ".join(
        f"{network.name or '(nameless)'} ({kinds[network.name].kind if network.name in kinds else 'does not load'})"
        for network in examined.inventory.networks
    )


def save(state: StateDict, path: Path) -> None:
    """Write a safetensors file that appears whole.

    Raises:
        OSError: it can't be written; the disk is full, for instance.
    """
    with replacing(path) as part:
        part.touch()  # raises the system's own error where no file can be made
        try:
            save_file({key: tensor.contiguous() for key, tensor in state.items()}, part)
        except SafetensorError as error:  # its message alone says which of the system's errors it was
            raise OSError(errno.ENOSPC, f"{path.name} could not be written: {error}") from error
        part.chmod(0o644)  # safetensors creates files for the owner alone; other roles read them too


def _without_unused(state: StateDict, notes: list[str]) -> StateDict:
    """Drop the tensors that are known by name and not needed."""
    if "m0.coordconv.conv.weight" in state:
        kept = {key: tensor for key, tensor in state.items() if not _OTHER_MODULES.match(key)}
        if len(kept) < len(state):
            notes.append(f"{len(state) - len(kept)} tensors of other modules were left out")
        return kept
    if "generator.from_rgb.weight" in state:
        return {key: tensor for key, tensor in state.items() if key != UNUSED_FILTER}
    kept = {key: tensor for key, tensor in state.items() if not _is_legacy(key, state)}
    if len(kept) < len(state):
        notes.append(f"{len(state) - len(kept)} unused InstanceNorm statistics of old PyTorch were dropped")
    return kept


def _is_legacy(key: str, state: StateDict) -> bool:
    """Whether it is a statistic of a layer without scales: batch normalisation, which needs its own, has them."""
    scales = state.get(f"{key.rpartition('.')[0]}.weight")
    return key.endswith(LEGACY_STATISTICS) and (scales is None or scales.dim() != 1)


def _with_counters(state: StateDict, network: nn.Module, notes: list[str]) -> StateDict:
    """Add the counters of batch normalisation, which old PyTorch did not have and nothing reads in service."""
    missing = [key for key in network.state_dict() if key.endswith(".num_batches_tracked") and key not in state]
    if missing:
        notes.append(f"{len(missing)} counters of batch normalisation, which old PyTorch did not save, were set to 0")
    return state | {key: torch.zeros((), dtype=torch.int64) for key in missing}


def _check_keys(state: StateDict, network: nn.Module, subject: str) -> None:
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    problems = []
    if missing := [key for key in expected if key not in state]:
        problems.append(f"lacks {len(missing)} tensors ({some(missing)})")
    if unexpected := [key for key in state if key not in expected]:
        problems.append(f"has {len(unexpected)} unexpected tensors ({some(unexpected)})")
    for key, shape in expected.items():
        if key in state and state[key].shape != shape:
            problems.append(f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(shape)}")
            break
    if problems:
        raise CheckpointError(f"{subject} it {' and '.join(problems)}")


def _check_numbers(state: StateDict, subject: str) -> None:
    """Refuse tensors that hold no floats, no memory of their own, or numbers that are not finite."""
    broken = []
    for key, tensor in state.items():
        if key.endswith(".num_batches_tracked"):
            continue
        if tensor.dtype not in _DTYPES or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            what = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{subject} has {key} as {what}; expected dense tensors of floats")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise CheckpointError(f"{subject} has {key} of more numbers than the file holds")
        if not torch.isfinite(tensor).all():
            broken.append(key)
    if broken:
        raise CheckpointError(
            f"{subject} holds numbers that are not finite (NaN or infinity) in {len(broken)} of {len(state)} tensors "
            f"({some(broken)}); pictures can't be made with them. Take a checkpoint from before the training diverged"
        )


def shown(arguments: Arguments) -> str:
    """The arguments in a line, without those that say that there is nothing out of the ordinary."""
    return ", ".join(f"{name} {value}" for name, value in arguments.items() if PLAIN_GENERATOR.get(name) != value)


def some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
