"""Clips: short videos, read frame by frame within bounds, and written with the sound of the clip that they came from.

A clip comes from a stranger, and FFmpeg reads many formats that nobody sends on purpose, among them playlists that name
other files and addresses. So the format is told by the first bytes, and only the demuxers and decoders listed here run.
"""

import contextlib
import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import ClipRejected
from models.pictures import Picture, sound

if TYPE_CHECKING:  # large, and most processes never see a clip
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores")
H264_QUALITY = "20"  # constant rate factor; brushwork hides what 18 would keep
MIN_SIDE = 16  # px

_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # an MP4 or MOV begins with one of these
_MATROSKA = bytes.fromhex("1a45dfa3")


@dataclass(frozen=True)
class ClipBounds:
    """What is accepted as a clip."""

    max_seconds: float = float("inf")
    max_frames: int = 1 << 31
    max_pixels: int = 1 << 26  # of a frame


class Clip:
    """A clip whose packets were counted, and whose first frame was decoded.

    Args:
        data: an MP4, MOV, WebM or Matroska file.

    Raises:
        ClipRejected: it is none, has no video that can be read, is damaged, or out of bounds.
    """

    def __init__(self, data: bytes, bounds: ClipBounds = ClipBounds()) -> None:
        if not data:
            raise ClipRejected("is empty")
        self._data = data
        self._format = _format_of(data)
        self._bounds = bounds
        with self._opened() as container, _readable():
            stream = _video_of(container)
            if stream.codec_context.name not in DECODERS:
                raise ClipRejected(f"is coded as {stream.codec_context.name}, which is not read")
            self.sound = _sound_of(container)
            _check_size(stream.width, stream.height, bounds)
            self.seconds, self.frame_count = _measured(container, stream, bounds)
        with contextlib.closing(self.frames()) as frames:
            first = next(frames, None)
        if first is None:
            raise ClipRejected("has no frame that can be shown")
        self.height, self.width = first.picture.shape[:2]

    @property
    def silenced(self) -> bool:
        """Whether it has sound that is not kept."""
        return self.sound is not None and self.sound not in sound.COPIED + sound.RECODED

    def frames(self, size: tuple[int, int] | None = None) -> Generator["Frame"]:
        """Decode the frames one after the other, as they are shown: upright.

        Args:
            size: width and height to scale them to, px; None: their own.

        Raises:
            ClipRejected: the clip is damaged from here on, or a frame is out of bounds.
        """
        from av.video.reformatter import VideoReformatter

        scale = VideoReformatter()
        count = 0
        at_s = 0.0
        with self._opened() as container, _readable(lambda: at_s):
            stream = _video_of(container)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = 2  # each holds frames of its own
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    if not count:
                        continue  # a clip that was cut out of a longer one may begin between two whole frames
                    raise ClipRejected(f"is damaged after {at_s:.1f} s")
                _check_size(frame.width, frame.height, self._bounds)
                count += 1
                if count > self._bounds.max_frames:
                    raise ClipRejected(f"has more than {self._bounds.max_frames} frames, the most that are accepted")
                time = _time_of(frame, stream, count)
                at_s = float(time)
                yield Frame(_shown(frame, scale, size), time)

    @contextlib.contextmanager
    def _opened(self) -> Iterator["InputContainer"]:
        import av
        from av.container import InputContainer

        options = {
            "max_pixels": str(self._bounds.max_pixels),  # checked before the decoder takes the memory
            # Opening a file decodes some of every track.
            "codec_whitelist": ",".join(DECODERS + sound.COPIED + sound.RECODED),
        }
        with _readable():
            container = av.open(io.BytesIO(self._data), format=self._format, options=options, metadata_errors="ignore")
        assert isinstance(container, InputContainer)
        with container:
            yield container

    def sound_packets(self) -> Iterator["Packet[AudioStream]"]:
        """The packets of the first sound track, as they are in the file."""
        with self._opened() as container, _readable():
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                if packet.dts is not None:
                    yield packet


@dataclass(frozen=True)
class Frame:
    """A frame as it is shown."""

    picture: Picture  # (H, W, 3) uint8 RGB
    time: Fraction  # s, from the beginning of the clip's clock


