"""Bring uploaded pictures to the shape in which a model gets them, and encode results."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from app.errors import BadPicture
from app.geometry import MAX_SIDE, MIN_SIDE, Geometry, plan
from models.errors import PictureRejected
from models.pictures import Picture
from models.pictures.decoding import Bounds, EncodedPicture
from models.pictures.marks import GENERATED_XMP
from models.pictures.png import encode_png
from worker.contract import Delivery

SMALL_PIXELS = 128 * 128
ACCEPTED = "Accepted: JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF pictures."


@dataclass(frozen=True)
class Prepared:
    """An upload as a model gets it."""

    picture: Picture  # both sides multiples of what the geometry asks for
    delivery: Delivery | None  # how the result becomes the answer
    note: str | None  # what the client should know about how the upload was read
    tiled: bool = False  # it is too large to be given to the model at once


class Upload:
    """An upload of which only the header has been read.

    Raises:
        BadPicture: not a picture, too small, or over ``max_pixels``.
        Invalid: the geometry asks for more pixels than :func:`plan` accepts.
    """

    def __init__(
        self, data: bytes, geometry: Geometry, *, max_pixels: int, max_output_pixels: int, max_tiled_pixels: int = 0
    ) -> None:
        with _usable():
            self._encoded = EncodedPicture(data, Bounds(max_pixels, MIN_SIDE, MAX_SIDE))
            self._plan = plan(self._encoded.size, geometry, max_output_pixels, max_tiled_pixels)

    @property
    def small(self) -> bool:
        """Whether what it is and what becomes of it are small, as :func:`is_small` has it."""
        return is_small(self._encoded.size) and is_small(self._plan.padded)

    def prepare(self) -> Prepared:
        """Decode it to RGB as a viewer shows it, in the shape in which the model gets it.

        Raises:
            BadPicture: it is damaged.
        """
        with _usable():
            shown = self._encoded.shown(at_least=self._plan.worked)
        return Prepared(self._plan.apply(shown.image), self._plan.delivery, shown.note, self._plan.tiled)


def is_small(size: tuple[int, int]) -> bool:
    """Whether a picture of this size is decoded or encoded in no more time than it takes to have a thread do so."""
    return size[0] * size[1] <= SMALL_PIXELS


def prepare(data: bytes, geometry: Geometry, **limits: int) -> Prepared:
    """Read an upload as :class:`Upload` does, and prepare it.

    Args:
        limits: as :class:`Upload` takes them.
    """
    return Upload(data, geometry, **limits).prepare()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except PictureRejected as error:
        raise BadPicture(f"The picture {error}. {ACCEPTED}") from error


def encode(picture: Picture, media_type: str) -> bytes:
    """Encode (H, W, 3) uint8 RGB as ``media_type``. The only metadata is the IPTC mark of generated media."""
    return _ENCODERS[media_type](picture)


def _png(picture: Picture) -> bytes:
    return encode_png(picture, xmp=GENERATED_XMP.decode())


def _jpeg(picture: Picture) -> bytes:
    return _saved(picture, "JPEG", quality=95)


def _webp(picture: Picture) -> bytes:
    return _saved(picture, "WEBP", quality=90, method=2)


def _saved(picture: Picture, file_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, xmp=GENERATED_XMP, **options)
    return file.getvalue()


_ENCODERS: dict[str, Callable[[Picture], bytes]] = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp}
MEDIA_TYPES = tuple(_ENCODERS)
