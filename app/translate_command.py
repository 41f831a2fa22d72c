"""``doppel translate``: translate pictures in this process, without a server."""

import sys
from pathlib import Path

from tqdm import tqdm

from app import images
from app.geometry import Geometry, delivered
from app.settings import Settings
from models.device import serving_device
from models.errors import DoppelError
from models.pictures import SUFFIXES, list_others, list_pictures, list_subfolders
from models.serving.translator import Translator
from models.store.catalog import Catalog

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MAX_NAMED = 5  # files that are named when they are left out


def translate_files(settings: Settings, source: Path, output: Path, *, model: str, resolution: int | None) -> int:
    """Translate ``source`` into ``output``: one picture, or all pictures of a folder into another folder.

    Pictures of a folder that can't be used are reported and skipped. What else it holds is left out, and said unless it
    is clutter.

    Returns:
        The exit status: 0 when every picture was translated.
    """
    if source.is_dir():
        # Keep the whole old name, so that a.jpg and a.png don't collide, and no picture overwrites its source.
        pairs = [(path, output / f"{path.name}.png") for path in list_pictures(source)]
        left_out = _left_out(source)
        if not pairs:
            print(
                f"doppel: {source} has no pictures directly in it ({', '.join(sorted(SUFFIXES))})"
                + (f", but {left_out}" if left_out else ""),
                file=sys.stderr,
            )
            return 1
        if left_out:
            print(f"doppel: only the pictures directly in {source} are translated, not its {left_out}", file=sys.stderr)
        output.mkdir(parents=True, exist_ok=True)
    else:
        pairs = [(source, output)]
        if output.suffix.lower() not in MEDIA_TYPES:
            print(f"doppel: {output}: name a file that ends in {', '.join(MEDIA_TYPES)}", file=sys.stderr)
            return 2
    try:
        runs = Catalog(settings.weights_dir, settings.data_dir).resolve(model)
        if runs.card.family != "cyclegan":
            print(
                f"doppel: {runs.name} takes a style too; send it to a running service, see the README", file=sys.stderr
            )
            return 2
        translator = Translator(runs, serving_device(settings.device))
    except DoppelError as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    if runs.name != model:
        print(
            f"doppel: {model} runs as {runs.name}: its own weights are not here (doppel pull {model})", file=sys.stderr
        )
    failed = 0
    for path, target in tqdm(pairs, unit="picture", disable=len(pairs) == 1):
        try:
            _translate_file(settings, translator, path, target, resolution)
        except (DoppelError, OSError) as error:
            failed += 1
            tqdm.write(f"doppel: {path}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _left_out(folder: Path) -> str:
    """What a folder holds beside pictures and clutter, in words."""
    found = {"folders": list_subfolders(folder), "other files": list_others(folder)}
    return " and ".join(f"{kind} ({_named(paths)})" for kind, paths in found.items() if paths)


def _named(paths: list[Path]) -> str:
    names = [path.name for path in paths[:MAX_NAMED]] + ["..."] * (len(paths) > MAX_NAMED)
    return ", ".join(names)


def _translate_file(
    settings: Settings, translator: Translator, source: Path, target: Path, resolution: int | None
) -> None:
    upload = images.prepare(
        source.read_bytes(),
        Geometry(resolution),
        max_pixels=settings.max_pixels,
        max_output_pixels=settings.max_output_pixels,
    )
    if upload.note:
        tqdm.write(f"doppel: {source}: {upload.note}", file=sys.stderr)
    translated = delivered(translator([upload.picture])[0], upload.delivery)
    target.write_bytes(images.encode(translated, MEDIA_TYPES[target.suffix.lower()]))
