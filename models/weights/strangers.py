"""Networks that people have beside those that run here, told by their keys and shapes so that they can be named."""

import re

from models.weights.architecture import StateDict
from models.weights.inventory import STARGAN_NETWORKS

_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.\d+\.weight")
_OUTER = re.compile(r"model\.(\d+)\.weight")
_FIRST_BLOCK = 10  # after a convolution and two halvings of three layers each, and the padding; two more that blur
_DISCRIMINATOR_OF = "discriminator of {channels} channels, as pix2pix trains: it sees a picture beside its source"


def name(state: StateDict) -> str | None:
    """What the network is, as words that follow "is"; None if nothing is known of it, or it runs here."""
    for recognise in (_u_net, _blurred, _generator, _discriminator, _stargan_v2):
        if (found := recognise(state)) is not None:
            return found
    return next((what for keys, what in _OTHERS if all(_has(state, key) for key in keys)), None)


def _has(state: StateDict, pattern: str) -> bool:
    return any(re.match(pattern, key) for key in state)


def _shape(state: StateDict, key: str) -> tuple[int, ...]:
    tensor = state.get(key)
    return tuple(tensor.shape) if tensor is not None else ()


def _u_net(state: StateDict) -> str | None:
    halvings = [key.split(".").count("model") - 1 for key in state if re.match(r"model\.model\.\d+\.model\.\d+\.", key)]
    if not halvings:
        return None
    channels = _shape(state, "model.model.0.weight")
    width = f", ngf {channels[0]}" if channels else ""
    return f"a U-Net generator (num_downs {max(halvings)}{width}), as pix2pix trains; Doppel runs ResNet generators"


def _blurred(state: StateDict) -> str | None:
    """CUT's generator of which only one half is anti-aliased: in those that run here both are, or neither is."""
    blurs = {tensor.shape[-1] for key, tensor in state.items() if key.endswith(".filt") and tensor.dim()}
    if len(blurs) == 1 and any(_BLOCK.match(key) for key in state):
        what = "halves" if blurs == {3} else "doubles"
        return f"CUT's generator that blurs only where it {what}; Doppel's blur at both or nowhere"
    return None


def _generator(state: StateDict) -> str | None:
    blocks = [int(match[1]) for key in state if (match := _BLOCK.match(key))]
    first = _shape(state, "model.1.weight")
    if not blocks or len(first) != 4:
        return None
    outer = {int(match[1]): state[key] for key in state if (match := _OUTER.fullmatch(key)) and state[key].dim() == 4}
    channels = first[1], outer[max(outer)].shape[0]
    if channels != (3, 3):
        return (
            f"a ResNet generator that takes {channels[0]} channels and gives {channels[1]}; Doppel's take and give 3, "
            "red, green and blue"
        )
    antialias = 2 * any(key.endswith(".filt") for key in state)
    if min(blocks) != _FIRST_BLOCK + antialias:
        return f"a ResNet generator with {(min(blocks) - 4) // 3} halvings, as pix2pixHD trains; Doppel's have 2"
    biased = any(f"model.{convolution}.bias" in state for convolution in (1, 4))
    scaled = any(f"model.{normalisation}.weight" in state for normalisation in (2, 5))
    if not biased and not scaled:
        return "a ResNet generator without normalisation (norm none); Doppel's have instance or batch normalisation"
    if biased and scaled:
        return "a ResNet generator whose instance normalisation has weights (affine); Doppel's has none"
    return None


def _discriminator(state: StateDict) -> str | None:
    first = _shape(state, "model.0.weight")
    if len(first) == 4 and first[2:] == (4, 4) and first[1] != 3:
        return f"a {_DISCRIMINATOR_OF.format(channels=first[1])}; discriminators make no pictures"
    return None


def _stargan_v2(state: StateDict) -> str | None:
    here = [network for network in STARGAN_NETWORKS if _has(state, f"{network}\\.")]
    if not _has(state, r"generator\.from_rgb\.") or len(here) == len(STARGAN_NETWORKS):
        return None
    missing = [network for network in STARGAN_NETWORKS if network not in here]
    return f"part of a StarGAN v2: {' and '.join(missing)} must be in the file too"


# Patterns of keys that must all be there → what has them.
_OTHERS = (
    ((r"mlp_\d+\.0\.weight",), "CUT's projection network (netF), which is needed in training alone"),
    (
        (r"from_rgb\.weight", r"decode\.0\."),
        "StarGAN v2's generator alone; mapping_network and style_encoder are needed too",
    ),
    ((r"shared\.0\.weight", r"unshared\.0\."), "StarGAN v2's mapping network or style encoder alone"),
    ((r"main\.0\.weight", r"main\.\d+\.main\.\d+\.weight"), "a generator of StarGAN (version 1), or a network like it"),
    ((r"net\.0\.weight", r"net\.2\.weight"), "a discriminator of single pixels; discriminators make no pictures"),
    ((r"(?:scale\d_)?layer\d\.0\.weight",), "a discriminator of several scales, as pix2pixHD trains"),
    ((r"block_a\.0\.1\.weight", r"out_layer\."), "AnimeGAN v2's generator"),
    ((r"features\.0\.weight", r"classifier\.\d\.weight"), "a classifier such as VGG, not a generator"),
    ((r"layer1\.0\.conv1\.weight", r"fc\.weight"), "a classifier such as ResNet, not a generator"),
)
