"""The card of a weights file that is added: what the file shows of its network, and what its owner says of it."""

from typing import Any

from models.errors import CheckpointError, Invalid
from models.store.additions import Addition
from models.style.shape import CODE_SIDE
from models.weights.architecture import CYCLEGAN, STARGAN, STYLE, Arguments
from models.weights.doctor import SERVABLE, Checkpoint, shown

DEFAULT_SIZE = 256  # px; what most CycleGANs were trained at


def card_fields(checkpoint: Checkpoint, addition: Addition, label: str) -> dict[str, Any]:
    """What a :class:`ModelCard` says, but for name, version and files.

    Args:
        label: the file's name for messages.

    Raises:
        CheckpointError: the network makes no pictures.
        Invalid: something that must be said is missing, or does not fit the network.
    """
    if checkpoint.kind not in SERVABLE:
        raise CheckpointError(f"{label} is a {checkpoint.kind}, which makes no pictures; a model needs a generator")
    for field in _OF_OTHER_FAMILIES[checkpoint.kind]:
        if getattr(addition, field) is not None:
            raise Invalid(f"{field}: {label} is a {checkpoint.kind}, which has no such thing; leave it out.")
    fields = _FIELDS[checkpoint.kind](checkpoint.arguments, addition, label)
    return fields | {
        "description": addition.description or f"{checkpoint.kind}, {shown(checkpoint.arguments)}; added from {label}",
        "licence": addition.licence or "not stated",
        "source": addition.source or f"added from the file {label}",
    }


def _cyclegan(arguments: Arguments, addition: Addition, label: str) -> dict[str, Any]:
    network = dict(arguments)
    if addition.padding is not None:
        if network["padding"] == "zero":
            raise Invalid(f"padding: by its keys {label} was trained with zero padding, not {addition.padding}.")
        network["padding"] = addition.padding
    return {"family": "cyclegan", "network": network, "image_size": addition.image_size or DEFAULT_SIZE}


def _stargan(arguments: Arguments, addition: Addition, label: str) -> dict[str, Any]:
    count = arguments["num_domains"]
    if addition.domains is None:
        raise Invalid(f"domains: {label} is a StarGAN v2 of {count} domains, whose names must be given.")
    if len(addition.domains) != count:
        raise Invalid(f"domains: {len(addition.domains)} names are given, but {label} has {count} domains.")
    network = dict(arguments)
    landmarks = bool(network["landmarks"])
    masks = None
    if network["w_hpf"]:
        network["w_hpf"] = addition.w_hpf or 1.0
        masks = "landmarks" if landmarks else "ones"
    elif addition.w_hpf is not None:
        raise Invalid(f"w_hpf: {label} has no high-pass path; leave it out.")
    return {
        "family": "stargan_v2",
        "network": network,
        "image_size": int(network["img_size"]),
        "domains": addition.domains,
        "masks": masks,
        "align": "face" if landmarks else "none",
    }


def _style(arguments: Arguments, addition: Addition, label: str) -> dict[str, Any]:
    if not arguments["predictor"]:
        raise CheckpointError(
            f"{label} is a painter of fixed styles, whose codes are in no weights file: add a model that was exported"
        )
    return {"family": "style", "network": dict(arguments), "image_size": CODE_SIDE}


_FIELDS = {CYCLEGAN: _cyclegan, STARGAN: _stargan, STYLE: _style}
_OF_OTHER_FAMILIES = {
    CYCLEGAN: ("domains", "w_hpf"),
    STARGAN: ("padding",),
    STYLE: ("domains", "w_hpf", "padding", "image_size"),
}
