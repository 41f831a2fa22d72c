"""`doppel translate` over a folder of photos, beside the loop that one would write with torch.

``python -m bench.translate [COUNT]`` takes fewer than the 1,000 photos.
"""

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from app.geometry import STANDARD
from bench.machine import cpu
from models.store.catalog import Catalog
from worker.supervisor import role_command

PHOTO = Path("docs/images/sample-photo.jpg")
SIZE = (1024, 768)  # px
VARIETY = 20  # different photos; the others are links to them
MODEL = "style_monet-lite"
LOOP_SHARE = 5  # the loop is given a part of the photos, and its start is not counted


def folder(count: int = 1000) -> None:
    """Pictures per second and CPU time of the command with its start, and of the loop without."""
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        _write_photos(photos, count)
        command = [*role_command("translate"), str(photos), "-m", MODEL, "-o", f"{place}/painted"]
        started, cpu_before_s = time.perf_counter(), _children_cpu_s()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=os.environ | {"DOPPEL_DEVICE": "cpu"})
        rate, cpu_s = count / (time.perf_counter() - started), (_children_cpu_s() - cpu_before_s) / count
        if len(list(Path(place, "painted").iterdir())) != count:
            raise SystemExit("some photos were not translated")
        loop_rate, loop_cpu_s = _loop_figures(
            sorted(photos.iterdir())[: max(VARIETY, count // LOOP_SHARE)], Path(place)
        )
    width, height = SIZE
    print(f"{count} photos of {width} × {height} by {MODEL}, JPEG in, PNG out ({cpu()})\n")
    print("| | pictures/s | CPU s a picture |")
    print("| --- | ---: | ---: |")
    print(f"| doppel translate | {rate:.2f} | {cpu_s:.2f} |")
    print(f"| a loop with torch | {loop_rate:.2f} | {loop_cpu_s:.2f} |")
    print(f"| ratio | {rate / loop_rate:.2f} × | {cpu_s / loop_cpu_s:.2f} × |")


def _write_photos(photos: Path, count: int) -> None:
    """Different parts of a photo, enlarged, with the grain that enlarging takes away."""
    photos.mkdir()
    random = np.random.default_rng(0)
    with Image.open(PHOTO) as image:
        side = 0.8
        for n in range(min(count, VARIETY)):
            left, top = random.uniform(0, 1 - side, 2) * image.size
            box = (left, top, left + side * image.width, top + side * image.height)
            part = np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC, box=box))
            noisy = np.clip(part + random.normal(0, 4, part.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(photos / f"{n:04}.jpg", quality=90)
    for n in range(VARIETY, count):
        os.link(photos / f"{n % VARIETY:04}.jpg", photos / f"{n:04}.jpg")


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _loop_figures(photos: list[Path], place: Path) -> tuple[float, float]:
    """Pictures per second of the loop, in a process of its own, and CPU seconds a picture."""
    spawning = multiprocessing.get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_loop, args=(photos, place, sender))
    process.start()
    seconds, cpu_s = receiver.recv()
    process.join()
    return len(photos) / seconds, cpu_s / len(photos)


def _loop(photos: list[Path], place: Path, sender: Connection) -> None:
    """Open, resize, network, save; as plainly as can be. Sends the seconds that it took, on the clock and of CPU."""
    import torch

    from models.cyclegan import ResnetGenerator
    from models.weights.doctor import load

    model = Catalog(Path("weights"), place / "none").get(MODEL)
    assert model.weights is not None
    network = ResnetGenerator(**model.card.network)
    network.load_state_dict(load(model.weights).state)
    network.eval()
    (place / "looped").mkdir()
    started, cpu_before_s = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        for photo in photos:
            image = Image.open(photo).convert("RGB")
            scale = STANDARD / min(image.size)
            width, height = (round(side * scale / 4) * 4 for side in image.size)
            pixels = torch.from_numpy(np.array(image.resize((width, height), Image.Resampling.BICUBIC)))
            made = network(pixels.permute(2, 0, 1)[None] / 127.5 - 1)[0]
            levels = ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(levels).save(place / "looped" / f"{photo.stem}.png")
    sender.send((time.perf_counter() - started, time.process_time() - cpu_before_s))


if __name__ == "__main__":
    folder(*map(int, sys.argv[1:]))
