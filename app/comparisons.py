"""Comparisons: which runs belong together, their table, and their pictures side by side."""

import contextlib
import itertools
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel, ValidationError

from app import images, video
from app.errors import NotReady, sentence
from app.preparation import Prepared
from app.training_runs import UNREADABLE, Runs
from app.training_schemas import (
    MAX_COMPARED,
    ComparedForecast,
    ComparedRun,
    Comparison,
    ComparisonForecast,
    ComparisonState,
    CycleGANRequest,
    StarGANRequest,
    TrainingRun,
)
from models.errors import Conflict, Invalid, NotFound, UnknownRun
from models.store.film import FILM_FILE, FPS
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, now
from models.store.sheet import rows_of

MAX_SIDE = 16_000  # px, a little less than WebP can hold
LABEL_PX = 220  # width of the column of labels
TEXT_PX = 14

log = logging.getLogger("doppel.app")

_ID = re.compile(r"[0-9a-f]{12}")


class Member(BaseModel):
    """A run of a comparison."""

    id: str
    label: str
    options: dict[str, Any]


class Record(BaseModel):
    """A comparison as it is kept."""

    family: Literal["cyclegan", "stargan_v2"]
    created_at: datetime
    runs: list[Member]


class Comparisons:
    """The comparisons in DATA_DIR/comparisons/, a file each; their runs are in the runs' place."""

    def __init__(self, data_dir: Path, runs: Runs) -> None:
        self._root = data_dir / "comparisons"
        self._runs = runs

    def forecast(self, asked: Comparison) -> ComparisonForecast:
        """What the comparison would be.

        Raises:
            Invalid: there are too few or too many variants, or one is not acceptable.
        """
        runs = [ComparedForecast(label=label_of(own), forecast=ready.forecast) for own, ready in self._prepared(asked)]
        return ComparisonForecast(seconds=sum(run.forecast.seconds for run in runs), runs=runs)

    def _prepared(self, asked: Comparison) -> list[tuple[dict[str, Any], Prepared]]:
        """Every variant with what was found when it was checked."""
        family = CycleGANRequest if asked.family == "cyclegan" else StarGANRequest
        prepared = []
        for own in _variants(asked):
            try:
                prepared.append((own, self._runs.prepare(family.model_validate(asked.base | own))))
            except ValidationError as error:
                raise Invalid(f"{label_of(own)}: {sentence(error.errors())}") from error
        return prepared

    def start(self, asked: Comparison) -> str:
        """Queue a run for every variant, once all of them were found acceptable; the comparison's id.

        Raises:
            Invalid: there are too few or too many variants, or one is not acceptable.
        """
        prepared = self._prepared(asked)
        self._runs.require_trainer()
        comparison_id = uuid4().hex[:12]
        record = Record(family=asked.family, created_at=now(), runs=[])
        pictures = {dataset: self._runs.pictures(dataset) for dataset in {ready.dataset for _, ready in prepared}}
        queued = 0
        try:
            for own, ready in prepared:
                run_id = self._runs.create(ready, pictures=pictures[ready.dataset], comparison=comparison_id)
                record.runs.append(Member(id=run_id, label=label_of(own), options=own))
            self._write(comparison_id, record)
            for member in record.runs:
                self._runs.submit(member.id)
                queued += 1
        except Exception as error:
            if queued:  # some may train by now; the others say that they lost their turn, and can be resumed
                log.error("only %d runs of comparison %s were queued: %s", queued, comparison_id, error)
                return comparison_id
            for member in record.runs:  # leave nothing of it
                self._runs.store.remove(member.id)
            (self._root / f"{comparison_id}.json").unlink(missing_ok=True)
            raise
        return comparison_id

    def _write(self, comparison_id: str, record: Record) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        part = self._root / f".{comparison_id}.part"
        try:
            part.write_text(record.model_dump_json(indent=1))
            part.rename(self._root / f"{comparison_id}.json")
        finally:
            part.unlink(missing_ok=True)

    def _record(self, comparison_id: str) -> Record:
        path = self._root / f"{comparison_id}.json"
        if not _ID.fullmatch(comparison_id) or not path.is_file():
            raise NotFound(f"There is no comparison {comparison_id[:100]!r}.")
        return Record.model_validate_json(path.read_bytes())

    def all(self) -> list[ComparisonState]:
        """Every comparison of which a run is left, newest first."""
        found = []
        for path in self._root.glob("*.json") if self._root.is_dir() else ():
            try:
                if self._folders(path.stem)[1]:
                    found.append(self.view(path.stem))
            except (NotFound, *UNREADABLE) as error:
                log.warning("comparison %s is left out of the list: %s", path.stem, error)
        return sorted(found, key=lambda comparison: comparison.created_at, reverse=True)

    def sweep(self) -> None:
        """Forget the comparisons whose runs were removed one by one."""
        for path in self._root.glob("*.json") if self._runs.store.root.is_dir() else ():
            with contextlib.suppress(NotFound, ValidationError, FileNotFoundError):  # another process sweeps too
                if not self._folders(path.stem)[1]:
                    path.unlink()

    def stop(self, comparison_id: str) -> None:
        """Have every run of it stop that has not ended.

        Raises:
            NotFound: there is no such comparison.
        """
        for member in self._record(comparison_id).runs:
            with contextlib.suppress(Conflict, *UNREADABLE):  # ended, removed or damaged
                self._runs.stop(member.id, force=False)

    def view(self, comparison_id: str) -> ComparisonState:
        """The table as it is now; runs that were removed, or are damaged, are left out.

        Raises:
            NotFound: there is no such comparison, or nothing is left of it.
        """
        record = self._record(comparison_id)
        found = []
        for member in record.runs:
            with contextlib.suppress(*UNREADABLE):
                found.append((member, self._runs.view(member.id)))
        if not found:
            raise NotFound(f"No run of the comparison {comparison_id!r} is left that can be read.")
        rows = [
            ComparedRun(
                id=member.id,
                label=member.label,
                options=member.options,
                status=run.status,
                step=run.step,
                total_steps=run.total_steps,
                smoothed=run.smoothed,
                quality=run.quality[-1].figures if run.quality else {},
                alarms=run.alarms,
                links=run.links,
            )
            for member, run in found
        ]
        base = f"/training/compare/{comparison_id}"
        links = {"self": base, "picture": f"{base}/picture"}
        if record.family == "stargan_v2":
            links["video"] = f"{base}/video"
        return ComparisonState(
            id=comparison_id,
            family=record.family,
            created_at=record.created_at,
            status=_together([run for _, run in found]),
            runs=rows,
            links=links,
        )

    def remove(self, comparison_id: str) -> None:
        """Remove a comparison with its runs.

        Raises:
            NotFound: there is no such comparison.
            Conflict: a run has not ended; nothing is removed.
        """
        store = self._runs.store
        with contextlib.ExitStack() as changes:
            there = []
            for member in sorted(self._record(comparison_id).runs, key=lambda member: member.id):
                with contextlib.suppress(UnknownRun):
                    changes.enter_context(store.changing(member.id))
                    there.append(member.id)
            if busy := [run_id for run_id in there if not self._runs.can_be_removed(run_id)]:
                raise Conflict(f"These runs have not ended: {', '.join(busy)}; stop them first.")
            for run_id in there:
                store.remove(run_id)
            (self._root / f"{comparison_id}.json").unlink(missing_ok=True)

    def _folders(self, comparison_id: str) -> tuple[Record, list[tuple[Member, RunFolder]]]:
        """The comparison and the folders of its runs, but for those that were removed."""
        record = self._record(comparison_id)
        folders = []
        for member in record.runs:
            with contextlib.suppress(UnknownRun):
                folders.append((member, self._runs.store.folder(member.id)))
        return record, folders

    def picture(self, comparison_id: str, media_type: str) -> bytes:
        """The same inputs on top, and below them, run by run, what its generators make of them.

        Raises:
            NotFound: there is no such comparison.
            NotReady: no run has a sample picture yet.
        """
        _, folders = self._folders(comparison_id)
        if not folders:
            raise NotFound(f"All runs of the comparison {comparison_id!r} were removed.")
        shown = [(member, folder) for member, folder in folders if folder.samples()]
        groups: dict[str, list[tuple[str, images.Picture]]] = {}  # what is done → labelled strips
        for member, folder in shown:
            try:
                rows = rows_of(folder)
            except UNREADABLE as error:
                log.warning("run %s is not shown: %s", member.id, error)
                continue
            most = MAX_SIDE // (len(rows) * (len(shown) + 1))  # px, of a strip
            for name, row in rows.items():
                strips = groups.setdefault(name, [(name, _lowered(row.inputs, most))])
                strips.append((member.label, _lowered(row.outputs, most)))
        if not groups:
            raise NotReady("No run of this comparison has a sample picture yet.")
        sheet = _labelled([strip for strips in groups.values() for strip in strips])
        if max(sheet.shape) > MAX_SIDE:
            scale = MAX_SIDE / max(sheet.shape)
            sheet = images.resized(sheet, int(sheet.shape[1] * scale), int(sheet.shape[0] * scale))
        return images.encode(sheet, media_type)

    def video(self, comparison_id: str) -> bytes:
        """MP4 of every run's way from reference to reference, one above the other.

        Raises:
            NotFound: there is no such comparison.
            NotReady: no run has come to its end yet, or the runs are not StarGAN's.
        """
        record, folders = self._folders(comparison_id)
        if not folders:
            raise NotFound(f"All runs of the comparison {comparison_id!r} were removed.")
        films = [folder.path / FILM_FILE for _, folder in folders if (folder.path / FILM_FILE).is_file()]
        if record.family != "stargan_v2" or not films:
            raise NotReady("A video is there once a StarGAN run of the comparison has come to its end.")
        with contextlib.ExitStack() as reels:
            return video.encode_mp4(_above_one_another([reels.enter_context(Image.open(film)) for film in films]), FPS)


