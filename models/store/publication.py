"""Copy a run's generator into a model folder. Loads no torch.

``python -m models.store.publication RUN_DIR FOLDER --help``.
"""

import argparse
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from models.command_line import Arguments, Positional
from models.errors import PublicationError, RunFolderError
from models.pictures.marks import GENERATED_XMP
from models.pictures.png import encode_png
from models.store.catalog import CARD_FILE, LOCK_FILE, WEIGHTS_FILE
from models.store.cut_options import CUTOptions
from models.store.datasets import domain_folders
from models.store.files import replace_text, replacing, sha256
from models.store.finiteness import all_finite
from models.store.model_card import PLAIN_GENERATOR, CycleGANNetwork, ModelCard, ModelFile
from models.store.options import LOCAL_OPTIONS, StarGANOptions
from models.store.run_folder import RunFolder
from models.store.run_status import read_status
from models.store.samples import PADDING_PX, read_rows
from models.store.unpaired_options import UnpairedChoices

DIRECTIONS = ("AtoB", "BtoA")
SAMPLE_FILE = "sample.png"
# These don't describe the model, so they stay out of the card.
UNPUBLISHED_OPTIONS = {*LOCAL_OPTIONS, "sample_every", "save_every"}


def publish(
    run: RunFolder,
    folder: Path,
    *,
    direction: str | None = None,
    step: int | None = None,
    margin: int = 0,
    version: int | None = None,
    **card: str,
) -> ModelCard:
    """Write a checkpoint's float16 generator, its card and a sample picture into ``folder``.

    Args:
        direction: ``AtoB`` or ``BtoA``; required for a CycleGAN.
        step: the checkpoint's; None takes the newest.
        margin: px of mirrored border to add before the generator runs (see ``ModelCard.margin``).
        card: description, licence and source for the card; also its name, if it differs from the folder's.

    Raises:
        PublicationError: there is no such checkpoint or direction.
    """
    options = run.options()
    steps = [int(path.stem) for path in run.checkpoints()]
    if not steps:
        raise PublicationError("The run has no checkpoint yet.")
    step = steps[-1] if step is None else step
    if step not in steps:
        raise PublicationError(f"The run keeps no checkpoint of step {step}; it keeps: {', '.join(map(str, steps))}.")
    if isinstance(options, StarGANOptions):
        content = _stargan(run, options)
    elif isinstance(options, CUTOptions):
        content = _resnet(options) | {"export": "model"}
    else:
        content = _cyclegan(options, direction)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    with replacing(weights) as part:
        shutil.copyfile(run.export_path(step) / f"{content.pop('export')}.safetensors", part)
        part.chmod(0o644)
        if not all_finite(part):
            raise PublicationError(
                f"The weights of step {step} hold NaN or infinity, so no picture can be made of them."
            )
    (folder / LOCK_FILE).unlink(missing_ok=True)  # it pins weights that were fetched under this name before
    if samples := [sampled for sampled in run.samples() if sampled <= step]:
        _save_sample(run.sample_path(samples[-1]), folder / SAMPLE_FILE, direction)
    model = ModelCard.model_validate(
        {
            "name": folder.name,
            "margin": margin,
            "version": version,
            "files": [ModelFile(name=WEIGHTS_FILE, sha256=sha256(weights))],
            "training": _training(run, step, direction),
        }
        | content
        | card
    )
    replace_text(folder / CARD_FILE, model.text())
    return model


def _save_sample(sheet: Path, target: Path, direction: str | None) -> None:
    """Cut out of a run's sample picture one input of this direction and what was made of it, side by side.

    A sheet that nothing describes, since an earlier version saved it, is copied whole.
    """
    try:
        rows = read_rows(sheet)
    except FileNotFoundError:
        shutil.copyfile(sheet, target)
        return
    outputs = [row for row in rows if row.role == "output"]
    output = outputs[-1 if direction == "BtoA" else 0]
    source = next(row for row in rows if row.label == output.source)
    with Image.open(sheet) as picture:
        halves = [picture.crop(row.cells[0]) for row in (source, output)]
    pair = Image.new("RGB", (2 * halves[0].width + PADDING_PX, halves[0].height), "white")
    pair.paste(halves[0], (0, 0))
    pair.paste(halves[1], (halves[0].width + PADDING_PX, 0))
    target.write_bytes(encode_png(np.asarray(pair), xmp=GENERATED_XMP.decode()))


def _training(run: RunFolder, step: int, direction: str | None) -> dict[str, Any]:
    metrics = next(run.recorded.read(after_step=step - 1, at_most=1), {})
    status = read_status(run.path)
    measured = [quality for quality in status.quality if quality.step == step] if status else []
    record = {
        "direction": direction,
        "dataset": (status.dataset if status else None) or None,
        "steps": step,
        "options": run.options().model_dump(mode="json", exclude=UNPUBLISHED_OPTIONS),
        "metrics": {name: round(value, 3) for name, value in metrics.items() if name not in ("step", "seconds")},
        "quality": measured[0].figures if measured else None,
    }
    return {name: value for name, value in record.items() if value is not None}


def _cyclegan(options: UnpairedChoices, direction: str | None) -> dict[str, Any]:
    if direction not in DIRECTIONS:
        raise PublicationError(f"A CycleGAN has two generators: name the direction, {' or '.join(DIRECTIONS)}.")
    return _resnet(options) | {"export": direction}


def _resnet(options: UnpairedChoices) -> dict[str, Any]:
    """Of a CycleGAN's generator, which is CUT's too."""
    plain = {"ngf", "n_blocks"}
    network = {
        name: value
        for name, value in options.model_dump(include=set(CycleGANNetwork.model_fields)).items()
        if name in plain or value != PLAIN_GENERATOR[name]
    }
    return {"family": "cyclegan", "network": network, "image_size": options.image_size}


def _stargan(run: RunFolder, options: StarGANOptions) -> dict[str, Any]:
    status = read_status(run.path)
    domains = options.domains or (status.domains if status else []) or list(domain_folders(options.dataset))
    names = ("img_size", "style_dim", "latent_dim", "max_conv_dim", "w_hpf", "base_dim")
    network = {name: value for name in names if (value := getattr(options, name)) is not None}
    if not options.normalize_rgb:
        network["normalize_rgb"] = 0
    if options.needs_landmarks:
        network["landmarks"] = 1
    return {
        "family": "stargan_v2",
        "export": "model",
        "network": network | {"num_domains": len(domains)},
        "image_size": options.img_size,
        "domains": domains,
        "masks": options.masks if options.w_hpf else None,
    }


class CommandLine(BaseModel):
    """The arguments of ``python -m models.store.publication``."""

    run_dir: Annotated[Path, Positional("RUN_DIR")]
    folder: Annotated[Path, Positional("FOLDER"), Field(description="its last part is the model's name")]
    direction: Annotated[Literal["AtoB", "BtoA"] | None, Field(description="of a CycleGAN")] = None
    step: Annotated[int | None, Field(description="of the checkpoint; default: the newest")] = None
    margin: Annotated[int, Field(ge=0, description="px of surroundings given and cropped off")] = 0
    description: str
    licence: str
    source: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a run's generator as a model folder.")
    arguments = Arguments(parser, CommandLine).read()
    if arguments.folder.is_symlink():
        parser.error(f"{arguments.folder} is a model with versions; publish a new one over HTTP")
    try:
        publish(RunFolder(arguments.run_dir), arguments.folder, **arguments.model_dump(exclude={"run_dir", "folder"}))
    except (PublicationError, RunFolderError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