class ClipWriter:
    """Writes frames as H.264 in an MP4, at the times that they have in the clip that they were made of, with its sound.

    Args:
        path: of the MP4; whole once :meth:`close` has returned.
        clip: whose sound is kept.
        size: width and height of the frames, px, even.
    """

    def __init__(self, path: Path, clip: Clip, size: tuple[int, int]) -> None:
        import av
        from av.video.reformatter import Colorspace

        # With the index in front, playback starts before the download has finished.
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=30)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = CLOCK
        self._stream.codec_context.colorspace = Colorspace.ITU601  # as which FFmpeg converts from RGB
        self._stream.options = {"crf": H264_QUALITY, "preset": "fast"}
        self._last = -1
        self._sound = self._sound_of(clip)
        self._next_sound = next(self._sound, None)

    def _sound_of(self, clip: Clip) -> Iterator["Packet[AudioStream]"]:
        if clip.sound in sound.COPIED:
            return sound.copied(clip.sound_packets(), self._container)
        if clip.sound in sound.RECODED:
            return sound.recoded(clip.sound_packets(), self._container)
        return iter(())

    def write(self, frame: Frame) -> None:
        """Add a frame, after those that are shown before it."""
        from av import VideoFrame

        encoded = VideoFrame.from_ndarray(frame.picture, format="rgb24")
        # Two frames of one time would be refused.
        self._last = encoded.pts = max(self._last + 1, round(frame.time / CLOCK))
        encoded.time_base = CLOCK
        self._container.mux(self._stream.encode(encoded))
        self._write_sound(until_s=float(frame.time))

    def _write_sound(self, until_s: float) -> None:
        while self._next_sound is not None:
            packet = self._next_sound
            if packet.dts is not None and packet.time_base is not None and packet.dts * packet.time_base > until_s:
                break
            self._container.mux(packet)
            self._next_sound = next(self._sound, None)

    def close(self, *, whole: bool = True) -> None:
        """End the file.

        Args:
            whole: False leaves out what is not written yet, of a file that nobody wants any more.
        """
        if whole:
            self._container.mux(self._stream.encode())
            self._write_sound(until_s=float("inf"))
        self._container.close()


CLOCK = Fraction(1, 90_000)  # s; frame rates in use are multiples of it, or near enough


def _format_of(data: bytes) -> str:
    if data[4:8] in _QUICKTIME_BOXES:
        return "mov"
    if data.startswith(_MATROSKA):
        return "matroska"
    raise ClipRejected("is not a video in a known format")


def _video_of(container: "InputContainer") -> "VideoStream":
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.__class__.attached_pic:  # the cover of a song
            return stream
    raise ClipRejected("has no video track")


def _sound_of(container: "InputContainer") -> str | None:
    """The codec of the first sound track."""
    return container.streams.audio[0].codec_context.name if container.streams.audio else None


def _measured(container: "InputContainer", stream: "VideoStream", bounds: ClipBounds) -> tuple[float, int]:
    """Seconds and frames, counted: what a file says of itself may be missing or wrong."""
    count = 0
    first = last = Fraction(0)
    for packet in container.demux(stream):
        if not packet.size:
            continue
        count += 1
        if count > bounds.max_frames:
            raise ClipRejected(f"has more than {bounds.max_frames} frames, the most that are accepted")
        if packet.pts is None or packet.time_base is None:
            continue
        shown = packet.pts * packet.time_base
        first = shown if count == 1 else min(first, shown)
        last = max(last, shown + (packet.duration or 0) * packet.time_base)
    seconds = float(last - first)
    if seconds > bounds.max_seconds:
        raise ClipRejected(f"is {seconds:.1f} s long; at most {bounds.max_seconds:g} s are accepted")
    return seconds, count


def _check_size(width: int, height: int, bounds: ClipBounds) -> None:
    if width * height > bounds.max_pixels:
        raise ClipRejected(f"has frames of {width} × {height} pixels; at most {bounds.max_pixels:,} are accepted")
    if 0 < min(width, height) < MIN_SIDE:
        raise ClipRejected(f"has frames of {width} × {height} px; a side needs {MIN_SIDE} at least")


def _time_of(frame: "VideoFrame", stream: "VideoStream", count: int) -> Fraction:
    if frame.pts is None or frame.time_base is None:
        return (count - 1) / (stream.average_rate or Fraction(25))
    return max(Fraction(0), frame.pts * frame.time_base)


def _shown(frame: "VideoFrame", scale: Any, size: tuple[int, int] | None) -> Picture:
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    width, height = size or (None, None)
    if turns % 2:
        width, height = height, width
    shown = scale.reformat(frame, width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(np.rot90(shown, turns))


@contextlib.contextmanager
def _readable(at_s: Any = None) -> Iterator[None]:
    from av import FFmpegError

    try:
        yield
    except FFmpegError as error:
        where = f" after {at_s():.1f} s" if at_s is not None and at_s() else ""
        raise ClipRejected(f"is damaged or truncated{where} ({error.strerror})") from error
