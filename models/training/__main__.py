"""``python -m models.training RUN_DIR``: train, or go on training, what RUN_DIR/options.json describes.

SIGTERM, SIGHUP and Ctrl-C end the run after the step in hand, with a checkpoint; the same command again resumes it.
"""

import argparse
import contextlib
import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from models.errors import CannotWrite, Diverged, RunBusy, RunFolderError
from models.store.run_folder import RunFolder
from models.store.run_status import RunState
from models.training import distributed
from models.training.attempt import REASONS, attempt
from models.training.loop import Losses

LOG_EVERY_S = 10.0

log = logging.getLogger("doppel.training")


class Display:
    """A progress bar on a terminal; elsewhere a line now and then."""

    def __init__(self, first_step: int, batch_size: int) -> None:
        self._batch_size = batch_size
        self._bar: tqdm[None] | None = None
        self._first_step = first_step
        self._logged_at = 0.0

    def show(self, step: int, total_steps: int, losses: Losses) -> None:
        with contextlib.suppress(OSError):  # a terminal may be gone; that is no reason to train no more
            self._show(step, total_steps, losses)

    def _show(self, step: int, total_steps: int, losses: Losses) -> None:
        named = {name: f"{loss:.2f}" for name, loss in losses.items()}
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=total_steps, initial=self._first_step, unit="step", dynamic_ncols=True)
            self._bar.update(step - self._bar.n)
            rate = (self._bar.format_dict["rate"] or 0.0) * self._batch_size
            self._bar.set_postfix({"images/s": f"{rate:.1f}", **named}, refresh=False)
        elif time.monotonic() - self._logged_at > LOG_EVERY_S or step == total_steps:
            self._logged_at = time.monotonic()
            log.info("step %d of %d: %s", step, total_steps, ", ".join(f"{k} {v}" for k, v in named.items()))

    def close(self) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()


def run(folder: Path, *, goes_on: bool = False, **place: Any) -> None:
    """Train the run in ``folder`` until it is complete or a signal stops it; raises as :func:`attempt` does."""
    stopping = False

    def request_stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, request_stop)
    run_folder = RunFolder(folder)
    checkpoints = run_folder.checkpoints()
    display = Display(int(checkpoints[-1].stem) if checkpoints else 0, run_folder.options().batch_size)
    try:
        ended = attempt(folder, on_progress=display.show, should_stop=lambda: stopping, place=place, goes_on=goes_on)
    finally:
        display.close()
    log.info("the run %s", "goes on later" if ended is RunState.QUEUED else f"has {ended}")


def _device(folder: Path) -> str:
    try:
        return RunFolder(folder).options().device
    except RunFolderError:
        return "cpu"  # what is wrong is said when the run begins


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--device", help="instead of the options'")
    parser.add_argument(
        "--reserved-mb", type=int, metavar="MB", help="GPU memory left to others, instead of the options'"
    )
    parser.add_argument(
        "--goes-on", action="store_true", help="a run that a signal ends is to be gone on with, and says so"
    )
    arguments = parser.parse_args()
    distributed.join(arguments.device or _device(arguments.run_dir))
    # Of several processes one tells what all of them do.
    level = logging.INFO if distributed.rank() == 0 else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        place = {"device": arguments.device, "reserved_mb": arguments.reserved_mb}
        told = {name: said for name, said in place.items() if said is not None}
        run(arguments.run_dir, goes_on=arguments.goes_on, **told)
    except (Diverged, CannotWrite) as error:
        print(error, file=sys.stderr)
        return 3
    except (RunBusy, *REASONS) as error:
        print(error, file=sys.stderr)
        return 2
    except Exception:  # told here rather than by the interpreter, which would keep the processes that read pictures
        log.exception("the training broke off")
        return 1
    # Only from here: after an error the others may be waiting for this process, which would wait for them in turn.
    distributed.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
