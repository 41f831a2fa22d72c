"""Putting a run's generator into a model folder. ``python -m models.training.publication RUN_DIR FOLDER --help``."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from models import checkpoint
from models.architecture import LANDMARKS
from models.catalog import CARD_FILE, LOCK_FILE, WEIGHTS_FILE, ModelCard, ModelFile
from models.landmarks.masks import POINTS
from models.training.labelled import domain_folders
from models.training.options import CycleGANOptions, StarGANOptions
from models.training.run_folder import RunFolder, load_state

DIRECTIONS = {"AtoB": "g_ab", "BtoA": "g_ba"}
# Where the run happened says nothing about the model; these stay out of its card.
LOCAL_OPTIONS = {"dataset", "landmarks", "init_from", "device", "sample_every", "save_every"}


def publish(run: RunFolder, folder: Path, *, direction: str | None = None, margin: int = 0, **card: str) -> ModelCard:
    """Write the newest checkpoint's networks as float16 safetensors, with its card, into ``folder``.

    Args:
        direction: ``AtoB`` or ``BtoA``, of a CycleGAN.
        margin: px of surroundings that the generator is given, if its borders are bad.
        card: the card's description, licence and source.

    Returns:
        The card, named as the folder is.
    """
    options = run.options()
    files = run.checkpoints()
    if not files:
        raise FileNotFoundError(f"{run.path} has no checkpoint to publish")
    state = load_state(files[-1])
    if isinstance(options, StarGANOptions):
        content = _stargan(options, state["trainer"])
    else:
        content = _cyclegan(options, state["trainer"], direction)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    checkpoint.save({key: _half(key, tensor) for key, tensor in content.pop("state").items()}, weights)
    (folder / LOCK_FILE).unlink(missing_ok=True)  # of weights that were fetched under this name
    records = map(json.loads, run.metrics_file.read_text().splitlines())
    metrics = next(record for record in records if record["step"] == state["step"])
    training = {
        "direction": direction,
        "steps": state["step"],
        "options": options.model_dump(mode="json", exclude=LOCAL_OPTIONS),
        "metrics": {name: round(value, 3) for name, value in metrics.items() if name not in ("step", "seconds")},
    }
    fields = {
        "name": folder.name,
        "family": options.family,
        "margin": margin,
        "files": [ModelFile(name=WEIGHTS_FILE, sha256=checkpoint.sha256(weights))],
        "training": {name: value for name, value in training.items() if value is not None},
    }
    model = ModelCard.model_validate(fields | content | card)
    part = folder / f"{CARD_FILE}.part"
    part.write_text(json.dumps(model.model_dump(exclude_none=True), indent=2, ensure_ascii=False) + "\n")
    part.replace(folder / CARD_FILE)
    return model


def _cyclegan(options: CycleGANOptions, trainer: dict[str, Any], direction: str | None) -> dict[str, Any]:
    if direction not in DIRECTIONS:
        raise ValueError(f"a CycleGAN has two generators: name the direction, {' or '.join(sorted(DIRECTIONS))}")
    network = {"ngf": options.ngf, "n_blocks": options.n_blocks}
    return {"state": trainer[DIRECTIONS[direction]], "network": network, "image_size": options.image_size}


def _stargan(options: StarGANOptions, trainer: dict[str, Any]) -> dict[str, Any]:
    domains = options.domains or list(domain_folders(options.dataset, "train"))
    names = ("img_size", "style_dim", "latent_dim", "max_conv_dim", "w_hpf", "base_dim", "normalize_rgb")
    network = {name: value for name in names if (value := getattr(options, name)) is not None}
    state = dict(trainer["averages"])
    if options.w_hpf and options.landmarks is not None and options.masks == "landmarks":
        landmarks = checkpoint.load_exactly(options.landmarks, LANDMARKS, {"num_landmarks": POINTS}).state
        state |= {f"landmarks.{key}": tensor for key, tensor in landmarks.items()}
        state["landmark_mean"] = torch.zeros(POINTS, 2)  # the run's faces are taken as they are
        network["landmarks"] = 1
    return {
        "state": state,
        "network": network | {"num_domains": len(domains)},
        "image_size": options.img_size,
        "domains": domains,
        "masks": options.masks if options.w_hpf else None,
    }


def _half(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """As float16, but for the landmark network, whose statistics may be beyond it."""
    return tensor if key.startswith("landmark") or not tensor.is_floating_point() else tensor.half()


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a run's generator as a model folder.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="its last part is the model's name")
    parser.add_argument("--direction", choices=sorted(DIRECTIONS), help="of a CycleGAN")
    parser.add_argument("--margin", type=int, default=0, help="px of surroundings given and cropped off; default: 0")
    for field in ("description", "licence", "source"):
        parser.add_argument(f"--{field}", required=True)
    arguments = vars(parser.parse_args())
    publish(RunFolder(arguments.pop("run_dir")), arguments.pop("folder"), **arguments)


if __name__ == "__main__":
    main()