def _variants(asked: Comparison) -> list[dict[str, Any]]:
    if bool(asked.variants) == bool(asked.grid):
        raise Invalid("Send either variants or a grid" + (", not both." if asked.grid else "."))
    count = len(asked.variants) or math.prod(map(len, asked.grid.values()))
    if not 2 <= count <= MAX_COMPARED:
        raise Invalid(f"These are {count} runs; 2 to {MAX_COMPARED} can be compared.")
    return asked.variants or [
        dict(zip(asked.grid, values, strict=True)) for values in itertools.product(*asked.grid.values())
    ]


def label_of(own: dict[str, Any]) -> str:
    """A run's own options in a few words."""
    label = ", ".join(f"{name} {json.dumps(value)}" for name, value in own.items()) or "as the base"
    return label.encode(errors="replace").decode()[:500]


def _together(runs: Sequence[TrainingRun]) -> RunState:
    """The state of all: under way from the first's start to the last's end, then no better than the worst."""
    states = {run.status for run in runs}
    if states == {RunState.QUEUED}:
        return RunState.QUEUED
    for state in (RunState.FAILED, RunState.STOPPED):
        if state in states and all(one.ended for one in states):
            return state
    return RunState.SUCCEEDED if states == {RunState.SUCCEEDED} else RunState.RUNNING


