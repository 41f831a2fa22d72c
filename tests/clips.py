"""Clips for tests, made here: a window that moves over a picture of noise."""

import io

import av
import numpy as np

FPS = 25
TONE_HZ = 440


def window(n, size=(64, 48), step=2):
    """Frame n of a camera that moves ``step`` px to the right a frame: (H, W, 3) uint8."""
    width, height = size
    blocks = np.random.default_rng(7).integers(0, 256, (height // 8, width // 8 + 24, 3), dtype=np.uint8)
    scene = blocks.repeat(8, axis=0).repeat(8, axis=1)
    return np.ascontiguousarray(scene[:, step * n : step * n + width])


def encode_clip(frames, *, file_format="mp4", codec="libx264", pixels="yuv420p", sound=None, sound_rate=48_000):
    """Frames as a video file, with a second of a tone of 440 Hz in it if ``sound`` names a codec."""
    file = io.BytesIO()
    with av.open(file, "w", format=file_format) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if codec == "libx264":
            stream.options = {"crf": "10", "g": "4"}
        track = container.add_stream(sound, rate=sound_rate) if sound else None
        if sound == "vorbis":  # FFmpeg's own encoder, which is unfinished
            track.options, track.layout = {"strict": "experimental"}, "stereo"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        if track is not None:
            tone = np.sin(2 * np.pi * TONE_HZ * np.arange(sound_rate) / sound_rate).astype(np.float32)[None] / 2
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = sound_rate, 0
            container.mux(track.encode(frame))
            container.mux(track.encode())
    return file.getvalue()


def tiny_clip(count=8, **options):
    """A clip of ``count`` frames of 64 × 48 px, 25 a second."""
    return encode_clip([window(n) for n in range(count)], **options)


def lying(mp4):
    """The MP4 with a mark that it is to be shown turned by 90° clockwise, as phones write."""
    at = mp4.index(b"tkhd") + 4 + 40  # the matrix (ISO 14496-12, section 8.3.2), of version 0
    matrix = b"".join(number.to_bytes(4, "big", signed=True) for number in (0, 1 << 16, 0, -(1 << 16), 0, 0))
    return mp4[:at] + matrix + mp4[at + len(matrix) :]


def damaged(mp4):
    """The MP4 with its middle frames overwritten; its index is whole."""
    start = mp4.index(b"mdat") + 4
    size = int.from_bytes(mp4[start - 8 : start - 4], "big") - 8
    middle = range(start + size // 2, start + size * 3 // 4)
    return mp4[: middle.start] + b"\xff" * len(middle) + mp4[middle.stop :]
