"""``doppel translate``: translate pictures in this process, without a server."""

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from app import images
from app.clip_command import film_file, is_clip
from app.credentials import Credentials, MadeBy, Sign, unsigned
from app.errors import BadPicture
from app.geometry import Geometry, Resolution, delivered
from app.orders import Order, clip_order, painting_order
from app.painting_fields import PaintingFields
from app.settings import Settings
from app.style_options import StyleOptions
from models.cores import usable_cores
from models.device import serving_device
from models.errors import DoppelError, Invalid
from models.pictures import SUFFIXES, Picture, list_others, list_pictures, list_subfolders
from models.serving.painter import Brush, Painter
from models.serving.translator import Translator
from models.store.catalog import Catalog, Model
from worker.contract import Delivery

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MAX_NAMED = 5  # files that are named when they are left out
NO_STYLE = StyleOptions()
MAX_THREADS = 8  # that decode and encode; each may hold a picture of max_pixels


def translate_files(
    settings: Settings,
    source: Path,
    output: Path,
    *,
    model: str,
    resolution: Resolution,
    style: StyleOptions = NO_STYLE,
) -> int:
    """Translate ``source`` into ``output``: one picture, a clip, or all pictures of a folder into another folder.

    Pictures of a folder that can't be used are reported and skipped. What else it holds is left out, and said unless it
    is clutter.

    Returns:
        The exit status: 0 when every picture was translated.
    """
    pairs = _pairs_of(source, output) if source.is_dir() else [(source, output)]
    if not pairs:
        return 1
    if not source.is_dir() and not _is_named_rightly(source, output):
        return 2
    clip = is_clip(source) and not source.is_dir()
    try:
        runs = Catalog(settings.weights_dir, settings.data_dir).resolve(model)
        if refusal := _refusal(runs, style):
            print(f"doppel: {refusal}", file=sys.stderr)
            return 2
        geometry = Geometry(resolution, stroke=style.stroke or 1.0)
        order = clip_order if clip else painting_order
        translator, geometry = _translator(settings, runs, style, geometry, order)
    except DoppelError as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    if runs.name != model:
        print(
            f"doppel: {model} runs as {runs.name}: its own weights are not here (doppel pull {model})", file=sys.stderr
        )
    made_by = MadeBy(Credentials(settings), runs, [path.read_bytes() for path in style.pictures])
    if clip:
        return film_file(settings, source, output, translator, geometry, made_by)
    failed = 0
    with contextlib.closing(_Pipeline(settings, translator, geometry, made_by)) as pipeline:
        for done in tqdm(pipeline.run(pairs), total=len(pairs), unit="picture", disable=len(pairs) == 1):
            if done.note:
                tqdm.write(f"doppel: {done.source}: {done.note}", file=sys.stderr)
            if done.error:
                failed += 1
                tqdm.write(f"doppel: {done.source}: {done.error}", file=sys.stderr)
    return 1 if failed else 0


