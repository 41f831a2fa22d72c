"""A person at the page in a browser, whose clicks are counted; and the pictures that such a person brings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.chromium import NOT_FOUND, chromium
from tests.processes import ROOT
from tests.studio.gestures import drop_paths

IMAGES = ROOT / "docs" / "images"
PHOTO = IMAGES / "sample-photo.jpg"
PAINTING = IMAGES / "sample-painting.jpg"
SIDE = 128  # px, of the pictures of a data set
COUNT = 60  # in each of its folders
PATIENCE_MS = 300_000


@contextmanager
def chromium_browser() -> Iterator[Browser]:
    """This machine's own Chromium, without a window."""
    executable = chromium()
    if executable is None:
        raise SystemExit(f"bench: {NOT_FOUND}")
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=as_root)
        yield browser
        browser.close()


class Person:
    """Somebody who uses the page with a mouse and a keyboard.

    Attributes:
        clicks: how often they have clicked. To drop files from another window is none.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0
        page.set_default_timeout(PATIENCE_MS)

    def click(self, role: str, name: str) -> None:
        """Click what has this role and name, as soon as it is there and enabled."""
        self.click_at(self.page.get_by_role(role, name=name, exact=True).first)  # type: ignore[arg-type]

    def click_at(self, place: Locator) -> None:
        place.click()
        self.clicks += 1

    def drop(self, *paths: Path) -> None:
        """Drop files or folders on the page."""
        drop_paths(self.page, *paths)

    @property
    def result(self) -> Locator:
        """The painted photo on the stage: the line between before and after."""
        return self.page.get_by_role("slider", name="Line between before and after")


def cut_folders(folder: Path) -> tuple[Path, Path]:
    """Make two folders of pictures, cut at random out of a photo and out of a painting that the documentation shows."""
    rng = np.random.default_rng(0)
    places = folder / "photos", folder / "paintings"
    for place, source in zip(places, (PHOTO, PAINTING), strict=True):
        place.mkdir()
        with Image.open(source) as picture:
            for n in range(COUNT):
                side = int(rng.integers(SIDE, min(picture.size) * 3 // 4))
                left, top = (int(rng.integers(0, size - side)) for size in picture.size)
                part = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
                part.save(place / f"{n:02}.jpg", quality=92)
    return places
