"""Encode frames as video files that browsers play."""

import io
import itertools
import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from models.pictures import Picture
from models.pictures.marks import GENERATED_XMP

H264_QUALITY = "18"  # constant rate factor: lower is better, 18 is visually lossless
# The box in which MP4 files carry XMP (Adobe's XMP specification, part 3).
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def encode_mp4(frames: Iterable[Picture], fps: int) -> bytes:
    """Encode frames (H, W, 3), uint8 RGB, of one shape with even sides, as H.264 in yuv420p; marked as generated."""
    import av  # large, and most API processes never encode a video

    others = iter(frames)
    first = next(others)
    height, width, _ = first.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        # With the index in front, playback starts before the download has finished.
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": H264_QUALITY}
            for frame in itertools.chain([first], others):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return marked(path.read_bytes())


def marked(mp4: bytes) -> bytes:
    """The MP4 marked as generated."""
    return mp4 + struct.pack(">I4s", 8 + len(_XMP_BOX) + len(GENERATED_XMP), b"uuid") + _XMP_BOX + GENERATED_XMP


def encode_webp(frames: Sequence[Picture], fps: int) -> bytes:
    """Encode frames, as :func:`encode_mp4` takes them, as a looping animated WebP; marked as generated."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=round(1000 / fps),
        loop=0,
        quality=85,
        method=2,
        xmp=GENERATED_XMP,
    )
    return file.getvalue()
