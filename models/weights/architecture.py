"""Recognise the network that a state dict belongs to, by its keys and shapes."""

import math
import re
from dataclasses import dataclass

import torch
from torch import nn

from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.cyclegan.networks import Norm
from models.landmarks.network import LandmarkNetwork
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.shape import BOTTLENECK_BLOCKS, halvings
from models.store.model_card import PLAIN_GENERATOR, StyleNetwork
from models.style.networks import StyleEnsemble

StateDict = dict[str, torch.Tensor]
Arguments = dict[str, bool | int | float | str]  # a network's constructor arguments, by name

CYCLEGAN = "cyclegan generator"
DISCRIMINATOR = "cyclegan discriminator"
STARGAN = "stargan_v2"
LANDMARKS = "landmark network"
STYLE = "style painter"
KNOWN = (
    "a CycleGAN's or CUT's generator (model.1.weight ...) or discriminator, StarGAN v2's networks, a landmark network, "
    "or a style painter"
)


_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.(\d+)\.weight$")


@dataclass(frozen=True)
class Architecture:
    """A recognised network."""

    kind: str
    arguments: Arguments
    network: nn.Module  # on the meta device: keys and shapes without numbers


def identify(state: StateDict) -> Architecture | None:
    """The network that ``state`` appears to belong to, or None if it is not a known one."""
    with torch.device("meta"):
        for recognise in (_cyclegan_generator, _cyclegan_discriminator, _stargan, _landmarks, _style):
            found = recognise(state)
            if found is not None:
                return found
    return None


def expected(kind: str, arguments: Arguments) -> Arguments:
    """Constructor arguments in full, where several spellings mean one network."""
    if kind == CYCLEGAN:
        return arguments | {name: value for name, value in PLAIN_GENERATOR.items() if name not in arguments}
    if kind == STYLE:
        return StyleNetwork.model_validate(arguments).model_dump()
    if kind != STARGAN:
        return arguments
    complete: Arguments = {"style_dim": 64, "latent_dim": 16, "num_domains": 2, "max_conv_dim": 512}
    complete |= {"normalize_rgb": 1, "landmarks": 0} | arguments
    size = int(complete["img_size"])
    base_dim = int(complete.get("base_dim") or 2**14 // size)
    widest = base_dim * 2 ** (int(math.log2(size)) - 2)
    return complete | {
        "base_dim": base_dim,
        "max_conv_dim": min(int(complete["max_conv_dim"]), widest),
        "w_hpf": int(float(complete["w_hpf"]) > 0),
        "normalize_rgb": int(complete["normalize_rgb"]),
        "landmarks": int(complete["landmarks"]),
    }


def visible(kind: str, arguments: Arguments) -> Arguments:
    """The arguments as :func:`identify` can read them off the keys: of padding only whether it is a layer."""
    if kind == CYCLEGAN and arguments["padding"] == "replicate":
        return arguments | {"padding": "reflect"}
    return arguments


def _cyclegan_generator(state: StateDict) -> Architecture | None:
    first = state.get("model.1.weight")
    blocks = {match[1] for key in state if (match := _BLOCK.match(key))}
    if first is None or first.dim() != 4 or not blocks:
        return None
    block = min(blocks, key=int)
    # The numbers of a block's two convolutions, which layers without weights shift: (1, 5), with dropout (1, 6),
    # with zero padding (0, 3), with both (0, 4).
    found = {int(match[2]) for key in state if (match := _BLOCK.match(key)) and match[1] == block}
    convolutions = sorted(n for n in found if state[f"model.{block}.conv_block.{n}.weight"].dim() == 4)
    padded = convolutions[:1] != [0]
    antialias = any(key.endswith(".filt") for key in state)
    arguments: Arguments = {
        "ngf": first.shape[0],
        "n_blocks": len(blocks),
        "norm": "batch" if "model.2.weight" in state else "instance",
        "dropout": convolutions in ([1, 6], [0, 4]),
        "padding": "reflect" if padded else "zero",
        "antialias": antialias,
    }
    return Architecture(CYCLEGAN, arguments, ResnetGenerator(**arguments))  # type: ignore[arg-type]


def _cyclegan_discriminator(state: StateDict) -> Architecture | None:
    first = state.get("model.0.weight")
    if first is None or first.shape[1:] != (3, 4, 4):
        return None
    antialias = any(key.endswith(".filt") for key in state)
    norm: Norm = "batch" if f"model.{4 if antialias else 3}.weight" in state else "instance"
    convolutions = sum(key.endswith(".weight") and tensor.dim() == 4 for key, tensor in state.items())
    ndf, n_layers = first.shape[0], convolutions - 2
    arguments: Arguments = {"ndf": ndf, "n_layers": n_layers}
    if norm == "batch":
        arguments["norm"] = norm
    if antialias:
        arguments["antialias"] = True
    return Architecture(DISCRIMINATOR, arguments, PatchDiscriminator(ndf, n_layers, norm, antialias))


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


def _style(state: StateDict) -> Architecture | None:
    layers = [state.get(f"painter.{part}.{n}.conv.weight") for part in ("contract", "expand") for n in range(3)]
    styled = state.get("painter.expand.0.norm.linear.weight")
    if styled is None or styled.dim() != 2 or any(layer is None or layer.dim() != 4 for layer in layers):
        return None
    full, half, quarter, half_out, full_out, _ = (len(layer) for layer in layers if layer is not None)
    arguments: Arguments = {
        "code_dim": styled.shape[1],
        "full": full,
        "half": half,
        "quarter": quarter,
        "half_out": half_out,
        "full_out": full_out,
        "n_blocks": _count(state, "painter.blocks."),
        "styled_contraction": "painter.contract.0.norm.linear.weight" in state,
        "predictor": any(key.startswith("predictor.") for key in state),
    }
    return Architecture(STYLE, arguments, StyleEnsemble(**arguments))  # type: ignore[arg-type]


def _count(state: StateDict, prefix: str) -> int:
    """How many different numbers follow ``prefix`` in the keys."""
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})
