"""The models that a worker holds in memory, within a budget, and the tasks that it runs on them."""

import contextlib
import logging
import math
import tempfile
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open

from models.device import ServingDevice
from models.errors import ClipRejected, DoppelError, UnknownModel
from models.pictures import Picture
from models.pictures.clips import Clip, ClipBounds
from models.serving.engine import Pending
from models.serving.filming import film
from models.serving.painter import Painter
from models.serving.style_codes import interpolated
from models.serving.stylist import Stylist
from models.serving.translator import Translator
from models.store.catalog import Catalog, Model
from worker.contract import Filming
from worker.errors import BadClip, ModelRemoved
from worker.file_bytes import pack_file, unpack_file
from worker.tasks import LoadedTask, Result, Step

log = logging.getLogger("doppel.worker")

FLOAT32_BYTES = 4

ResidentModel = Translator | Stylist | Painter


@dataclass(frozen=True)
class _Resident:
    model: ResidentModel
    file: tuple[str, int]  # path and modification time of the weights file; if they change, the model is loaded anew
    version: str | None


class ResidentModels:
    """Loads each model once and keeps it; before it loads one, drops the least recently used to make room.

    Args:
        budget_bytes: of weights, never exceeded, except by a model that is too large for it alone, and by one that is
            needed for a long task meanwhile.
        step_size: pictures that a long task generates at a time.
    """

    def __init__(self, catalog: Catalog, device: ServingDevice, *, budget_bytes: int, step_size: int = 1) -> None:
        self.catalog = catalog
        self.device = device
        self.budget_bytes = budget_bytes
        self.step_size = step_size
        self._residents: OrderedDict[str, _Resident] = OrderedDict()
        self._in_long_task: str | None = None  # this model stays in memory while short tasks run between the steps

    def loaded(self) -> list[str]:
        """Names of the models in memory, most recently used last; those that share a weights file under its name."""
        return list(self._residents)

    def usable(self) -> bool:
        """False once the device has failed for good."""
        return self.device.is_usable()

    def run_batch(self, tasks: Sequence[LoadedTask]) -> Sequence[Result]:
        """Run N short tasks of one batch key on their model, which is loaded first if need be.

        Raises:
            DoppelError: as :meth:`load`.
        """
        model = self.load(tasks[0].task.model)
        version = self._last_used.version
        return [replace(result, version=version) for result in _run_batch(tasks, model)]

    @property
    def _last_used(self) -> _Resident:
        return next(reversed(self._residents.values()))

    def begin(self, tasks: Sequence[LoadedTask]) -> Pending[list[Result]] | None:
        """Start N short tasks of one batch key beside this thread, if that is how their model computes.

        A model that has to be loaded first is left to :meth:`run_batch`: room is made for it when nothing computes.
        """
        if self.device.is_cpu:
            return None
        model = self._ready(tasks[0].task.model)
        if not isinstance(model, Translator):
            return None
        pending = model.begin([loaded.pictures[0] for loaded in tasks])
        version = self._last_used.version
        if pending is None:
            return None
        return pending.then(lambda made: [Result([picture], version=version) for picture in made])

    def run_in_steps(self, task: LoadedTask) -> Generator[Step]:
        """Run a grid or a video, ``step_size`` pictures at a time, a translation in tiles, or a clip frame by frame.

        A grid's first pictures are its sources and its references.

        Raises:
            DoppelError: as :meth:`load`.
        """
        model = self.load(task.task.model)
        self._in_long_task, version = next(reversed(self._residents)), self._last_used.version
        if isinstance(model, Stylist):
            steps = self._steps(task, model)
        elif isinstance(model, Painter) and task.task.filming is not None:
            steps = _filmed(task, model, task.task.filming)
        else:
            steps = _tiled(task, model)
        try:
            with contextlib.closing(steps):
                for step in steps:
                    yield replace(step, version=version)
        finally:
            self._in_long_task = None

    def _steps(self, loaded: LoadedTask, model: Stylist) -> Generator[Step]:
        loaded = _aligned(loaded, model)
        task = loaded.task
        sources = model.prepare(loaded.pictures[: task.sources])
        styles = model.styles(task.guides, _references(loaded))
        if task.kind == "grid":
            yield Step(loaded.pictures, done=0.0)
        else:
            styles = interpolated(styles, task.frames)
        cells = [(row, column) for row in range(len(styles)) for column in range(task.sources)]
        for first in range(0, len(cells), self.step_size):
            step = cells[first : first + self.step_size]
            pictures = model.generate(sources, [column for _, column in step], styles[[row for row, _ in step]])
            yield Step(pictures, done=(first + len(step)) / len(cells))

    def load(self, name: str) -> ResidentModel:
        """Return the model, from memory or from disk.

        Raises:
            CatalogError, CheckpointError, ModelUnavailable: it cannot be loaded; the message says why.
            ModelRemoved: it is no longer in the catalog.
        """
        try:
            model = self.catalog.get(name)
        except UnknownModel as error:
            raise ModelRemoved(name) from error
        weights, key = model.weights, model.weights_name
        try:
            file = _file(weights)
            if not self._holds(key, file):
                self._residents.pop(key, None)  # its weights were replaced, so it is of no use any more
                if weights is not None and (needed_bytes := _float32_bytes(weights)):
                    self._make_room(needed_bytes)
                self._residents[key] = _Resident(_loaded(model, self.device), file, model.version)
        except Exception as error:
            if weights is None or weights.exists():
                raise
            raise ModelRemoved(name) from error
        self._residents.move_to_end(key)
        return self._residents[key].model

    def _ready(self, name: str) -> ResidentModel | None:
        """The model, if it is in memory as it is on disk."""
        try:
            model = self.catalog.get(name)
            if not self._holds(model.weights_name, _file(model.weights)):
                return None
        except (DoppelError, OSError):
            return None  # loading it says why
        self._residents.move_to_end(model.weights_name)
        return self._residents[model.weights_name].model

    def _holds(self, key: str, file: tuple[str, int]) -> bool:
        return key in self._residents and self._residents[key].file == file

    def _make_room(self, needed_bytes: int) -> None:
        for name in list(self._residents):
            if self._nbytes() + needed_bytes <= self.budget_bytes:
                break
            if name != self._in_long_task:
                del self._residents[name]
                log.info("dropped %s from memory", name)

    def _nbytes(self) -> int:
        return sum(resident.model.nbytes for resident in self._residents.values())


