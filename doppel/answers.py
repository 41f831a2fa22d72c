"""What the API answers: pictures, jobs, training runs."""

import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Picture:
    """A file that the service made: a picture, a video, or a zip of pictures."""

    content: bytes = field(repr=False)
    media_type: str  # "image/png" and so on
    model: str  # the one that ran, which may be the fallback of the one that was asked for
    job_id: str
    seeds: list[int] = field(default_factory=list)  # of the latent codes; sent again, they give the same styles
    notes: str = ""  # remarks on how the pictures were processed; empty if there are none

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file, over one that is there, and return its path.

        Raises:
            OSError: it can't be written.
        """
        Path(path).write_bytes(self.content)
        return Path(path)

    @classmethod
    def of(cls, response: httpx.Response) -> "Picture":
        """The file that an answer carries."""
        seeds = json.loads(response.headers.get("X-Seed", "[]"))
        return cls(
            content=response.content,
            media_type=response.headers["Content-Type"],
            model=response.headers["X-Model"],
            job_id=response.headers["X-Job-Id"],
            seeds=seeds if isinstance(seeds, list) else [seeds],
            notes=response.headers.get("X-Note", ""),
        )


@dataclass(frozen=True)
class Job:
    """A piece of work and its state."""

    id: str
    kind: str  # "translation", "style", "grid", "video", "clip", "dataset", "model" or "fetch"
    status: str  # "queued", "running", "succeeded", "failed" or "canceled"
    position: int | None  # number of jobs ahead of it while it is queued
    progress: float  # 0 to 1
    described: dict[str, Any] = field(repr=False)  # all that the API says of it

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.status not in ("queued", "running")

    @classmethod
    def of(cls, described: dict[str, Any]) -> "Job":
        """The job that the API describes so."""
        known = {name: described[name] for name in ("id", "kind", "status", "position", "progress")}
        return cls(**known, described=described)


@dataclass(frozen=True)
class Run:
    """A training run and its state."""

    id: str
    family: str  # "cyclegan", "cut" or "stargan_v2"
    dataset: str
    status: str  # "queued", "running", "stopped", "succeeded" or "failed"
    step: int
    total_steps: int  # 0 until it has started
    progress: float  # 0 to 1
    eta_s: float | None  # seconds left at the present speed
    losses: dict[str, float]  # of the last step
    described: dict[str, Any] = field(repr=False)  # all that the API says of it

    @property
    def ended(self) -> bool:
        """Whether it neither trains nor waits to; it may be resumed."""
        return self.status not in ("queued", "running")

    @classmethod
    def of(cls, described: dict[str, Any]) -> "Run":
        """The run that the API describes so."""
        names = ("id", "family", "dataset", "status", "step", "total_steps", "progress", "eta_s", "losses")
        return cls(**{name: described[name] for name in names}, described=described)
