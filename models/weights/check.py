"""``doppel check``: say what a weights file or an exported model is, whether it loads, and how to put it into service.

``python -m models.weights.check FILE [--network NAME]``.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from models import command_line
from models.command_line import Positional
from models.errors import ArchiveError, CheckpointError
from models.store.catalog import WEIGHTS_FILE
from models.store.files import sha256
from models.store.model_archives import ModelArchive, is_model_archive
from models.weights.architecture import STARGAN
from models.weights.doctor import SERVABLE, Checkpoint, Examined, examine, load, load_exactly, shown, some
from models.weights.loading import KINDS


class CommandLine(BaseModel):
    """The arguments of ``python -m models.weights.check``."""

    file: Annotated[Path, Positional("FILE")]
    network: Annotated[str | None, Field(description="the name of one network, of a file that holds several")] = None


def main(arguments: list[str] | None = None) -> int:
    """Run this program; its exit status. ``arguments`` None: those of the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.weights.check", description="Say what a weights file is.")
    given = command_line.Arguments(parser, CommandLine).read(arguments)
    path, network = given.file, given.network
    try:
        if path.is_file() and is_model_archive(path):
            return _report_archive(path)
        examined = examine(path)
        if network is None and len(examined.inventory.networks) > 1:
            return _report_all(path, examined)
        checkpoint = load(path, network=network)
    except (ArchiveError, CheckpointError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    tensors = checkpoint.state.values()
    dtypes = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
    print(f"{path.name}: {checkpoint.kind}, {shown(checkpoint.arguments)}")
    print(f"{len(tensors)} tensors, {sum(tensor.numel() for tensor in tensors):,} parameters, {dtypes}")
    print(f"sha256 {sha256(path)}")
    for note in checkpoint.notes:
        print(f"note: {note}")
    print("loads: yes")
    _report_padding([checkpoint])
    _report_use(path, checkpoint, network)
    return 0


def _report_archive(path: Path) -> int:
    """Say what an exported model is."""
    with tempfile.TemporaryDirectory() as folder, ModelArchive(path) as archive:
        card = archive.card
        archive.unpack(Path(folder))
        load_exactly(Path(folder) / WEIGHTS_FILE, KINDS[card.family], card.network, label=path.name)
    print(f"{path.name}: the exported model {card.name!r}, {card.family}: {card.description}")
    print(f"licence: {card.licence}")
    print(f"source: {card.source}")
    print(f"sha256 {sha256(path)}")
    print("loads: yes")
    print(f"put it into service: doppel add {shlex.quote(str(path))}")
    return 0


def _report_all(path: Path, examined: Examined) -> int:
    """Say what each network of a file is."""
    print(f"{path.name} holds {len(examined.inventory.networks)} networks:")
    for found in examined.inventory.networks:
        name = found.name or "(nameless)"
        if (checkpoint := examined.checkpoints.get(found.name)) is not None:
            print(f"  {name}: {checkpoint.kind}, {shown(checkpoint.arguments)}; loads")
        else:
            print(f"  {name}: {examined.refusals[found.name]}")
    print(f"sha256 {sha256(path)}")
    for note in examined.notes:
        print(f"note: {note}")
    if examined.inventory.optimizers:
        print(f"note: optimizers are in it too, and are not needed ({some(examined.inventory.optimizers)})")
    if not examined.checkpoints:
        print("loads: none of them")
        return 1
    print(
        f"look at one: doppel check {shlex.quote(str(path))} --network {shlex.quote(next(iter(examined.checkpoints)))}"
    )
    _report_padding([examined.checkpoints[name] for name in examined.servable])
    for name in examined.servable:
        _report_use(path, examined.checkpoints[name], name if len(examined.servable) > 1 else None)
    return 0


def _report_padding(checkpoints: list[Checkpoint]) -> None:
    """Say what the weights don't tell."""
    if any(checkpoint.arguments.get("padding") == "reflect" for checkpoint in checkpoints):
        print("note: padding by reflection is assumed; if it was trained with replication, add --padding replicate")


def _report_use(path: Path, checkpoint: Checkpoint, network: str | None) -> None:
    """How to put a network into service, as the command to type."""
    if checkpoint.kind not in SERVABLE:
        print(f"it makes no pictures, so it can't be a model of its own: a {checkpoint.kind}")
        return
    chosen = f" --network {shlex.quote(network)}" if network else ""
    domains = ""
    if checkpoint.kind == STARGAN:
        domains = " --domains " + ",".join(f"DOMAIN{n + 1}" for n in range(int(checkpoint.arguments["num_domains"])))
    print(f"put it into service: doppel add {shlex.quote(str(path))} --name NAME{chosen}{domains}")


if __name__ == "__main__":
    sys.exit(main())
