"""Pictures of the page for the documentation: ``python -m bench.studio_pictures [FOLDER]``, docs/images if not given.

Each view on a desktop and on a phone, light and dark, after the photo of the documentation was painted and a run of two
minutes was trained. FOLDER gets sheets of them as WebP; with ``--single FOLDER`` also each picture by itself, as PNG.
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from bench.person import IMAGES, PAINTING, PHOTO, Person, chromium_browser
from bench.recovery import stack
from bench.studio import train_and_publish

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}  # px
SCHEMES = ("light", "dark")
GAP = 16  # px, between the pictures of a sheet
ACROSS = 2  # desktops
WIDTH = 1240  # px, of a sheet
SETTLED_MS = 2000  # after which a view has its lists and pictures
PAPER = {"light": "#d9d6cc", "dark": "#3a3d38"}
MOST_BYTES = 150_000  # of a sheet

TO_CURVES = "document.querySelector('[aria-label=Losses]').scrollIntoView({ block: 'end' })"

Shots = dict[tuple[str, str, str], Image.Image]  # view, size, scheme


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES)
    parser.add_argument("--single", type=Path)
    arguments = parser.parse_args()
    with (
        stack() as (_, port),
        chromium_browser() as browser,
        tempfile.TemporaryDirectory() as folder,
    ):
        context = browser.new_context(base_url=f"http://127.0.0.1:{port}", reduced_motion="reduce")
        person = Person(context.new_page())
        run = train_and_publish(person, Path(folder))
        shots = _shots(person, {"train": "train", "run": f"train/{run}", "models": "models", "status": "status"})
    for (view, size, scheme), shot in shots.items() if arguments.single else ():
        arguments.single.mkdir(parents=True, exist_ok=True)
        shot.save(arguments.single / f"{view}-{size}-{scheme}.png")
    for scheme in SCHEMES:
        _save(_sheet(shots, scheme), arguments.folder / f"studio-{scheme}.webp")
    _save(
        _pair(shots["translate", "desktop", "light"], shots["style", "phone", "dark"]), arguments.folder / "studio.webp"
    )


def _shots(person: Person, addresses: dict[str, str]) -> Shots:
    """Pictures of all views: Translate and Style with what they have painted, then those of these addresses."""
    page = person.page
    page.goto("/#translate?model=style-starry-strokes")
    page.reload()
    page.get_by_role("radio").first.wait_for(state="attached")
    person.drop(PHOTO)
    page.get_by_role("radio", name="starry strokes", checked=True).wait_for(state="attached")
    person.result.wait_for()
    shots = _seen(page, "translate")
    page.goto("/#style")
    for picture in (PHOTO, PAINTING):
        page.get_by_role("heading", name="Like", exact=True).wait_for()
        person.drop(picture)
    person.result.wait_for()
    shots |= _seen(page, "style")
    for view, address in addresses.items():
        page.goto(f"/#{address}")
        page.wait_for_timeout(SETTLED_MS)
        shots |= _seen(page, view)
    return shots


def _seen(page: Page, view: str) -> Shots:
    """What is on screen, in each size and scheme."""
    shots = {}
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate(TO_CURVES if view == "run" else "scrollTo(0, 0)")
            page.mouse.move(0, 0)
            page.wait_for_load_state("networkidle")
            shots[view, size, scheme] = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return shots


def _sheet(shots: Shots, scheme: str) -> Image.Image:
    """All views: desktops in two columns, the phones below them in a row."""
    views = list(dict.fromkeys(view for view, _, _ in shots))
    rows = [[shots[view, "desktop", scheme] for view in views[n : n + ACROSS]] for n in range(0, len(views), ACROSS)]
    return _stacked([*rows, [shots[view, "phone", scheme] for view in views]], PAPER[scheme])


def _pair(desktop: Image.Image, phone: Image.Image) -> Image.Image:
    """A desktop and a phone, side by side and equally high."""
    return _stacked([[desktop, phone.resize((phone.width * desktop.height // phone.height, desktop.height))]], "white")


def _stacked(rows: list[list[Image.Image]], paper: str) -> Image.Image:
    """Rows of pictures, each as wide as the sheet."""
    made = []
    for row in rows:
        scale = (WIDTH - GAP * (len(row) + 1)) / sum(shot.width for shot in row)
        small = [
            shot.resize((int(shot.width * scale), int(shot.height * scale)), Image.Resampling.LANCZOS) for shot in row
        ]
        made.append(small)
    height = sum(max(shot.height for shot in row) + GAP for row in made) + GAP
    sheet = Image.new("RGB", (WIDTH, height), paper)
    top = GAP
    for row in made:
        left = GAP
        for shot in row:
            sheet.paste(shot, (left, top))
            left += shot.width + GAP
        top += max(shot.height for shot in row) + GAP
    return sheet


def _save(sheet: Image.Image, path: Path) -> None:
    """Save as WebP, as good as the bytes allow."""
    for quality in range(85, 30, -5):
        file = io.BytesIO()
        sheet.save(file, "WebP", quality=quality, method=6)
        if file.tell() <= MOST_BYTES:
            break
    path.write_bytes(file.getvalue())
    print(f"{path}: {sheet.width} x {sheet.height} px, {file.tell() / 1000:.0f} kB")


if __name__ == "__main__":
    main()
