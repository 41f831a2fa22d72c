"""``python -m models.training RUN_DIR``: start or resume the training that RUN_DIR/options.json describes.

SIGTERM, SIGHUP and Ctrl-C end it after the current step, with a checkpoint; the same command again resumes it.
"""

import argparse
import contextlib
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from models.process import on_stop_signal, quick_imports

with quick_imports():
    from pydantic import BaseModel, Field
    from tqdm import tqdm

    from models.command_line import Arguments, Positional
    from models.errors import CannotWrite, Diverged, RunBusy, RunFolderError
    from models.store.run_folder import RunFolder
    from models.store.run_status import RunState
    from models.training import distributed
    from models.training.attempt import REASONS, attempt
    from models.training.launch import CANNOT_WRITE
    from models.training.loop import Losses

LOG_EVERY_S = 10.0
STATUS_OF = {Diverged: 3, CannotWrite: CANNOT_WRITE}  # of what ends a training that had begun; else it is 2

log = logging.getLogger("doppel.training")


class CommandLine(BaseModel):
    """The arguments of this program."""

    run_dir: Annotated[Path, Positional("RUN_DIR")]
    device: Annotated[str | None, Field(description="in place of the run's")] = None
    reserved_mb: Annotated[
        int | None, Field(ge=0, description="GPU memory in MiB that is left to others, in place of the run's")
    ] = None
    requeue: Annotated[
        bool, Field(description="a signal leaves the run queued, because whoever sends it queues the run again")
    ] = False

    @property
    def overrides(self) -> dict[str, Any]:
        """Options that replace the run's own."""
        return self.model_dump(include={"device", "reserved_mb"}, exclude_none=True)


class Display:
    """A progress bar on a terminal; elsewhere a log line every ``LOG_EVERY_S``."""

    def __init__(self, first_step: int, batch_size: int) -> None:
        self._batch_size = batch_size
        self._bar: tqdm[None] | None = None
        self._first_step = first_step
        self._logged_at = 0.0

    def show(self, step: int, total_steps: int, losses: Losses) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; training continues
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


def run(folder: Path, *, requeue: bool = False, **overrides: Any) -> None:
    """Train the run in ``folder`` until it is complete or a signal stops it. Raises as :func:`attempt` does."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True

    on_stop_signal(stop)
    run_folder = RunFolder(folder)
    checkpoints = run_folder.checkpoints()
    display = Display(int(checkpoints[-1].stem) if checkpoints else 0, run_folder.options().batch_size)
    try:
        state = attempt(
            folder, on_progress=display.show, should_stop=lambda: stopping, overrides=overrides, requeue=requeue
        )
    finally:
        display.close()
    log.info("the run %s", "is queued again" if state is RunState.QUEUED else f"has {state}")


def _device(folder: Path) -> str:
    try:
        return RunFolder(folder).options().device
    except RunFolderError:
        return "cpu"  # reported when the run starts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    arguments = Arguments(parser, CommandLine).read()
    distributed.join(arguments.device or _device(arguments.run_dir))
    # One of several processes logs for all.
    level = logging.INFO if distributed.rank() == 0 else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(arguments.run_dir, requeue=arguments.requeue, **arguments.overrides)
    except (RunBusy, *REASONS) as error:
        with contextlib.suppress(OSError):  # a full disk has no room for the log either
            print(error, file=sys.stderr)
        return STATUS_OF.get(type(error), 2)
    except Exception:  # logged here: the interpreter's own report keeps the processes alive that read pictures
        log.exception("training failed")
        return 1
    # Not after an error: the other processes may be waiting for this one, which would then wait for them.
    distributed.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
