"""Recognise the network that a state dict belongs to, by its keys and shapes."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.landmarks import LandmarkNetwork
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import BOTTLENECK_BLOCKS, halvings

StateDict = dict[str, torch.Tensor]
Arguments = dict[str, int | float]  # a network's constructor arguments, by name

CYCLEGAN = "cyclegan generator"
STARGAN = "stargan_v2"
LANDMARKS = "landmark network"
KNOWN = "a CycleGAN generator (model.1.weight ...) or discriminator, StarGAN v2's networks, or a landmark network"


@dataclass(frozen=True)
class Architecture:
    """A recognised network."""

    kind: str
    arguments: Arguments
    network: nn.Module  # on the meta device: keys and shapes without numbers


def identify(state: StateDict) -> Architecture | None:
    """The network that ``state`` appears to belong to, or None if it is not a known one."""
    with torch.device("meta"):
        for recognise in (_cyclegan_generator, _cyclegan_discriminator, _stargan, _landmarks):
            found = recognise(state)
            if found is not None:
                return found
    return None


def expected(kind: str, arguments: Arguments) -> Arguments:
    """Constructor arguments as :func:`identify` returns them, where several spellings mean one network."""
    if kind != STARGAN:
        return arguments
    complete: Arguments = {"style_dim": 64, "latent_dim": 16, "num_domains": 2, "max_conv_dim": 512}
    complete |= {"normalize_rgb": 1, "landmarks": 0} | arguments
    size = int(complete["img_size"])
    base_dim = int(complete.get("base_dim") or 2**14 // size)
    widest = base_dim * 2 ** (int(math.log2(size)) - 2)
    return complete | {
        "base_dim": base_dim,
        "max_conv_dim": min(complete["max_conv_dim"], widest),
        "w_hpf": int(complete["w_hpf"] > 0),
        "normalize_rgb": int(complete["normalize_rgb"]),
        "landmarks": int(complete["landmarks"]),
    }


def _cyclegan_generator(state: StateDict) -> Architecture | None:
    first = state.get("model.1.weight")
    blocks = {key.split(".")[1] for key in state if ".conv_block." in key}
    if first is None or first.dim() != 4 or not blocks:
        return None
    ngf, n_blocks = first.shape[0], len(blocks)
    return Architecture(CYCLEGAN, {"ngf": ngf, "n_blocks": n_blocks}, ResnetGenerator(ngf, n_blocks))


def _cyclegan_discriminator(state: StateDict) -> Architecture | None:
    first = state.get("model.0.weight")
    if first is None or first.shape[1:] != (3, 4, 4):
        return None
    ndf, n_layers = first.shape[0], sum(key.endswith(".weight") for key in state) - 2
    return Architecture("cyclegan discriminator", {"ndf": ndf, "n_layers": n_layers}, PatchDiscriminator(ndf, n_layers))


def _stargan(state: StateDict) -> Architecture | None:
    from_rgb = state.get("generator.from_rgb.weight")
    latent = state.get("mapping_network.shared.0.weight")
    style = state.get("generator.decode.0.norm1.fc.weight")
    deepest = [state[key] for key in state if key.startswith("style_encoder.shared.") and key.endswith("conv2.weight")]
    if from_rgb is None or latent is None or style is None or not deepest:
        return None
    img_size = 2 ** (len(deepest) + 2)  # the style encoder halves a picture down to 4 px
    depth = _count(state, "generator.encode.") - BOTTLENECK_BLOCKS
    arguments = {
        "img_size": img_size,
        "style_dim": style.shape[1],
        "latent_dim": latent.shape[1],
        "num_domains": _count(state, "mapping_network.unshared."),
        "max_conv_dim": deepest[-1].shape[0],
        # The high-pass path adds one block. Its strength is not in the weights; only a card has it.
        "w_hpf": int(depth == halvings(img_size, 1)),
        "base_dim": from_rgb.shape[0],
        "normalize_rgb": int(any(key.startswith("generator.to_rgb.0.") for key in state)),
        "landmarks": int(any(key.startswith("landmarks.") for key in state)),
    }
    return Architecture(STARGAN, dict(arguments), Ensemble(**arguments))


def _landmarks(state: StateDict) -> Architecture | None:
    last = state.get("l0.weight")
    if last is None or "m0.coordconv.conv.weight" not in state:
        return None
    points = last.shape[0] - 1
    return Architecture(LANDMARKS, {"num_landmarks": points}, LandmarkNetwork(points))


def _count(state: StateDict, prefix: str) -> int:
    """How many different numbers follow ``prefix`` in the keys."""
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})
