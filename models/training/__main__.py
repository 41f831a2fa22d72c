"""``python -m models.training RUN_DIR``: train, or go on training, what RUN_DIR/options.json describes.

SIGTERM and Ctrl-C end the run after the step in hand, with a checkpoint; running the same command again resumes it.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

import pydantic
from tqdm import tqdm

from models.checkpoint import CheckpointError
from models.device import DeviceError
from models.training.dataset import DatasetError
from models.training.loop import Diverged, Losses, train
from models.training.plan import plan
from models.training.run_folder import RunFolder, RunFolderError, load_state


def run(folder: Path) -> None:
    """Train the run in ``folder`` until it is complete or a signal stops it."""
    run_folder = RunFolder(folder)
    options = run_folder.options()
    planned = plan(options)
    resumed = run_folder.checkpoints()
    if options.init_from is not None and not resumed:
        try:
            planned.trainer.start_from(load_state(options.init_from)["trainer"])
        except (KeyError, RuntimeError) as error:
            raise RunFolderError(f"{options.init_from} is not of a run with these networks: {error}") from error

    stopping = False

    def request_stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)

    first_step = int(resumed[-1].stem) if resumed else 0
    with tqdm(total=planned.total_steps, initial=first_step, unit="step") as bar:

        def show(step: int, losses: Losses) -> None:
            bar.update()
            bar.set_postfix({name: f"{loss:.2f}" for name, loss in losses.items()}, refresh=False)

        train(
            run_folder,
            planned.trainer,
            planned.batches,
            total_steps=planned.total_steps,
            sample_every=options.sample_every,
            save_every=options.save_every,
            on_progress=show,
            should_stop=lambda: stopping,
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    try:
        run(parser.parse_args().run_dir)
    except (RunFolderError, DatasetError, DeviceError, CheckpointError, pydantic.ValidationError) as error:
        print(error, file=sys.stderr)
        return 2
    except Diverged as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
