"""Uploaded clips: what of one is looked at before it is queued, and the shape in which it is filmed."""

from dataclasses import dataclass

from app.errors import BadVideo
from app.geometry import Geometry, Size, plan
from app.settings import Settings
from models.errors import ClipRejected
from models.pictures.clips import Clip, ClipBounds
from worker.contract import Filming

ACCEPTED = "Accepted: MP4, MOV and WebM videos with H.264, HEVC, VP8, VP9, AV1, MPEG-4, ProRes or MJPEG."


@dataclass(frozen=True)
class PreparedClip:
    """How an uploaded clip is filmed."""

    size: Size  # of the frames that are painted
    filming: Filming
    notes: list[str]


def prepare_clip(data: bytes, geometry: Geometry, settings: Settings) -> PreparedClip:
    """Look at an upload: its packets are counted and its first frame is decoded. The worker decodes the others.

    Raises:
        BadVideo: not a video, damaged at its beginning, or out of bounds.
        Invalid: the geometry asks for more pixels than :func:`app.geometry.plan` accepts.
    """
    bounds = ClipBounds(settings.max_clip_s, settings.max_clip_frames, settings.max_clip_pixels)
    try:
        clip = Clip(data, bounds)
    except ClipRejected as error:
        raise BadVideo(f"The video {error}. {ACCEPTED}") from error
    size, out_size = clip_sizes(clip, geometry, settings)
    notes = [f"the sound is {clip.sound}, which is not read, and is left out"] if clip.silenced else []
    filming = Filming(
        width=out_size[0],
        height=out_size[1],
        frames=clip.frame_count,
        max_frames=settings.max_clip_frames,
        max_pixels=settings.max_clip_pixels,
    )
    return PreparedClip(size, filming, notes)


def clip_sizes(clip: Clip, geometry: Geometry, settings: Settings) -> tuple[Size, Size]:
    """Width and height of the frames that are painted, multiples of 4, and of those that are written, even.

    Raises:
        Invalid: as :func:`app.geometry.plan`.
    """
    planned = plan((clip.width, clip.height), geometry, settings.max_output_pixels)
    return _rounded(planned.worked, geometry.multiple), _rounded(planned.asked, 2)


def _rounded(size: Size, multiple: int) -> Size:
    """The nearest sides that are multiples: a clip has no margin that could be cut off, and nobody sees the stretch."""
    width, height = (max(multiple, round(side / multiple) * multiple) for side in size)
    return width, height
