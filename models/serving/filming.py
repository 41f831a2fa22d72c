"""Make a clip anew: each of its frames by a model, at the times that they had, with the clip's sound."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from models.pictures import Picture
from models.pictures.clips import Clip, ClipWriter, Frame
from models.serving.finishing import with_detail_of
from models.serving.steadying import Steady

COARSE_BELOW = 0.9  # of the written width: frames that are painted so small are given back what it costs of detail

Paint = Callable[[Picture, float], Picture]  # as Steady takes it


def film(
    clip: Clip, target: Path, *, begin: Callable[[Picture], Paint], size: tuple[int, int], out_size: tuple[int, int]
) -> Iterator[float]:
    """Write the clip anew as an MP4 at ``target``; yield after each frame what share is done, at last 1.

    Args:
        begin: makes of the first frame the function that paints it and those after it.
        size: width and height of the frames that are painted, px, multiples of 4.
        out_size: width and height of the frames that are written, px, even.

    Raises:
        ClipRejected: the clip is damaged from some frame on.
        DoppelError: as what paints.
    """
    paint = None
    coarse = size[0] < COARSE_BELOW * out_size[0]
    with contextlib.closing(clip.frames(out_size if coarse else size)) as frames, contextlib.ExitStack() as on_failure:
        writer = ClipWriter(target, clip, out_size)
        on_failure.callback(writer.close, whole=False)
        for count, frame in enumerate(frames, start=1):
            small = _resized(frame.picture, size)
            if paint is None:
                paint = Steady(begin(small))
            painted = paint(small)
            made = with_detail_of(frame.picture, painted) if coarse else _resized(painted, out_size)
            writer.write(Frame(made, frame.time))
            yield min(count / (clip.frame_count + 1), 0.999)  # some packets have more frames than one
        on_failure.pop_all()
    writer.close()
    yield 1.0


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
