"""Reads the pictures that a run trains on, and passes over those that can't be read."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from models.errors import DatasetError, PictureRejected
from models.pictures import decoding

log = logging.getLogger("doppel.training")


class PictureReader:
    """Reads pictures as a viewer shows them, which is how the service decodes uploads.

    A file that is no picture, or a damaged one, is passed over: the next in order of preference takes its place. Which
    one that is depends on the files alone, so a resumed run trains on the same pictures.

    Args:
        root: the data set's folder.
        folders: the pictures of each of its folders. Their headers are checked at once, which is quick.

    Raises:
        DatasetError: a file can't be opened, or a folder holds no file that looks like a picture.
    """

    def __init__(self, root: Path, folders: Iterable[Sequence[Path]]) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}  # path below the root → why, of those that were found so far
        for paths in folders:
            for path in paths:
                with self._reading(path):
                    decoding.check_header(path)
            if paths and all(self._name(path) in self.unreadable for path in paths):
                raise self._none_readable(paths[0])

    def readable(self, paths: Iterable[Path]) -> Iterator[Image.Image]:
        """Those of these pictures that can be read, one after the other, as RGB.

        Raises:
            DatasetError: a file can't be opened, or none of them is a picture.
        """
        first, found = None, False
        for path in paths:
            first = first or path
            picture = None
            if self._name(path) not in self.unreadable:
                with self._reading(path):
                    picture = decoding.read_picture(path).image
            if picture is not None:
                found = True
                yield picture
        if first and not found:
            raise self._none_readable(first)

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except PictureRejected as error:
            self.unreadable[self._name(path)] = str(error)
            log.warning("%s %s; it is passed over", self._name(path), error)
        except OSError as error:  # another attempt might read it, and would then train on other pictures
            raise DatasetError(f"{self._name(path)} of the data set cannot be read: {error}") from error

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _none_readable(self, path: Path) -> DatasetError:
        why = self.unreadable[self._name(path)]
        return DatasetError(f"None of the pictures in {path.parent.name} can be read. {self._name(path)} {why}.")
