"""Comparisons: which runs belong together, their table, and their pictures side by side."""

import contextlib
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel, ValidationError

from app import images, video
from app.errors import BadRequest, NotFound, NotReady
from app.runs import Runs
from app.training_schemas import (
    MAX_COMPARED,
    ComparedRun,
    Comparison,
    ComparisonState,
    CycleGANRequest,
    StarGANRequest,
    TrainingRun,
)
from models.training.film import FILM_FILE, FPS
from models.training.run_folder import RunFolder
from models.training.runs import UnknownRun
from models.training.sheet import rows_of
from models.training.status import RunState, now

MAX_SIDE = 16_000  # px, a little less than WebP can hold
LABEL_PX = 220  # width of the column of labels
TEXT_PX = 14

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

    def start(self, asked: Comparison) -> str:
        """Queue a run for every variant, once all of them were found acceptable; the comparison's id.

        Raises:
            BadRequest: there are too few or too many variants, or one is not acceptable.
        """
        own_options = _variants(asked)
        family = CycleGANRequest if asked.family == "cyclegan" else StarGANRequest
        prepared = []
        for own in own_options:
            try:
                prepared.append(self._runs.prepare(family.model_validate(asked.base | own)))
            except ValidationError as error:
                reasons = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
                raise BadRequest(f"{label_of(own)}: {reasons}.") from error
        self._runs.require_trainer()
        comparison_id = uuid4().hex[:12]
        record = Record(family=asked.family, created_at=now(), runs=[])
        for ready, own in zip(prepared, own_options, strict=True):
            # Written before each run is queued, so that none trains on without a comparison that knows of it.
            run_id = self._runs.create(ready, comparison=comparison_id)
            record.runs.append(Member(id=run_id, label=label_of(own), options=own))
            self._write(comparison_id, record)
            self._runs.submit(run_id)
        return comparison_id

    def _write(self, comparison_id: str, record: Record) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        part = self._root / f".{comparison_id}.part"
        part.write_text(record.model_dump_json(indent=1))
        part.rename(self._root / f"{comparison_id}.json")

    def _record(self, comparison_id: str) -> Record:
        path = self._root / f"{comparison_id}.json"
        if not _ID.fullmatch(comparison_id) or not path.is_file():
            raise NotFound(f"There is no comparison {comparison_id[:100]!r}.")
        return Record.model_validate_json(path.read_bytes())

    def view(self, comparison_id: str) -> ComparisonState:
        """The table as it is now; runs that were removed are left out.

        Raises:
            NotFound: there is no such comparison, or nothing is left of it.
        """
        record, folders = self._folders(comparison_id)
        found = [(member, self._runs.view(member.id)) for member, _ in folders]
        if not found:
            raise NotFound(f"All runs of the comparison {comparison_id!r} were removed.")
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
        sheets = [(member, rows_of(folder)) for member, folder in folders if folder.samples()]
        if not sheets:
            raise NotReady("No run of this comparison has a sample picture yet.")
        strips: list[tuple[str, images.Picture]] = []
        for name in sheets[0][1]:
            for n, (member, rows) in enumerate(sheets):
                row = rows.get(name)
                if row is None:
                    continue
                if n == 0:
                    strips.append((name, row.inputs))
                strips.append((member.label, row.outputs))
        sheet = _labelled(strips)
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
        films = [folder.path / FILM_FILE for _, folder in folders if (folder.path / FILM_FILE).is_file()]
        if record.family != "stargan_v2" or not films:
            raise NotReady("A video is there once a StarGAN run of the comparison has come to its end.")
        reels = [_frames(film) for film in films]
        length = min(map(len, reels))
        width = max(reel[0].shape[1] for reel in reels)
        return video.encode_mp4(
            [np.concatenate([_widened(reel[n], width) for reel in reels]) for n in range(length)], FPS
        )


def _variants(asked: Comparison) -> list[dict[str, Any]]:
    if bool(asked.variants) == bool(asked.grid):
        raise BadRequest("Send either variants or a grid" + (", not both." if asked.grid else "."))
    count = len(asked.variants) or math.prod(map(len, asked.grid.values()))
    if not 2 <= count <= MAX_COMPARED:
        raise BadRequest(f"These are {count} runs; 2 to {MAX_COMPARED} can be compared.")
    return asked.variants or [
        dict(zip(asked.grid, values, strict=True)) for values in itertools.product(*asked.grid.values())
    ]


def label_of(own: dict[str, Any]) -> str:
    """A run's own options in a few words."""
    label = ", ".join(f"{name} {json.dumps(value)}" for name, value in own.items()) or "as the base"
    return label.encode(errors="replace").decode()[:500]


def _together(runs: Sequence[TrainingRun]) -> RunState:
    """The state of all: under way while any is, and no better than the worst when all have ended."""
    states = {run.status for run in runs}
    for state in (RunState.RUNNING, RunState.QUEUED, RunState.FAILED, RunState.STOPPED):
        if state in states:
            return state
    return RunState.SUCCEEDED


def _labelled(strips: list[tuple[str, images.Picture]]) -> images.Picture:
    """Strips below one another, each with its label at the left."""
    width = max(strip.shape[1] for _, strip in strips)
    height = sum(strip.shape[0] for _, strip in strips)
    sheet = Image.new("RGB", (LABEL_PX + width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_PX)
    top = 0
    for label, strip in strips:
        draw.multiline_text((6, top + 6), label.replace(", ", "\n"), fill="black", font=font)
        sheet.paste(Image.fromarray(strip), (LABEL_PX, top))
        top += strip.shape[0]
    return np.asarray(sheet)


def _widened(frame: images.Picture, width: int) -> images.Picture:
    """The frame with black beside it, up to ``width`` px: runs may be of different sizes."""
    widened: images.Picture = np.pad(frame, ((0, 0), (0, width - frame.shape[1]), (0, 0)))
    return widened


def _frames(film: Path) -> list[images.Picture]:
    with Image.open(io.BytesIO(film.read_bytes())) as opened:
        frames = []
        for n in range(getattr(opened, "n_frames", 1)):
            opened.seek(n)
            frames.append(np.asarray(opened.convert("RGB")))
        return frames
