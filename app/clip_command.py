"""``doppel translate`` for a clip: filmed anew in this process, without a server."""

import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from app import video
from app.clips import ACCEPTED, clip_sizes
from app.credentials import MadeBy
from app.errors import BadVideo
from app.geometry import Geometry
from app.settings import Settings
from models.errors import ClipRejected, DoppelError
from models.pictures import Picture
from models.pictures.clips import SUFFIXES, Clip
from models.serving.filming import film
from models.serving.painter import Brush
from models.serving.translator import Translator


def is_clip(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.suffix.lower() in SUFFIXES


def film_file(
    settings: Settings,
    source: Path,
    output: Path,
    translator: Translator | Brush,
    geometry: Geometry,
    made_by: MadeBy,
) -> int:
    """Film the clip ``source`` anew as the MP4 ``output``, which is there only once it is whole.

    Returns:
        The exit status: 0 when the whole clip was filmed.
    """
    made = output.with_name(f".{output.name}.part")
    begin = translator.filming if isinstance(translator, Brush) else _frame_by_frame(translator)
    try:
        clip = _read(source)
        size, out_size = clip_sizes(clip, geometry, settings)
        if clip.silenced:
            print(f"doppel: {source}: the sound is {clip.sound}, which is not read, and is left out", file=sys.stderr)
        with tqdm(total=clip.frame_count, unit="frame") as bar:
            for _ in film(clip, made, begin=begin, size=size, out_size=out_size):
                bar.update(bar.n < clip.frame_count)
        sign = made_by.of(source.read_bytes())
        made.write_bytes(sign(video.marked(made.read_bytes()), "video/mp4"))
        made.replace(output)
    except ClipRejected as error:
        print(f"doppel: {source}: The video {error}.", file=sys.stderr)
        return 1
    except (DoppelError, OSError) as error:
        print(f"doppel: {source}: {error}", file=sys.stderr)
        return 1
    finally:
        made.unlink(missing_ok=True)
    return 0


def _read(source: Path) -> Clip:
    try:
        return Clip(source.read_bytes())
    except ClipRejected as error:
        raise BadVideo(f"The video {error}. {ACCEPTED}") from error


def _frame_by_frame(translator: Translator) -> Callable[[Picture], Callable[[Picture, float], Picture]]:
    def translate(frame: Picture, share: float) -> Picture:
        return translator([frame])[0]

    return lambda first: translate
