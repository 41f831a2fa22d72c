"""What it costs to encode a result: our PNG beside Pillow's, JPEG and WebP, in time and size."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from app import images
from bench.machine import cpu
from models.pictures import Picture
from models.pictures.png import encode_png

PAINTED = Path("docs/images/sample-photo-style_monet.jpg")  # made by a model, as results are
SIZES = ((256, 256), (512, 384), (1024, 768))
ROUNDS = 15


def encoding() -> None:
    """CPU time of one thread and size for a translated picture, as a Markdown table."""
    print(f"Encoding a translated picture, CPU time of one thread ({cpu()})\n")
    print("| picture | encoder | ms | × Pillow level 1 | KiB | × Pillow level 1 |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for width, height in SIZES:
        picture = _picture(width, height)
        _require_lossless(picture)
        spent_ms, sizes = _measured(picture)
        for name in spent_ms:
            print(
                f"| {width} × {height} | {name} | {spent_ms[name]:.2f} | {spent_ms[name] / spent_ms[BEFORE]:.2f} "
                f"| {sizes[name] / 1024:.0f} | {sizes[name] / sizes[BEFORE]:.2f} |"
            )


def _pillow(level: int) -> Callable[[Picture], bytes]:
    def encode(picture: Picture) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG", compress_level=level)
        return file.getvalue()

    return encode


def _as(media_type: str) -> Callable[[Picture], bytes]:
    return lambda picture: images.encode(picture, media_type)


BEFORE = "PNG, Pillow level 1"
ENCODERS: dict[str, Callable[[Picture], bytes]] = {
    "PNG": encode_png,
    BEFORE: _pillow(1),
    "PNG, Pillow level 6": _pillow(6),
    "JPEG": _as("image/jpeg"),
    "WebP": _as("image/webp"),
}


def _picture(width: int, height: int) -> Picture:
    """The middle of the painted photo in this size, with the grain that enlarging takes away."""
    with Image.open(PAINTED) as image:
        scale = max(width / image.width, height / image.height)
        scaled = image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    part = np.asarray(scaled.crop((left, top, left + width, top + height)))
    grain = np.random.default_rng(0).normal(0, 2, (height, width, 1))
    return np.clip(np.rint(part + grain), 0, 255).astype(np.uint8)


def _require_lossless(picture: Picture) -> None:
    if (np.asarray(Image.open(io.BytesIO(encode_png(picture)))) != picture).any():
        raise SystemExit("a PNG gives back other pixels")


def _measured(picture: Picture) -> tuple[dict[str, float], dict[str, int]]:
    """The least time of each encoder, in turn with the others, in ms; and the size of its file in bytes."""
    spent_ms: dict[str, list[float]] = {name: [] for name in ENCODERS}
    sizes = {}
    for _ in range(ROUNDS):
        for name, encode in ENCODERS.items():
            started = time.thread_time()
            sizes[name] = len(encode(picture))
            spent_ms[name].append((time.thread_time() - started) * 1000)
    return {name: min(times) for name, times in spent_ms.items()}, sizes


if __name__ == "__main__":
    encoding()
