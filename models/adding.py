"""Put a weights file or an exported model into service as a model: ``python -m models.adding FILE --help``.

An exported model needs no torch. The files of others are read by :mod:`models.weights.doctor`, which does.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from models.command_line import Arguments as CommandArguments
from models.command_line import Positional
from models.cores import core_limit
from models.device import ServingDevice
from models.errors import CheckpointError, DoppelError, Invalid
from models.installed import require_torch
from models.process import quick_imports
from models.serving.engine import Pictures
from models.serving.engines import style_painter, stylist_networks, translator
from models.serving.random_numbers import uniform
from models.store.additions import Addition
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Catalog, Model
from models.store.files import replace_text, sha256
from models.store.model_archives import ModelArchive, is_model_archive
from models.store.model_card import ModelCard, ModelFile
from models.store.names import NAME
from models.store.versions import Versions
from models.style.shape import CODE_SIDE

TRIAL_SIDE = 64  # px; StarGAN v2 is tried at its own size


def add(
    path: Path,
    versions: Versions,
    addition: Addition,
    *,
    label: str | None = None,
    max_bytes: int | None = None,
    in_place_of_missing: bool = False,
    owner: str | None = None,
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
        owner: the name of the API key that it belongs to.
        before_service: called with the sha256 of the model's weights when all is ready; if it raises, nothing appears.

    Raises:
        CheckpointError: it can't be loaded, or makes no pictures.
        ArchiveError: the archive is refused.
        Invalid: something that must be said is missing, or does not fit the network.
        NameTaken: there is a model of this name.
        NotInstalled: it is no archive, and torch, which reads it, is not here.
        OSError: it can't be stored.
    """
    label = label or path.name
    if path.is_file() and is_model_archive(path):
        return _add_archive(path, versions, addition, label, max_bytes, in_place_of_missing, owner, before_service)
    if addition.name is None:
        raise Invalid("name: a new model needs a name.")
    versions.require_free(addition.name, new=True)
    require_torch("Adding a weights file")
    with quick_imports():
        from models.weights import cards, doctor

    checkpoint = doctor.load(path, network=addition.network, label=label)
    fields = cards.card_fields(checkpoint, addition, label)

    def write(folder: Path, version: int) -> ModelCard:
        folder.mkdir(parents=True)
        doctor.save(checkpoint.state, folder / WEIGHTS_FILE)
        return _tried(folder, fields | {"name": addition.name, "version": version}, before_service)

    return versions.add(addition.name, write, new=True, owner=owner)


def _add_archive(
    path: Path,
    versions: Versions,
    addition: Addition,
    label: str,
    max_bytes: int | None,
    in_place_of_missing: bool,
    owner: str | None,
    before_service: Callable[[str], None],
) -> ModelCard:
    for field in ("network", "padding", "domains", "w_hpf", "image_size"):
        if getattr(addition, field) is not None:
            raise Invalid(f"{field}: {label} is an exported model, which brings this along; leave it out.")
    with ModelArchive(path, max_bytes=max_bytes) as archive:
        given = addition.model_dump(include={"name", "description", "licence", "source"}, exclude_none=True)
        name = addition.name or archive.card.name
        fields = archive.card.model_dump(exclude={"fallback", "shared"}) | given
        if not NAME.fullmatch(name):  # the archive's own
            raise Invalid(f"name: {name[:100]!r} can't be the name of a model here; choose another one.")
        in_place_of_missing = in_place_of_missing and versions.ships_as(archive.card.model_copy(update={"name": name}))
        versions.require_free(name, new=True, in_place_of_missing=in_place_of_missing)

        def write(folder: Path, version: int) -> ModelCard:
            folder.mkdir(parents=True)
            archive.unpack(folder)
            return _tried(folder, fields | {"version": version}, before_service)

        return versions.add(name, write, new=True, in_place_of_missing=in_place_of_missing, owner=owner)


def _tried(folder: Path, fields: dict[str, Any], before_service: Callable[[str], None]) -> ModelCard:
    """Write the card beside the weights, once a picture came out well."""
    digest = sha256(folder / WEIGHTS_FILE)
    card = ModelCard.model_validate(fields | {"files": [ModelFile(name=WEIGHTS_FILE, sha256=digest)]})
    _try(Model(card, folder / WEIGHTS_FILE, sha256=None, failure=None))
    replace_text(folder / CARD_FILE, card.text())
    before_service(digest)
    return card


def _try(model: Model) -> None:
    """Make a picture of noise.

    Raises:
        CheckpointError: the weights are not the network's that the card describes, or what comes out is not finite.
    """
    device = ServingDevice("cpu", core_limit())
    match model.card.family:
        case "cyclegan":
            _, finite = translator(model, device)(_noise(TRIAL_SIDE))
        case "stargan_v2":
            networks = stylist_networks(model, device)
            noise = _noise(model.card.full_network["img_size"])
            _, finite = networks.generate(networks.prepare(noise), [0], networks.encode(noise)[:, 0])
        case "style":
            painter = style_painter(model, device)
            code = model.card.code
            codes = painter.encode(_noise(CODE_SIDE)) if code is None else np.array([code], np.float32)
            _, finite = painter.paint(_noise(TRIAL_SIDE), codes)
    if not finite:
        raise CheckpointError("its weights are finite numbers, but what it makes of a picture is not: it can't be used")


def _noise(side: int) -> Pictures:
    noise: Pictures = np.rint(uniform(0, 3 * side**2) * np.float32(255)).astype(np.uint8).reshape(1, side, side, 3)
    return noise


class CommandLine(Addition):
    """The arguments of ``python -m models.adding``."""

    file: Annotated[Path, Positional("FILE")]
    weights_dir: Annotated[Path, Field(description="the models that come with Doppel")] = Path("weights")
    data_dir: Annotated[Path, Field(description="where the model is stored")] = Path("var")


def main(arguments: list[str] | None = None) -> int:
    """Run this program; its exit status. ``arguments`` None: those of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.adding", description="Put a weights file or an exported model into service."
    )
    given = CommandArguments(parser, CommandLine).read(arguments)
    versions = Versions(Catalog(given.weights_dir, given.data_dir), given.data_dir)
    addition = Addition(**given.model_dump(include=set(Addition.model_fields)))
    try:
        card = add(given.file, versions, addition, in_place_of_missing=True)
    except (DoppelError, OSError) as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    print(f"added {card.name} to {given.data_dir.resolve()}: {card.description}")
    if card.family == "cyclegan":
        print(f"translate with it: doppel translate photo.jpg -m {card.name} -o out.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
