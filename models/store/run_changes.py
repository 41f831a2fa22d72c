"""What was changed about a run after it was started: its length, when it is trained further, and where its inputs are.

``options.json`` stays as it was written. Each change is added to ``changes.json`` beside it, and the run's options are
the first with all changes made. Loads no torch.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from models.errors import Invalid, RunFolderError
from models.store.files import replace_text
from models.store.options import LOCAL_OPTIONS, Options, StarGANOptions
from models.store.run_choices import LENGTHS
from models.store.run_status import now

CHANGES_FILE = "changes.json"

# Whatever else changed, the run would not be the one that it is from its first step to its last.
_OF_ALL = ("minutes", "sample_every", "save_every", "keep_checkpoints", "quality_every")
CHANGEABLE = {
    "cyclegan": ("epochs", "epochs_decay", *_OF_ALL),
    "cut": ("epochs", "epochs_decay", *_OF_ALL),
    "stargan_v2": ("total_iters", *_OF_ALL),
}
# They don't change a run's result. What it started from does.
PLACES = tuple(name for name in LOCAL_OPTIONS if name not in ("init_from", "init_back_from"))


class Change(BaseModel):
    """Options that have new values from a step on."""

    step: int  # the last one that was done before
    at: datetime
    options: dict[str, Any]
    why: str = ""


_CHANGES = TypeAdapter(list[Change])


def read_changes(run: Path) -> list[Change]:
    """The changes in a run's folder, oldest first.

    Raises:
        RunFolderError: the file is damaged.
    """
    try:
        return _CHANGES.validate_json((run / CHANGES_FILE).read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise RunFolderError(f"The {CHANGES_FILE} of the run {run.name} cannot be understood: {error}") from error


def write_changes(run: Path, changes: list[Change]) -> None:
    """Replace a run's changes."""
    replace_text(run / CHANGES_FILE, _CHANGES.dump_json(changes, indent=1).decode())


def add_change(run: Path, step: int, options: Mapping[str, Any], why: str = "") -> None:
    """Add a change that holds for the steps after ``step``."""
    write_changes(run, [*read_changes(run), Change(step=step, at=now(), options=dict(options), why=why)])


@contextlib.contextmanager
def changing_options(run: Path, step: int, options: Mapping[str, Any]) -> Iterator[None]:
    """Add a change, if there are options in it, for what the block does; taken back if the block fails."""
    before = read_changes(run)
    if options:
        add_change(run, step, options)
    try:
        yield
    except BaseException:
        if options:
            write_changes(run, before)
        raise


def changed(content: dict[str, Any], changes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Options, as JSON holds them, with the changes made. A new length takes the place of minutes, and vice versa."""
    for new in changes:
        if new.get("minutes") is not None:
            content = {name: value for name, value in content.items() if name not in LENGTHS}
        elif not LENGTHS.isdisjoint(new):
            content = content | {"minutes": None}
        content = {**content, **new}
    return content


def with_change(options: Options, new: Mapping[str, Any], *, also: Collection[str] = ()) -> Options:
    """The options of a run with those that it is to be resumed with.

    Args:
        also: options that may change besides those of ``CHANGEABLE``.

    Raises:
        Invalid: one of them can't change, or its value can't be used.
    """
    allowed = (*CHANGEABLE[options.family], *also)
    if fixed := [name for name in new if name not in allowed]:
        raise Invalid(
            f"{', '.join(fixed)}: can't change when a run is resumed. These can: {', '.join(allowed)}. For others, "
            "start a new run from this one's checkpoint with init_from."
        )
    if new.get("minutes") is not None and (lengths := [name for name in new if name in LENGTHS]):
        raise Invalid(f"minutes, {', '.join(lengths)}: give either the time or the length of a run, not both.")
    content = changed(options.model_dump(mode="json"), [new])
    kind: type[Options] = type(options)
    return kind.model_validate(content)


def check_length(options: Options, reached: int, total_steps: int) -> None:
    """Refuse a length that a run has reached already.

    Args:
        reached: the step of its last checkpoint.
        total_steps: of the run with these options.

    Raises:
        Invalid: there would be nothing left to train.
    """
    if total_steps > reached:
        return
    if isinstance(options, StarGANOptions):
        asked, example = f"total_iters {total_steps:,}", f"total_iters {reached + max(1, reached // 2):,}"
    else:
        per_epoch = total_steps / (options.epochs + options.epochs_decay)
        done = reached / per_epoch
        asked = f"epochs {options.epochs:g} and epochs_decay {options.epochs_decay:g} ({total_steps:,} steps)"
        example = f"epochs {done + 10:.4g} and epochs_decay 10 (20 epochs more)"
    raise Invalid(
        f"The run has done {reached:,} steps, and {asked} ask for no more: they count from its first step. Ask for "
        f"example for {example}."
    )
