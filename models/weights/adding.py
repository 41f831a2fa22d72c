"""Put a weights file or an exported model into service as a model: ``python -m models.weights.adding FILE --help``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from models.command_line import Arguments as CommandArguments
from models.command_line import Positional
from models.cyclegan import ResnetGenerator
from models.errors import CheckpointError, DoppelError, Invalid
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import everywhere
from models.store.additions import Addition
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Catalog, ModelCard, ModelFile
from models.store.files import replace_text, sha256
from models.store.model_archives import ModelArchive, is_model_archive
from models.store.names import NAME
from models.store.versions import Versions
from models.weights import doctor
from models.weights.architecture import STARGAN, Arguments
from models.weights.doctor import SERVABLE, Checkpoint, shown
from models.weights.loading import KINDS

DEFAULT_SIZE = 256  # px; what most CycleGANs were trained at
TRIAL_SIDE = 64  # px


def add(
    path: Path,
    versions: Versions,
    addition: Addition,
    *,
    label: str | None = None,
    max_bytes: int | None = None,
    in_place_of_missing: bool = False,
    before_service: Callable[[str], None] = lambda digest: None,
) -> ModelCard:
    """Put a file's network into service as version 1 of a new model.

    Everything is checked first: keys and shapes, that all numbers are finite, and that a picture comes out. The model
    appears whole, at once on every worker, or not at all.

    Args:
        path: weights of any format that :mod:`models.weights.doctor` loads, or an archive from ``doppel export``.
        label: the file's name for messages; default: its own.
        max_bytes: largest weights of an archive.
        in_place_of_missing: an exported model may stand in for the one of its name that ships without weights, if it is
            the same network.
        before_service: called with the sha256 of the model's weights when all is ready; if it raises, nothing appears.

    Raises:
        CheckpointError: it can't be loaded, or makes no pictures.
        ArchiveError: the archive is refused.
        Invalid: something that must be said is missing, or does not fit the network.
        NameTaken: there is a model of this name.
        OSError: it can't be stored.
    """
    label = label or path.name
    if path.is_file() and is_model_archive(path):
        return _add_archive(path, versions, addition, label, max_bytes, in_place_of_missing, before_service)
    if addition.name is None:
        raise Invalid("name: a new model needs a name.")
    versions.require_free(addition.name, new=True)
    checkpoint = doctor.load(path, network=addition.network, label=label)
    fields = _card_fields(checkpoint, addition, label)

    def write(folder: Path, version: int) -> ModelCard:
        folder.mkdir(parents=True)
        weights = folder / WEIGHTS_FILE
        doctor.save(checkpoint.state, weights)
        return _described(folder, fields | {"name": addition.name, "version": version}, checkpoint, before_service)

    return versions.add(addition.name, write, new=True)


def _add_archive(
    path: Path,
    versions: Versions,
    addition: Addition,
    label: str,
    max_bytes: int | None,
    in_place_of_missing: bool,
    before_service: Callable[[str], None],
) -> ModelCard:
    for field in ("network", "padding", "domains", "w_hpf", "image_size"):
        if getattr(addition, field) is not None:
            raise Invalid(f"{field}: {label} is an exported model, which brings this along; leave it out.")
    with ModelArchive(path, max_bytes=max_bytes) as archive:
        given = addition.model_dump(include={"name", "description", "licence", "source"}, exclude_none=True)
        name = addition.name or archive.card.name
        fields = archive.card.model_dump(exclude={"fallback"}) | given
        if not NAME.fullmatch(name):  # the archive's own
            raise Invalid(f"name: {name[:100]!r} can't be the name of a model here; choose another one.")
        in_place_of_missing = in_place_of_missing and versions.ships_as(archive.card.model_copy(update={"name": name}))
        versions.require_free(name, new=True, in_place_of_missing=in_place_of_missing)

        def write(folder: Path, version: int) -> ModelCard:
            folder.mkdir(parents=True)
            archive.unpack(folder)
            checkpoint = doctor.load_exactly(
                folder / WEIGHTS_FILE, KINDS[archive.card.family], archive.card.network, label=label
            )
            return _described(folder, fields | {"version": version}, checkpoint, before_service)

        return versions.add(name, write, new=True, in_place_of_missing=in_place_of_missing)


def _described(
    folder: Path, fields: dict[str, Any], checkpoint: Checkpoint, before_service: Callable[[str], None]
) -> ModelCard:
    """Write the card beside the weights, once a trial picture came out well."""
    weights = folder / WEIGHTS_FILE
    digest = sha256(weights)
    card = ModelCard.model_validate(fields | {"files": [ModelFile(name=WEIGHTS_FILE, sha256=digest)]})
    _try(checkpoint, float(card.network.get("w_hpf", 0)))
    replace_text(folder / CARD_FILE, card.text())
    before_service(digest)
    return card


def _card_fields(checkpoint: Checkpoint, addition: Addition, label: str) -> dict[str, Any]:
    """What the card of a weights file says, but for name, version and files."""
    if checkpoint.kind not in SERVABLE:
        raise CheckpointError(f"{label} is a {checkpoint.kind}, which makes no pictures; a model needs a generator")
    of_other_family = ("padding",) if checkpoint.kind == STARGAN else ("domains", "w_hpf")
    for field in of_other_family:
        if getattr(addition, field) is not None:
            raise Invalid(f"{field}: {label} is a {checkpoint.kind}, which has no such thing; leave it out.")
    fields = (_stargan if checkpoint.kind == STARGAN else _cyclegan)(checkpoint.arguments, addition, label)
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


@torch.inference_mode()
def _try(checkpoint: Checkpoint, w_hpf: float) -> None:
    """Make a picture of noise.

    Raises:
        CheckpointError: what comes out is not finite.
    """
    arguments: dict[str, Any] = dict(checkpoint.arguments)
    network = Ensemble(**arguments | {"w_hpf": w_hpf}) if checkpoint.kind == STARGAN else ResnetGenerator(**arguments)
    network.load_state_dict(checkpoint.state)
    network.eval()
    random = torch.Generator().manual_seed(0)
    if isinstance(network, Ensemble):
        x = torch.rand((1, 3, network.img_size, network.img_size), generator=random) * 2 - 1
        s = network.style_encoder(x, torch.zeros(1, dtype=torch.int64))
        out = network.generator(x, s, everywhere(x) if w_hpf else None)
    else:
        out = network(torch.rand((1, 3, TRIAL_SIDE, TRIAL_SIDE), generator=random) * 2 - 1)
    if not torch.isfinite(out).all():
        raise CheckpointError("its weights are finite numbers, but what it makes of a picture is not: it can't be used")


class CommandLine(Addition):
    """The arguments of ``python -m models.weights.adding``."""

    file: Annotated[Path, Positional("FILE")]
    weights_dir: Annotated[Path, Field(description="the models that come with Doppel")] = Path("weights")
    data_dir: Annotated[Path, Field(description="where the model is stored")] = Path("var")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.weights.adding", description="Put a weights file or an exported model into service."
    )
    arguments = CommandArguments(parser, CommandLine).read()
    versions = Versions(Catalog(arguments.weights_dir, arguments.data_dir), arguments.data_dir)
    addition = Addition(**arguments.model_dump(include=set(Addition.model_fields)))
    try:
        card = add(arguments.file, versions, addition, in_place_of_missing=True)
    except (DoppelError, OSError) as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    print(f"added {card.name} to {arguments.data_dir.resolve()}: {card.description}")
    if card.family == "cyclegan":
        print(f"translate with it: doppel translate photo.jpg -m {card.name} -o out.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
