"""Publish a model and roll it back, over and over, while clients have pictures made by it.

There are three sets of weights, which the versions take in turn, so a picture tells which one of neighbours made it.
"""

import asyncio
import io
import json
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from bench.service import picture
from bench.stack import Stack, serving
from models.cyclegan import ResnetGenerator
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Catalog
from models.store.files import sha256
from models.store.model_card import ModelCard
from models.store.versions import Versions
from models.weights.doctor import save
from tests.conftest import TINY, add_model

NAME = "published"
SECONDS = 30.0
CLIENTS = 4
WEIGHTS = 3
CHANGE_EVERY_S = 0.2
VERIFIED = 20  # answers whose credentials are read


@dataclass(frozen=True)
class Made:
    """One answer."""

    status: int
    began_at: float
    ended_at: float
    body: bytes


class _Publisher:
    """Publishes versions by turns with rolling back, and remembers which one was in service when."""

    def __init__(self, stack: Stack, template: Path) -> None:
        self._stack = stack
        self._template = template
        self._versions = Versions(Catalog(template.parent, stack.data_dir), stack.data_dir)
        self.changes: list[tuple[float, float, int]] = []  # begun, done, version in service from then on

    def publish(self) -> int:
        begun = time.monotonic()
        version = self._versions.add(NAME, self._write).version
        assert version is not None, "a published model has a version"
        self.changes.append((begun, time.monotonic(), version))
        return version

    def roll_back(self) -> None:
        begun = time.monotonic()
        answer = httpx.post(f"{self._stack.url}/models/{NAME}/rollback", timeout=60, trust_env=False)
        answer.raise_for_status()
        version = self._versions.current(NAME)
        assert version is not None, "it was published"
        self.changes.append((begun, time.monotonic(), version))

    def in_service(self, made: Made) -> set[int]:
        """The versions that were in service at some time between a request and its answer."""
        ends = [done for _, done, _ in self.changes[1:]] + [float("inf")]
        return {
            version
            for (begun, _, version), ended in zip(self.changes, ends, strict=True)
            if begun < made.ended_at and ended > made.began_at
        }

    def _write(self, folder: Path, number: int) -> ModelCard:
        shutil.copytree(self._template, folder)
        torch.manual_seed(number % WEIGHTS)
        save(ResnetGenerator(**TINY).state_dict(), folder / WEIGHTS_FILE)
        card = json.loads((folder / CARD_FILE).read_text()) | {"name": NAME, "version": number}
        card["files"] = [{"name": WEIGHTS_FILE, "sha256": sha256(folder / WEIGHTS_FILE)}]
        model = ModelCard.model_validate(card)
        (folder / CARD_FILE).write_text(model.text())
        return model


def publishing(seconds: str = str(SECONDS)) -> None:
    """Failed requests, answers of a version that was not in service, and credentials that name another version."""
    with tempfile.TemporaryDirectory() as folder, serving(max_batch=8) as stack:
        template = add_model(Path(folder), "template", ready=True)
        publisher = _Publisher(stack, template)
        known = _expected(stack, publisher)
        made = asyncio.run(_under_load(stack, publisher, float(seconds)))
        good = [one for one in made if one.status == 200]
        makers = [known.get(_pixels(one.body)) for one in good]
        wrong = sum(
            maker is not None and maker not in {version % WEIGHTS for version in publisher.in_service(one)}
            for one, maker in zip(good, makers, strict=True)
        )
        looked_at = range(0, len(good), max(1, len(good) // VERIFIED))
        misnamed = 0
        for number in looked_at:
            named = _named_version(stack, good[number].body)
            misnamed += named not in publisher.in_service(good[number]) or named % WEIGHTS != makers[number]
    statuses = Counter(one.status for one in made)
    print(
        f"{len(publisher.changes)} changes of version in {seconds} s, {len(made)} requests: {dict(statuses)}. "
        f"Made by a version that was not in service: {wrong}; by none or by several: {makers.count(None)}; "
        f"credentials that name another version: {misnamed} of {len(looked_at)}."
    )


def _expected(stack: Stack, publisher: _Publisher) -> dict[bytes, int]:
    """What each set of weights makes of the picture: its pixels → version modulo ``WEIGHTS``."""
    known = {}
    for _ in range(WEIGHTS):
        version = publisher.publish()
        answer = httpx.post(f"{stack.url}/translate", **_request(), timeout=60, trust_env=False).raise_for_status()
        known[_pixels(answer.content)] = version % WEIGHTS
    assert len(known) == WEIGHTS, "two versions make the same picture"
    return known


async def _under_load(stack: Stack, publisher: _Publisher, seconds: float) -> list[Made]:
    made: list[Made] = []
    until = time.monotonic() + seconds

    async def client() -> None:
        async with httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as connection:
            while time.monotonic() < until:
                began_at = time.monotonic()
                answer = await connection.post("/translate", **_request())
                made.append(Made(answer.status_code, began_at, time.monotonic(), answer.content))

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    while time.monotonic() < until:
        for change in (publisher.publish, publisher.publish, publisher.roll_back, publisher.roll_back):
            await asyncio.sleep(CHANGE_EVERY_S)
            await asyncio.to_thread(change)
    await asyncio.gather(*clients)
    return made


def _request() -> dict[str, dict[str, object]]:
    files = {"image": picture(64)}
    return {"files": files, "data": {"model": NAME, "resolution": "64"}, "headers": {"Accept": "image/png"}}


def _pixels(body: bytes) -> bytes:
    with Image.open(io.BytesIO(body)) as shown:
        return np.asarray(shown.convert("RGB")).tobytes()


def _named_version(stack: Stack, body: bytes) -> int:
    answer = httpx.post(f"{stack.url}/verify", files={"image": body}, timeout=60, trust_env=False)
    return int(answer.raise_for_status().json()["version"])
