"""A run's metrics.jsonl: a record for each step, one a line, in the order of the steps. Loads no torch.

A run may have a million steps, and its file hundreds of megabytes. Nothing here reads it whole: the lines are in order
and of much the same length, so a step is found by a look at a few places of the file.
"""

import bisect
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from models.errors import RunFolderError

BLOCK_BYTES = 8192  # read at once; some tens of lines

Record = dict[str, float]  # "step", "seconds" since the run began, and each loss by its name

T = TypeVar("T")

_STEP = re.compile(rb'"step": ?(\d+)')


class MetricsFile:
    """The metrics of one run. A line that is still being written, or that a crash cut short, is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Add the record of a step, which comes after all steps that are there."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def last_step(self) -> int:
        """The last step that has a record; 0 if there is none.

        Raises:
            RunFolderError: the file is damaged.
        """
        return self._look(lambda lines: lines.last_step, without=0)

    def read(self, *, after_step: int = 0, at_most: int | None = None) -> Iterator[Record]:
        """The records of the steps after ``after_step``, one by one; the first ``at_most`` of them.

        Raises:
            RunFolderError: the file is damaged.
        """
        start, end = self._look(lambda lines: (lines.find(after_step + 1), lines.end), without=(0, 0))
        if start == end:
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in itertools.islice(file, at_most):
                start += len(line)
                if start > end or not line.endswith(b"\n"):  # added since, or cut back
                    return
                yield json.loads(line)

    def thinned(self, *, after_step: int = 0, points: int) -> list[Record]:
        """At most ``points`` records of steps after ``after_step``: the last one, and every n-th before it.

        Raises:
            RunFolderError: the file is damaged.
        """
        nothing: list[bytes] = []
        found = self._look(lambda lines: list(lines.thinned(after_step, points)), without=nothing)
        return [json.loads(line) for line in found]

    def _look(self, look: Callable[["_Lines"], T], without: T) -> T:
        """What ``look`` finds in the file; ``without`` if there is no file."""
        while True:
            try:
                with self.path.open("rb") as file:
                    return look(_Lines(file, self.path))
            except FileNotFoundError:
                return without
            except _CutBack:
                continue

    def cut_back(self, step: int) -> None:
        """Remove the records of later steps than ``step``, and a line that a crash cut short.

        Raises:
            RunFolderError: the file is damaged.
        """
        try:
            with self.path.open("rb+") as file:
                file.truncate(_Lines(file, self.path).find(step + 1))
        except FileNotFoundError:
            return


class _CutBack(Exception):
    """The file was shortened while it was searched."""


class _Lines:
    """The complete lines of an open file, as of now.

    Attributes:
        end: offset of the end of the last complete line.
        last_step: the step of that line; 0 if there is none.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._fd = file.fileno()
        self._path = path
        self.end = self._line_break_before(os.fstat(self._fd).st_size)
        self._last = self._line_break_before(self.end - 1)  # offset of the last line
        self.last_step = self._step(self._read(self._last, self.end)) if self.end else 0

    def _read(self, start: int, stop: int) -> bytes:
        return os.pread(self._fd, stop - start, start)

    def _line_break_before(self, offset: int) -> int:
        """The offset after the last line break before ``offset``; 0 if there is none."""
        while offset > 0:
            start = max(0, offset - BLOCK_BYTES)
            found = self._read(start, offset).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            offset = start
        return 0

    def _step(self, line: bytes) -> int:
        found = _STEP.search(line)
        if found is None:
            if os.fstat(self._fd).st_size < self.end:
                raise _CutBack
            raise RunFolderError(f"The {self._path.name} of the run {self._path.parent.name} is damaged: {line[:80]!r}")
        return int(found[1])

    def find(self, step: int, *, after: tuple[int, int] = (0, 0)) -> int:
        """The offset of the first line of this step or a later one; ``end`` if there is none.

        Args:
            after: the offset of a line and its step, which is lower than ``step``.
        """
        if step > self.last_step:
            return self.end
        (low, low_step), (high, high_step) = after, (self._last, self.last_step)
        guess_by_steps = True
        while high - low > BLOCK_BYTES:
            # Lines of one run differ little in length. Where they do, halving the rest ends the search.
            share = (step - low_step) / (high_step - low_step) if guess_by_steps else 0.5
            guess_by_steps = not guess_by_steps
            start = min(max(low, low + int((high - low) * share) - BLOCK_BYTES // 2), high - BLOCK_BYTES)
            offset, lines = self._whole_lines(start)
            if (first_step := self._step(lines[0])) >= step:
                high, high_step = offset, first_step
            elif (last_step := self._step(lines[-1])) < step:
                low, low_step = offset + sum(map(len, lines[:-1])), last_step
            else:
                return self._offset_among(lines, step, offset)
        rest = self._read(low, self.end if high == self._last else high).splitlines(keepends=True)
        return self._offset_among(rest, step, low)

    def _offset_among(self, lines: list[bytes], step: int, offset: int) -> int:
        """The offset of the first of the ``lines``, which begin at ``offset``, that is of this step or a later one."""
        return offset + sum(map(len, lines[: bisect.bisect_left(lines, step, key=self._step)]))

    def _whole_lines(self, start: int) -> tuple[int, list[bytes]]:
        """The whole lines in a block from ``start`` on, at least one, and the offset of the first."""
        stop = start + BLOCK_BYTES
        while stop < self.end:
            block = self._read(start, stop)
            begin = block.find(b"\n") + 1 if start else 0
            if lines := block[begin : block.rfind(b"\n") + 1].splitlines(keepends=True):
                return start + begin, lines
            stop += BLOCK_BYTES
        return self._last, [self._read(self._last, self.end)]

    def thinned(self, after_step: int, points: int) -> Iterator[bytes]:
        """The last line and every n-th before it, in order; at most ``points``, of steps after ``after_step``."""
        count = self.last_step - after_step
        if count <= 0:
            return
        stride = -(-count // points)
        found = (0, 0)
        for step in range(after_step + 1 + (count - 1) % stride, self.last_step + 1, stride):
            if step <= found[1]:
                continue  # some steps have no record, and the next one that has was given already
            offset = self.find(step, after=found)
            line = self._line(offset)
            found = (offset, self._step(line))
            yield line

    def _line(self, offset: int) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            block = self._read(offset + len(line), min(self.end, offset + len(line) + BLOCK_BYTES))
            if not block:
                raise _CutBack
            line += block[: block.find(b"\n") + 1] or block
        return line
