"""Which files of a folder are pictures, for everything that reads folders. Decides by names; opens nothing."""

from pathlib import Path

SUFFIXES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"))

# What systems and programs leave in folders, beside hidden files: macOS, Windows, Synology.
_CLUTTER = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir", "icon\r"))


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name was put there by a system or a program, or is hidden. Never a picture."""
    return name.startswith(".") or name.lower() in _CLUTTER


def list_pictures(folder: Path) -> list[Path]:
    """The picture files directly in ``folder``, sorted by name; empty when there is no such folder.

    Clutter, folders and links that lead nowhere are left out, whatever their names.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_named_as_picture(path) and path.is_file())


def list_subfolders(folder: Path) -> list[Path]:
    """The folders directly in ``folder``, sorted by name, without clutter; empty when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_clutter(path.name) and path.is_dir())


def list_others(folder: Path) -> list[Path]:
    """The files directly in ``folder`` that are neither pictures nor clutter, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if not is_clutter(path.name) and not _is_named_as_picture(path) and path.is_file()
    )


def _is_named_as_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_clutter(path.name)