def _labelled(strips: list[tuple[str, images.Picture]]) -> images.Picture:
    """Strips below one another, each with its label at the left."""
    width = max(strip.shape[1] for _, strip in strips)
    font = ImageFont.load_default(TEXT_PX)
    texts = [label.replace(", ", "\n") for label, _ in strips]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    needed = [int(measure.multiline_textbbox((6, 6), text, font=font)[3]) + 6 for text in texts]
    heights = [max(strip.shape[0], least) for (_, strip), least in zip(strips, needed, strict=True)]
    sheet = Image.new("RGB", (LABEL_PX + width, sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for text, (_, strip), height in zip(texts, strips, heights, strict=True):
        draw.multiline_text((6, top + 6), text, fill="black", font=font)
        sheet.paste(Image.fromarray(strip), (LABEL_PX, top))
        top += height
    return np.asarray(sheet)


def _widened(frame: images.Picture, width: int) -> images.Picture:
    """The frame with black beside it, up to ``width`` px: runs may be of different sizes."""
    widened: images.Picture = np.pad(frame, ((0, 0), (0, width - frame.shape[1]), (0, 0)))
    return widened


def _lowered(strip: images.Picture, height: int) -> images.Picture:
    """A copy of its own of the strip, at most ``height`` px high; what it was cut from need not be kept for it."""
    share = min(1.0, height / strip.shape[0])
    return strip.copy() if share == 1 else images.resized(strip, int(strip.shape[1] * share), height)


def _above_one_another(films: Sequence[Image.Image]) -> Iterator[images.Picture]:
    """Frame by frame, as long as all films last."""
    width = max(film.width for film in films)
    for n in range(min(getattr(film, "n_frames", 1) for film in films)):
        for film in films:
            film.seek(n)
        yield np.concatenate([_widened(np.asarray(film.convert("RGB")), width) for film in films])