def _pairs_of(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """The pictures of a folder and the files that they become; none if it has none, which is reported."""
    # Keep the whole old name, so that a.jpg and a.png don't collide, and no picture overwrites its source.
    pairs = [(path, output / f"{path.name}.png") for path in list_pictures(source)]
    left_out = _left_out(source)
    if not pairs:
        print(
            f"doppel: {source} has no pictures directly in it ({', '.join(sorted(SUFFIXES))})"
            + (f", but {left_out}" if left_out else ""),
            file=sys.stderr,
        )
        return []
    if left_out:
        print(f"doppel: only the pictures directly in {source} are translated, not its {left_out}", file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    return pairs


def _is_named_rightly(source: Path, output: Path) -> bool:
    """Whether a file can become one of this name; if not, that is reported."""
    endings = [".mp4"] if is_clip(source) else list(MEDIA_TYPES)
    if output.suffix.lower() not in endings:
        print(f"doppel: {output}: name a file that ends in {', '.join(endings)}", file=sys.stderr)
        return False
    return True


def _refusal(model: Model, style: StyleOptions) -> str | None:
    """Why this command can't run a model, if it can't."""
    if model.card.family == "stargan_v2":
        return f"{model.name} takes a style too; send it to a running service, see the README"
    if model.card.family != "style" and style.given:
        return f"{model.name} has one style, and takes no {' and '.join(style.given)}"
    return None


def _translator(
    settings: Settings,
    model: Model,
    style: StyleOptions,
    geometry: Geometry,
    order_of: Callable[[Model, bytes, Geometry, PaintingFields], Order],
) -> tuple[Translator | Brush, Geometry]:
    """What translates the pictures or the clip, and in which shape it gets them.

    Args:
        order_of: makes the order for a model of the family ``style``.

    Raises:
        DoppelError: the model can't be loaded, or a style picture or another option of the style is not acceptable.
        OSError: a style picture can't be read.
    """
    device = serving_device(settings.device)
    if model.card.family != "style":
        return Translator(model, device), geometry
    if model.card.code is None and not style.pictures:
        raise Invalid(f"{model.name} needs the picture whose style is applied: --style PICTURE")
    sent = [path.read_bytes() for path in style.pictures]
    strength = 1.0 if style.strength is None else style.strength
    look = PaintingFields(sent, style.weights, strength=strength, preserve_color=style.preserve_color)
    order = order_of(model, b"", geometry, look)
    assert order.painting is not None, "an order to paint"
    pictures = [_style_picture(path, data, settings, order) for path, data in zip(style.pictures, sent, strict=True)]
    return Brush(Painter(model, device), order.painting, pictures), order.geometry


def _style_picture(path: Path, data: bytes, settings: Settings, order: Order) -> Picture:
    limits = {"max_pixels": settings.max_pixels, "max_output_pixels": settings.max_output_pixels}
    try:
        return images.prepare(data, order.reference_geometry, **limits).picture
    except BadPicture as error:
        raise BadPicture(f"{path}: {error}") from error


def _left_out(folder: Path) -> str:
    """What a folder holds beside pictures and clutter, in words."""
    found = {"folders": list_subfolders(folder), "other files": list_others(folder)}
    return " and ".join(f"{kind} ({_named(paths)})" for kind, paths in found.items() if paths)


def _named(paths: list[Path]) -> str:
    names = [path.name for path in paths[:MAX_NAMED]] + ["..."] * (len(paths) > MAX_NAMED)
    return ", ".join(names)


@dataclass
class _Translation:
    """A picture on its way from file to file."""

    source: Path
    target: Path
    picture: Picture | None = None  # as far as it has come; None before it is read and once it is written
    delivery: Delivery | None = None
    note: str | None = None
    sign: Sign = unsigned
    tiled: bool = False  # it is too large to be given to the model at once
    error: Exception | None = None


class _Pipeline:
    """Translates pictures in the caller's thread, and meanwhile decodes and encodes others in threads of its own.

    Pillow, NumPy and ISA-L let other threads run while they work. However many pictures there are, only a few for each
    thread are in memory.
    """

    def __init__(self, settings: Settings, translator: Translator | Brush, geometry: Geometry, made_by: MadeBy) -> None:
        self._limits = {
            "max_pixels": settings.max_pixels,
            "max_output_pixels": settings.max_output_pixels,
            "max_tiled_pixels": settings.max_tiled_pixels,
        }
        self._geometry = geometry
        self._translator = translator
        self._made_by = made_by
        threads = min(MAX_THREADS, usable_cores())
        self._pool = ThreadPoolExecutor(threads)
        self._ahead = threads + 1  # pictures that wait to be translated, and as many to be written

    def close(self) -> None:
        """Finish the files that are being written, and no more of those that were to be written after them."""
        self._pool.shutdown(cancel_futures=True)

    def run(self, pairs: Iterable[tuple[Path, Path]]) -> Iterator[_Translation]:
        """Translate each source into its target; yield them in order, once they are written or have failed."""
        begun: deque[Future[_Translation]] = deque()
        for translation in self._read_ahead(pairs):
            translated = _unless_failed(self._translate, translation)
            begun.append(self._pool.submit(_unless_failed, self._write, translated))
            while begun and (begun[0].done() or len(begun) > self._ahead):
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    def _read_ahead(self, pairs: Iterable[tuple[Path, Path]]) -> Iterator[_Translation]:
        begun: deque[Future[_Translation]] = deque()
        for source, target in pairs:
            begun.append(self._pool.submit(_unless_failed, self._read, _Translation(source, target)))
            if len(begun) > self._ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    def _read(self, translation: _Translation) -> None:
        data = translation.source.read_bytes()
        upload = images.prepare(data, self._geometry, **self._limits)
        translation.sign = self._made_by.of(data)
        translation.picture, translation.delivery, translation.note = upload.picture, upload.delivery, upload.note
        translation.tiled = upload.tiled

    def _translate(self, translation: _Translation) -> None:
        assert translation.picture is not None
        if translation.tiled:
            for _, picture in self._translator.in_tiles(translation.picture):
                translation.picture = picture
        else:
            (translation.picture,) = self._translator([translation.picture])

    def _write(self, translation: _Translation) -> None:
        assert translation.picture is not None
        picture, translation.picture = delivered(translation.picture, translation.delivery), None
        target = translation.target
        media_type = MEDIA_TYPES[target.suffix.lower()]
        target.write_bytes(translation.sign(images.encode(picture, media_type), media_type))


def _unless_failed(stage: Callable[[_Translation], None], translation: _Translation) -> _Translation:
    """Bring a picture through a stage, unless an earlier one failed; keep what goes wrong."""
    if translation.error is None:
        try:
            stage(translation)
        except (DoppelError, OSError) as error:
            translation.error = error
            translation.picture = None
    return translation
