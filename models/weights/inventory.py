"""Which networks a file holds: each under its name, with the state-dict keys that its class has here."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from models.weights.architecture import StateDict

# StarGAN v2's files hold one state dict per network.
STARGAN_NETWORKS = ("generator", "mapping_network", "style_encoder")
UNUSED_NETWORKS = ("discriminator", "fan")  # the landmark network is read from a file of its own
_ENSEMBLE = (*STARGAN_NETWORKS, *UNUSED_NETWORKS, "landmarks", "landmark_mean")
MAX_DEPTH = 10
MAX_CONTAINERS = 100_000
# Names that wrappers put before a network's own keys.
WRAPPERS = ("state_dict", "model_state_dict", "module", "_orig_mod", "model")

_BLOCK = re.compile(r"(.*?)\d+\.conv_block\.\d+\.weight")
_U_NET = re.compile(r"(.*?)model\.model\.\d+\.model\.\d+\.")
_STARGAN = re.compile(r"(.*?)generator\.(?:module\.)?from_rgb\.weight")
_LANDMARKS = re.compile(r"(.*?)m0\.coordconv\.conv\.weight")
_PATCHES = re.compile(r"(.*?)model\.0\.weight$")


@dataclass(frozen=True)
class FoundNetwork:
    """A network of a file."""

    name: str  # by which it can be asked for; empty if it is nameless
    path: str  # before its keys in the file
    state: StateDict
    notes: list[str] = field(default_factory=list)  # what was renamed or left out

    def is_called(self, name: str) -> bool:
        return name in (self.name, self.path, self.path.removesuffix("."))


@dataclass(frozen=True)
class Inventory:
    """All that a file holds."""

    networks: list[FoundNetwork]
    optimizers: list[str]  # their paths

    def named(self, name: str) -> FoundNetwork | None:
        return next((network for network in self.networks if network.is_called(name)), None)


def take_inventory(content: object) -> Inventory:
    """Find the networks in what :func:`models.weights.reading.read` returns."""
    tensors: StateDict = {}
    owners: dict[str, str] = {}  # key → path of the dict that holds the tensor
    optimizers: list[str] = []
    for path, key, value in _walk(content, optimizers):
        tensors[path + key] = value
        owners[path + key] = path
    networks = list(_claimed(tensors))
    shared = {owner for key, owner in owners.items() if key not in tensors}  # with networks that were recognised
    groups: dict[str, StateDict] = {}
    for key, tensor in tensors.items():
        path = owners[key]
        if path in shared and "." in key.removeprefix(path):  # a flat dict of networks, each under a prefix
            path += key.removeprefix(path).partition(".")[0] + "."
        groups.setdefault(path, {})[key.removeprefix(path)] = tensor
    for path, state in groups.items():
        if not networks or any(key.endswith("weight") for key in state):  # else a step count or the like
            networks.append(_found(path, state, []))
    return Inventory(_distinct(networks), optimizers)


def _walk(content: object, optimizers: list[str]) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Every named tensor with the path of the dict that holds it; optimizers are listed and passed over."""
    visited = 0
    pending: deque[tuple[str, int, Any]] = deque([("", 0, content)])
    while pending:
        path, depth, container = pending.popleft()
        visited += 1
        if visited > MAX_CONTAINERS:  # it may contain itself
            return
        if depth > MAX_DEPTH or not isinstance(container, dict | list | tuple):
            continue
        if isinstance(container, dict) and "param_groups" in container:
            optimizers.append(path.removesuffix(".") or "an optimizer")
            continue
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in items:
            if isinstance(value, torch.Tensor) and isinstance(key, str):
                yield path, key, value
            elif isinstance(value, dict | list | tuple):
                pending.append((f"{path}{key}.", depth + 1, value))


def _claimed(tensors: StateDict) -> Iterator[FoundNetwork]:
    """Take the networks that are told by the names of their layers out of ``tensors``."""
    for path in _paths(_STARGAN, tensors):
        yield _stargan(path, tensors)
    for path in _paths(_LANDMARKS, tensors):
        yield _found(path, _taken(path, tensors), [])
    for path in _paths(_U_NET, tensors):
        yield _found(path, {f"model.{key}": value for key, value in _taken(f"{path}model.", tensors).items()}, [])
    for path in _paths(_BLOCK, tensors):
        yield _found(
            path, {f"model.{key}": value for key, value in _taken(path, tensors).items()}, [], implied="model."
        )
    for path in _paths(_PATCHES, tensors):
        yield _found(path, {f"model.{key}": value for key, value in _taken(f"{path}model.", tensors).items()}, [])


def _paths(pattern: re.Pattern[str], tensors: StateDict) -> list[str]:
    """The beginnings of the keys that match, each once, in the order of the file."""
    return list(dict.fromkeys(match[1] for key in tensors if (match := pattern.match(key))))


def _taken(path: str, tensors: StateDict) -> StateDict:
    keys = [key for key in tensors if key.startswith(path)]
    return {key.removeprefix(path): tensors.pop(key) for key in keys}


def _stargan(path: str, tensors: StateDict) -> FoundNetwork:
    """Join the networks of a StarGAN v2 into one state dict, with the network's name before each key."""
    state: StateDict = {}
    notes: list[str] = []
    wrapped = False
    for name in _ENSEMBLE:
        whole = tensors.pop(path + name, None)  # a tensor and not a network
        taken = _taken(f"{path}{name}.", tensors)
        wrapped |= any(key.startswith("module.") for key in taken)
        if whole is not None:
            state[name] = whole
        if taken and name in UNUSED_NETWORKS:
            notes.append(f"the network {name} was left out")
            if name == "discriminator":
                notes.append(
                    "such a file holds the weights as they were trained; the moving averages, which StarGAN v2 "
                    "publishes as ..._nets_ema.ckpt, make better pictures"
                )
        else:
            state |= {f"{name}.{key.removeprefix('module.')}": tensor for key, tensor in taken.items()}
    if wrapped:
        notes.append("the prefix 'module.' was removed from every key")
    return _found(path, state, notes)


def _found(path: str, state: StateDict, notes: list[str], *, implied: str = "") -> FoundNetwork:
    """A network whose keys begin with ``path`` in the file, of which ``implied`` belongs to the network itself."""
    path = path.removesuffix(implied)
    parts = [part for part in path.split(".") if part]
    if parts:
        notes = [f"it was found under {path!r}", *notes]
    return FoundNetwork(".".join(part for part in parts if part not in WRAPPERS), path, state, notes)


def _distinct(networks: list[FoundNetwork]) -> list[FoundNetwork]:
    """Name networks by their whole path where their names are not distinct."""
    names = [network.name for network in networks]
    return [
        network
        if names.count(network.name) == 1
        else FoundNetwork(network.path.removesuffix(".") or network.name, network.path, network.state, network.notes)
        for network in networks
    ]
