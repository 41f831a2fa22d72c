"""The page in a browser: its bytes and requests, the time to its first view, and two of a person's ways through it."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from app.routes.studio import page as page_files
from bench.machine import cpu
from bench.person import PHOTO, Person, chromium_browser, cut_folders
from bench.recovery import stack

VISITS = 5
# When a photo can be given to the page, and when the models are there to choose from: ms since the address was entered.
WATCH = """
const seen = (name, selector) => {
  const look = () => {
    if (document.querySelector(selector)) window[name] = performance.now();
    else requestAnimationFrame(look);
  };
  look();
};
seen("usable", "main input[type=file]");
seen("complete", "main input[type=radio]");
"""
FIGURES = """() => {
  const requests = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return {
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime, usable: window.usable,
    complete: window.complete, bytes: requests.reduce((sum, one) => sum + one.transferSize, 0),
    requests: requests.map((one) => one.name),
  };
}"""


def studio() -> None:
    """Print the page's size, its first view, and the two ways."""
    print(f"The page in a browser, {cpu()}")
    _sizes()
    with stack() as (_, port), chromium_browser() as browser:
        address = f"http://127.0.0.1:{port}"
        _own_photo(browser, address)
        _first_view(browser, address)
        with tempfile.TemporaryDirectory() as folder:
            train_and_publish(_visitor(browser, address), Path(folder), tell=print)


def _sizes() -> None:
    page = page_files()
    files = [page.html, *page.files.values()]
    raw, gzipped = (sum(map(len, part)) for part in zip(*((one.content, one.gzipped) for one in files), strict=True))
    print(f"All {len(files)} files: {raw / 1000:.1f} kB, gzipped {gzipped / 1000:.1f} kB")


def _first_view(browser: Browser, address: str) -> None:
    visits = []
    for _ in range(VISITS):
        context = browser.new_context(base_url=address)
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto("/")
        page.wait_for_function("() => window.complete")
        visits.append(page.evaluate(FIGURES))
        context.close()
    paint, usable, complete = (
        statistics.median(one[name] for one in visits) for name in ("paint", "usable", "complete")
    )
    requests = visits[-1]["requests"]
    code = [name for name in requests if "/studio/" in name or name.rstrip("/") == address]
    print(
        f"First visit, median of {VISITS}: first contentful paint {paint:.0f} ms, a photo can be given after "
        f"{usable:.0f} ms, models can be chosen after {complete:.0f} ms; {len(requests)} requests by then, "
        f"{len(code)} of them for the page itself, {visits[-1]['bytes'] / 1000:.1f} kB in all"
    )


def _visitor(browser: Browser, address: str) -> Person:
    return Person(browser.new_context(base_url=address).new_page())


def _own_photo(browser: Browser, address: str) -> None:
    """From a server that is ready, and has painted nothing before, to one's own photo, painted; then once more."""
    for when in ("first", "next"):
        person = _visitor(browser, address)
        page, result = person.page, person.result
        begun = time.perf_counter()
        page.goto("/")
        page.get_by_role("radio").first.wait_for(state="attached")
        person.drop(PHOTO)
        result.wait_for()
        print(f"Own photo, {when} visit: dropped, painted {time.perf_counter() - begun:.1f} s after the visit began")
        with page.expect_file_chooser() as chooser:
            person.click("button", "New photo")
        begun = time.perf_counter()
        chooser.value.set_files(PHOTO)
        result.wait_for(state="detached")
        result.wait_for()
        seconds = time.perf_counter() - begun
        print(f"  chosen with {person.clicks} click and the system's dialog, painted {seconds:.1f} s after that")


def train_and_publish(person: Person, folder: Path, *, tell: Callable[[str], object] = lambda line: None) -> str:
    """From two folders of pictures to a published model and a photo that it has painted; the run's id."""
    page = person.page
    folders = cut_folders(folder)
    begun = time.perf_counter()

    def after(what: str) -> None:
        tell(f"  {time.perf_counter() - begun:6.1f} s, {person.clicks} clicks: {what}")

    tell("From two folders to a published model, by the preset of two minutes:")
    page.goto("/")
    person.click("link", "Train")
    page.get_by_role("heading", name="Data sets").wait_for()
    person.drop(*folders)
    person.click("button", "Upload")
    person.click("link", "Train on it")
    after("the data set is there")
    person.click("button", "Start")
    page.get_by_role("heading", name="Losses").wait_for()
    after("the run is started")
    page.get_by_role("slider", name="Step").wait_for()
    after("it shows its first sample pictures")
    page.locator(".badge.state", has_text="succeeded").wait_for()
    after("it has ended")
    run = page.url.rpartition("/")[2]
    person.click("button", "Publish…")
    page.get_by_label("Name", exact=True).fill("mine")
    person.click("button", "Publish")
    person.click("link", "Try it")
    after("the model is published, under a name that was typed")
    person.drop(PHOTO)
    person.result.wait_for()
    after("it has painted a photo")
    return run
