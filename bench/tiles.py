"""Large pictures: seams of tiles, how close they come to the untiled picture, time and memory of 24 megapixels.

``python -m bench.tiles MEGAPIXELS`` takes a photo of another size through the service, and leaves the seams out.
"""

import io
import itertools
import math
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from PIL import Image, ImageFilter

from app.settings import Settings
from bench.machine import cpu
from bench.memory import resident_mb
from models.device import ServingDevice
from models.pictures import Picture
from models.serving.engines import translator
from models.serving.probe import psnr_db
from models.serving.tiles import Tiling, tiles_of, translate_in_tiles
from models.store.catalog import Catalog
from models.store.model_card import CycleGANNetwork
from tests.processes import ROOT, eventually, free_port, process, ready
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

MODELS = ("style_monet-lite", "monet2photo-lite")
# Width and height, and most pixels of a tile; None: as in service. Small tiles have borders enough to measure.
CASES: tuple[tuple[int, int, int | None], ...] = ((1536, 1024, 480**2), (2560, 1920, None))
POLL_S = 0.5


def large_pictures() -> None:
    """Print both tables."""
    seams()
    megapixels()


def photo(width: int, height: int) -> Picture:
    """A photo of this size: the sample enlarged, with its own fine detail added all over."""
    sample = Image.open(ROOT / "docs/images/sample-photo.jpg").convert("RGB")
    blurred = sample.filter(ImageFilter.GaussianBlur(8))
    detail = np.asarray(sample).astype(np.float32) - np.asarray(blurred)
    rows, columns = (-(-side // have) for side, have in zip((height, width), detail.shape[:2], strict=True))
    pair = np.concatenate([detail, detail[:, ::-1]], axis=1)  # without an edge where it ends and begins again
    four = np.concatenate([pair, pair[::-1]])
    everywhere = np.tile(four, (-(-rows // 2), -(-columns // 2), 1))[:height, :width]
    large = np.asarray(sample.resize((width, height), Image.Resampling.BICUBIC))
    picture: Picture = (large + everywhere).clip(0, 255).astype(np.uint8)
    return picture


def seams() -> None:
    """Pictures that fit memory, whole and in tiles: what is different, and whether borders show."""
    print(f"\nTiles against the whole picture, {cpu()}\n")
    print("| picture | model | tiles | seam measure whole | in tiles | ratio | to the whole picture | most levels |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (width, height, tile_pixels), name in itertools.product(CASES, MODELS):
        picture = photo(width, height)
        model = Catalog(Settings().weights_dir, Path("var")).get(name)
        network = translator(model, ServingDevice("cpu"))
        card = CycleGANNetwork.model_validate(model.card.network)
        tiling = Tiling.of(card, margin=model.card.margin, number_bytes=network.number_bytes)
        tiling = replace(tiling, step_pixels=tile_pixels or tiling.step_pixels)
        whole, _ = network(picture[np.newaxis])
        made = np.zeros_like(picture)
        for _ in translate_in_tiles(network, picture, made, tiling, name=name):
            pass
        windows = tiles_of(height + 2 * tiling.margin, width + 2 * tiling.margin, tiling)
        rows = {window.kept_rows.start - tiling.margin for window in windows} - {0}
        columns = {window.kept_columns.start - tiling.margin for window in windows} - {0}
        expected, actual = (seam_measure(each, rows, columns) for each in (whole[0], made))
        most = int(np.abs(made.astype(int) - whole[0]).max())
        print(
            f"| {width} × {height} | {name} | {len(windows)} | {expected:.3f} | {actual:.3f} | {actual / expected:.3f} "
            f"| {psnr_db(made, whole[0]):.1f} dB | {most} |"
        )


def seam_measure(picture: Picture, rows: set[int], columns: set[int]) -> float:
    """The mean difference across these borders, by that between all other neighbours; 1: no border shows."""
    across, inside = [], []
    for axis, borders in ((0, rows), (1, columns)):
        lines = np.abs(np.diff(picture.astype(np.float32), axis=axis)).mean(axis=(1 - axis, 2))
        at_border = np.isin(np.arange(1, len(lines) + 1), list(borders))
        across.append(lines[at_border])
        inside.append(lines[~at_border])
    return float(np.concatenate(across).mean() / np.concatenate(inside).mean())


def megapixels(count: int = 24) -> None:
    """A photo of so many megapixels through the service."""
    file = io.BytesIO()
    side = math.isqrt(count * 1_000_000 // 6)
    width, height = 3 * side, 2 * side
    Image.fromarray(photo(width, height)).save(file, "JPEG", quality=90)
    print(f"\n{width} × {height}, a JPEG of {file.tell() / 1e6:.1f} MB, {cpu()}\n")
    print("| model | time | peak of the worker | of the API | of Redis | progress was seen at |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in MODELS:
        _one_through_the_service(name, file.getvalue())


def _one_through_the_service(model: str, data: bytes) -> bytes:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        redis_server = EmbeddedRedis(Path(folder))
        redis_process = redis_server.start()
        settings = {"PORT": str(port), "REDIS_URL": redis_server.url, "OFFLINE": "1", "DATA_DIR": folder}
        env = os.environ | {f"DOPPEL_{key}": value for key, value in settings.items()} | {"DOPPEL_PRELOAD": model}
        with (
            process(*role_command("api"), env=env) as api,
            process(*role_command("worker"), env=env) as worker,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client,
        ):
            eventually(lambda: ready(client), within_s=60)
            started = time.perf_counter()
            fields = {"model": model, "resolution": "native", "wait": "0"}
            job = client.post("/translate", files={"image": data}, data=fields).raise_for_status().json()
            shares = {0.0}
            while job["status"] in ("queued", "running"):
                time.sleep(POLL_S)
                job = client.get(job["links"]["self"]).json()
                shares.add(job["progress"])
            made = client.get(job["links"]["image"], headers={"Accept": "image/jpeg"}).raise_for_status().content
            took_s = time.perf_counter() - started
            print(
                f"| {model} | {took_s:.0f} s | {resident_mb(worker.pid):.0f} MB | {resident_mb(api.pid):.0f} MB "
                f"| {resident_mb(redis_process.pid):.0f} MB | {len(shares)} values |"
            )
        redis_server.stop()
    return made


if __name__ == "__main__":
    megapixels(int(sys.argv[1]))