def _file(weights: Path | None) -> tuple[str, int]:
    """A published model's folder is a link, which may lead to another version tomorrow."""
    return (str(weights.resolve()), weights.stat().st_mtime_ns) if weights else ("", 0)


def _loaded(model: Model, device: ServingDevice) -> ResidentModel:
    if model.card.family == "style":
        return Painter(model, device)
    return Stylist(model, device) if model.card.family == "stargan_v2" else Translator(model, device)


def _float32_bytes(weights: Path) -> int:
    """Memory that a model takes while it is loaded, when its weights are in float32, whatever they are in the file.

    0 for a file that can't be read: loading it says why, and nothing is dropped for it.
    """
    try:
        with safe_open(weights, framework="numpy") as file:
            keys = file.keys()
            numbers: int = sum(math.prod(file.get_slice(key).get_shape()) for key in keys)
    except (OSError, SafetensorError):
        return 0
    return FLOAT32_BYTES * numbers


def _run_batch(tasks: Sequence[LoadedTask], model: ResidentModel) -> list[Result]:
    if isinstance(model, Translator):
        return [Result([picture]) for picture in model([loaded.pictures[0] for loaded in tasks])]
    if isinstance(model, Painter):
        return _painted(tasks, model)
    tasks = [_aligned(loaded, model) for loaded in tasks]
    guides = [guide for loaded in tasks for guide in loaded.task.guides]
    references = [picture for loaded in tasks for picture in _references(loaded)]
    styles = model.styles(guides, references)
    if tasks[0].task.kind == "style":
        return [Result(style=style) for style in styles.tolist()]
    sources = model.prepare([loaded.pictures[0] for loaded in tasks])
    return [Result([picture]) for picture in model.generate(sources, range(len(tasks)), styles)]


def _tiled(loaded: LoadedTask, model: Translator | Painter) -> Generator[Step]:
    source, *styles = loaded.pictures
    if isinstance(model, Painter):
        assert loaded.task.painting is not None, "every task of this family has one"
        steps = model.in_tiles(source, loaded.task.painting, styles)
    else:
        steps = model.in_tiles(source)
    for done, picture in steps:
        yield Step([picture] if done == 1 else [], done)


def _filmed(loaded: LoadedTask, model: Painter, filming: Filming) -> Generator[Step]:
    task, (packed, *styles) = loaded.task, loaded.pictures
    assert task.painting is not None, "every task of this family has one"
    bounds = ClipBounds(max_frames=filming.max_frames, max_pixels=filming.max_pixels)
    out_size = filming.width, filming.height
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "clip.mp4"
        begin = partial(model.filming, task.painting, styles)
        try:
            clip = Clip(unpack_file(packed), bounds)
            for done in film(clip, target, begin=begin, size=(task.width, task.height), out_size=out_size):
                yield Step([pack_file(target.read_bytes())] if done == 1 else [], done)
        except ClipRejected as error:
            raise BadClip(f"The video {error}.") from error


def _painted(tasks: Sequence[LoadedTask], model: Painter) -> list[Result]:
    paintings = [loaded.task.painting for loaded in tasks if loaded.task.painting is not None]
    if tasks[0].task.kind == "style":
        codes = [
            model.code(loaded.pictures, painting.weights) for loaded, painting in zip(tasks, paintings, strict=True)
        ]
        return [Result(style=code.tolist()) for code in codes]
    sources = [loaded.pictures[0] for loaded in tasks]
    return [Result([picture]) for picture in model(sources, paintings, [loaded.pictures[1:] for loaded in tasks])]


def _aligned(loaded: LoadedTask, model: Stylist) -> LoadedTask:
    return LoadedTask(loaded.task, model.align_faces(loaded.pictures)) if loaded.task.align else loaded


def _references(loaded: LoadedTask) -> list[Picture]:
    """The task's references. A picture whose own style is asked for is its own reference."""
    return loaded.pictures if loaded.task.kind == "style" else loaded.pictures[loaded.task.sources :]
