"""Where this machine's Chromium is. Playwright drives the system's own; none is downloaded."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NOT_FOUND = f"no browser is installed ({', '.join(NAMES)}), so the page is not tested"


def chromium() -> str | None:
    """The program; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)
