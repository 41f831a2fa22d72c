"""A whole folder of pictures."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doppel.calls.jobs import Format, Source
from doppel.calls.pictures import stylize, translate
from doppel.errors import ApiError
from doppel.steps import Steps, Together

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


@dataclass(frozen=True)
class Painted:
    """What became of one picture of a folder."""

    source: Path
    target: Path | None  # the file that was written; None: see the error
    error: ApiError | OSError | None = None  # why there is none


def translate_folder(
    folder: str | Path,
    into: str | Path,
    model: str | None = None,
    *,
    style: Source | None = None,
    format: Format = "png",
    at_once: int = 4,
    on_progress: Callable[[int, int, Painted], object] | None = None,
    **options: Any,
) -> Steps[list[Painted]]:
    """Translate the pictures directly in a folder, of ``one.jpg`` to ``one.jpg.png``. One that fails stops no other.

    Args:
        folder: whose files with a picture's suffix are sent, in the order of their names.
        into: the folder for the results, which is made if it is not there.
        model: as of :meth:`Doppel.translate` or, if there is a ``style``, of :meth:`Doppel.stylize`; None for theirs.
        style: a picture in whose style all are painted.
        format: of the results.
        at_once: how many are under way at a time; the server can compute them together.
        on_progress: called with the number of pictures that are done, that of all, and the one that was done last; in
            :class:`Doppel` from several threads, one at a time.
        options: as of :meth:`Doppel.translate` or :meth:`Doppel.stylize`, for all.

    Returns:
        What became of each picture, in the order of their names.

    Raises:
        OSError: the folder can't be read, or the other can't be made.
    """
    sources = sorted(path for path in Path(folder).iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES)
    target = Path(into)
    target.mkdir(parents=True, exist_ok=True)
    named = options | ({"model": model} if model else {})
    done = 0
    telling = threading.Lock()

    def one(source: Path) -> Steps[Painted]:
        nonlocal done
        try:
            order = (
                translate(source, format=format, **named)
                if style is None
                else stylize(source, style, format=format, **named)
            )
            picture = yield from order
            painted = Painted(source, picture.save(target / f"{source.name}.{format}"))
        except (ApiError, OSError) as error:
            painted = Painted(source, None, error)
        with telling:
            done += 1
            if on_progress is not None:
                on_progress(done, len(sources), painted)
        return painted

    results: list[Painted] = yield Together([one(source) for source in sources], at_once)
    return results
