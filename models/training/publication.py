"""Putting a run's generator into a model folder. ``python -m models.training.publication RUN_DIR FOLDER --help``."""

import argparse
import json
from pathlib import Path

import torch

from models import checkpoint
from models.catalog import CARD_FILE, LOCK_FILE, WEIGHTS_FILE, ModelCard, ModelFile
from models.cyclegan import ResnetGenerator
from models.training.run_folder import RunFolder, load_state

DIRECTIONS = {"AtoB": "g_ab", "BtoA": "g_ba"}
# Where the run happened says nothing about the model; these stay out of its card.
LOCAL_OPTIONS = {"dataset", "init_from", "device", "sample_every", "save_every"}


def publish(run: RunFolder, folder: Path, *, direction: str, **card: str) -> ModelCard:
    """Write the newest checkpoint's generator as float16 safetensors, with its card, into ``folder``.

    Args:
        direction: ``AtoB`` or ``BtoA``.
        card: the card's description, licence and source.

    Returns:
        The card, named as the folder is.
    """
    options = run.options()
    files = run.checkpoints()
    if not files:
        raise FileNotFoundError(f"{run.path} has no checkpoint to publish")
    state = load_state(files[-1])
    network = {"ngf": options.ngf, "n_blocks": options.n_blocks}
    generator = ResnetGenerator(**network)
    generator.load_state_dict(state["trainer"][DIRECTIONS[direction]])
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    checkpoint.save(generator.state_dict(), weights, dtype=torch.float16)
    (folder / LOCK_FILE).unlink(missing_ok=True)  # of weights that were fetched under this name
    records = map(json.loads, run.metrics_file.read_text().splitlines())
    metrics = next(record for record in records if record["step"] == state["step"])
    model = ModelCard(
        name=folder.name,
        family="cyclegan",
        network=network,
        image_size=options.image_size,
        files=[ModelFile(name=WEIGHTS_FILE, sha256=checkpoint.sha256(weights))],
        training={
            "direction": direction,
            "steps": state["step"],
            "options": options.model_dump(mode="json", exclude=LOCAL_OPTIONS),
            "metrics": {name: round(value, 3) for name, value in metrics.items() if name not in ("step", "seconds")},
        },
        **card,
    )
    part = folder / f"{CARD_FILE}.part"
    part.write_text(json.dumps(model.model_dump(exclude_none=True), indent=2, ensure_ascii=False) + "\n")
    part.replace(folder / CARD_FILE)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a run's generator as a model folder.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="its last part is the model's name")
    parser.add_argument("--direction", choices=sorted(DIRECTIONS), required=True)
    for field in ("description", "licence", "source"):
        parser.add_argument(f"--{field}", required=True)
    arguments = vars(parser.parse_args())
    publish(RunFolder(arguments.pop("run_dir")), arguments.pop("folder"), **arguments)


if __name__ == "__main__":
    main()
