"""Checks requests for training runs before anything is queued."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.callers import Caller
from app.errors import sentence
from app.forecast import Forecaster
from app.own_datasets import own_dataset
from app.training_schemas import CUTRequest, CycleGANRequest, Forecast, StarGANRequest
from models.errors import Invalid
from models.store.catalog import Catalog, Model
from models.store.datasets import DatasetInfo, DatasetStore
from models.store.options import OPTIONS, Options, StarGANOptions
from models.store.run_changes import PLACES, check_length, with_change
from models.store.run_checks import total_steps, with_sizes_of
from models.store.run_choices import LENGTHS
from models.store.runs import RunStore
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainerReport

FACE_MODEL = "stargan-celeba-hq"  # its weights hold the landmark network

RunRequest = CycleGANRequest | CUTRequest | StarGANRequest
REQUESTS: dict[str, type[RunRequest]] = {kind.FAMILY: kind for kind in (CycleGANRequest, CUTRequest, StarGANRequest)}


@dataclass(frozen=True)
class AcceptedRun:
    """A run that can be started: a request that passed all checks."""

    options: Options
    dataset: str
    init_from: str | None
    forecast: Forecast
    caller: Caller  # whose run it is
    webhook: str | None = None  # the address to tell when it has ended


@dataclass(frozen=True)
class _CheckedRun:
    """A request that fits its data set and its model; whether it fits a trainer is not known yet."""

    options: Options
    dataset: DatasetInfo
    init_from: str | None
    total_steps: int | None  # None: as many as fit the minutes that were asked for


class RunChecker:
    """Checks requests against data sets, models and trainers, and fills in the options that they don't give."""

    def __init__(
        self, catalog: Catalog, datasets: DatasetStore, store: RunStore, preparation: PreparationQueue
    ) -> None:
        self._catalog = catalog
        self._datasets = datasets
        self._forecaster = Forecaster(store, preparation)

    def check(
        self, requests: Sequence[RunRequest], trainers: Sequence[TrainerReport], caller: Caller
    ) -> list[AcceptedRun]:
        """Check requests and forecast their runs, all or none.

        Raises:
            Invalid: an option doesn't fit; the message names it.
            UnknownDataset, DatasetError, UnknownModel: a data set or model doesn't exist or can't be used.
            Unavailable: no preparer is alive to size the runs.
        """
        checked = [self._check(request, caller) for request in requests]
        forecasts = self._forecaster.forecast(
            [(run.options, run.total_steps, len(run.dataset.domains)) for run in checked], trainers
        )
        accepted = []
        for request, run, forecast in zip(requests, checked, forecasts, strict=True):
            forecast.options["init_from"] = run.init_from
            forecast.warnings += _warnings(run.options, run.dataset)
            accepted.append(
                AcceptedRun(run.options, run.dataset.name, run.init_from, forecast, caller, request.webhook)
            )
        return accepted

    def _check(self, request: RunRequest, caller: Caller) -> _CheckedRun:
        info = own_dataset(self._datasets, request.dataset, caller)
        inputs: dict[str, Any] = {"dataset": self._datasets.path(request.dataset).resolve()}
        model: Model | None = None
        if request.init_from is not None:
            model = self._catalog.resolve(request.init_from)
            if model.name != request.init_from:
                raise Invalid(
                    f"init_from: the weights of {request.init_from!r} are not on this server; those of {model.name!r} "
                    "are."
                )
            assert model.weights is not None, "a resolved model has weights"
            inputs["init_from"] = model.weights.resolve()  # of this version, even if a newer one is published meanwhile
            request = with_sizes_of(model, request, len(info.domains))
        steps = total_steps(request, info.name, {name: domain.train for name, domain in info.domains.items()})
        if isinstance(request, StarGANRequest) and request.needs_landmarks:
            inputs["landmarks"] = self._landmarks(model)
        return _CheckedRun(_options(request, inputs), info, request.init_from, steps)

    def resumed(self, before: Options, new: Mapping[str, Any], info: DatasetInfo, *, reached: int) -> Options:
        """The options of a run that is to be resumed, with its inputs where they are now.

        Args:
            before: its options so far.
            new: those that are to change.
            info: its data set.
            reached: the step of its last checkpoint.

        Raises:
            Invalid: an option can't change, its value can't be used, or nothing would be left to train.
        """
        places: dict[str, Any] = {"dataset": str(self._datasets.path(info.name).resolve())}
        if isinstance(before, StarGANOptions) and before.needs_landmarks and not _is_there(before.landmarks):
            places["landmarks"] = str(self._landmarks())
        try:
            options = with_change(before, {**new, **places}, also=PLACES)
        except ValidationError as error:
            raise Invalid(sentence(error.errors())) from error
        steps = self.steps(options, info)
        if steps is not None and not LENGTHS.isdisjoint(new):
            check_length(options, reached, steps)
        return options

    @staticmethod
    def steps(options: Options, info: DatasetInfo) -> int | None:
        """The number of steps of a run; None if it is not known before its pace is.

        Raises:
            DatasetError: the data set and the options don't fit.
        """
        return total_steps(options, info.name, {name: domain.train for name, domain in info.domains.items()})

    def _landmarks(self, model: Model | None = None) -> Path:
        """Weights that hold the landmark network: those of the model to start from, else those of ``FACE_MODEL``."""
        faces = self._catalog.get(FACE_MODEL) if FACE_MODEL in self._catalog.names() else None
        for known in (model, faces):
            if known is not None and known.weights is not None and known.card.network.get("landmarks"):
                return known.weights.resolve()
        start = "No model to start from was named" if model is None else f"The model {model.name!r} has none"
        raise Invalid(
            f"masks: landmarks needs a landmark network. {start}, and {FACE_MODEL} is not on this server. Send "
            "masks=ones or w_hpf=0, start from a model that has one, or ask the operator of this server to run: doppel "
            f"pull {FACE_MODEL}"
        )


def _is_there(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _options(request: RunRequest, inputs: Mapping[str, Any]) -> Options:
    choices = request.model_dump(exclude={"dataset", "init_from", "webhook"})
    try:
        return OPTIONS[request.FAMILY](**choices, **inputs)
    except ValidationError as error:  # for instance the sizes of a model that no new run may have
        raise Invalid(sentence(error.errors())) from error


def _warnings(options: Options, info: DatasetInfo) -> list[str]:
    warnings = []
    size = options.img_size if isinstance(options, StarGANOptions) else options.load_size
    if info.smallest_px is not None and min(info.smallest_px) < size:
        width, height = info.smallest_px
        warnings.append(f"some pictures are small ({width} × {height} px) and will be enlarged to {size} px")
    if not all(domain.held_out for domain in info.domains.values()):
        warnings.append("not every domain has held-out pictures, so the quality of the run will not be measured")
    return warnings
