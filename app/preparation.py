"""What is asked of training, checked before any of it is queued."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.forecast import forecast
from app.training_schemas import CycleGANRequest, Forecast, StarGANRequest
from models.errors import Invalid
from models.store.catalog import Catalog, Model
from models.store.datasets import DatasetStore
from models.store.options import CycleGANOptions, Options, StarGANOptions, cyclegan_steps
from models.store.runs import RunStore
from worker.training_queue import TrainerReport

FACE_MODEL = "stargan-celeba-hq"  # whose weights hold the landmark network

Request = CycleGANRequest | StarGANRequest


@dataclass(frozen=True)
class Prepared:
    """A request that was found acceptable."""

    options: Options
    dataset: str
    init_from: str | None
    forecast: Forecast


class Preparation:
    """Checks requests, and makes of each all that a run is told."""

    def __init__(self, catalog: Catalog, datasets: DatasetStore, store: RunStore) -> None:
        self._catalog = catalog
        self._datasets = datasets
        self._store = store

    def prepare(self, request: Request, trainers: list[TrainerReport]) -> Prepared:
        """Check a request against its data set, the model it starts from, and the machines that train.

        Raises:
            Invalid: an option does not fit; the message says what would.
            UnknownDataset, DatasetError, UnknownModel: what it names cannot be had.
        """
        info = self._datasets.get(request.dataset)
        place: dict[str, Any] = {"dataset": self._datasets.path(request.dataset).resolve()}
        if request.init_from is not None:
            model = self._catalog.resolve(request.init_from)
            if model.name != request.init_from:
                raise Invalid(f"init_from: the weights of {request.init_from!r} are not here; {model.name!r} has some.")
            assert model.weights is not None, "a resolved model has weights"
            place["init_from"] = model.weights.resolve()  # this version, whatever is published meanwhile
            request = _as_large_as(request, model, len(info.domains))
        choices = request.model_dump(exclude={"dataset", "init_from"})
        num_domains = len(info.domains)
        options: Options
        if isinstance(request, CycleGANRequest):
            if num_domains != 2:
                raise Invalid(f"A CycleGAN needs two domains; {info.name!r} has {', '.join(info.domains)}.")
            if request.load_size < request.image_size:
                raise Invalid(
                    f"load_size {request.load_size} is smaller than the crop, image_size {request.image_size}."
                )
            options = CycleGANOptions(**choices, **place)
            total_steps = sum(cyclegan_steps(request, max(domain.train for domain in info.domains.values())))
        else:
            if request.domains is not None and len(request.domains) != num_domains:
                raise Invalid(
                    f"{len(request.domains)} names are given to domains, but {info.name!r} has {num_domains}: "
                    f"{', '.join(info.domains)}."
                )
            if request.needs_landmarks:
                place["landmarks"] = self._landmarks()
            options = StarGANOptions(**choices, **place)
            total_steps = request.total_iters
        if total_steps < 1:
            raise Invalid("These options come to no step at all; ask for more epochs.")
        if request.batch_size % request.gpus:
            raise Invalid(
                f"batch_size {request.batch_size} cannot be shared out evenly among {request.gpus} processes."
            )
        told = forecast(options, total_steps, num_domains, store=self._store, trainers=trainers)
        told.options["init_from"] = request.init_from
        size = options.img_size if isinstance(options, StarGANOptions) else options.load_size
        if info.smallest_px is not None and min(info.smallest_px) < size:
            width, height = info.smallest_px
            told.warnings.append(f"there are pictures of {width} × {height} px, which are enlarged to {size} px")
        if not all(domain.held_out for domain in info.domains.values()):
            told.warnings.append("no pictures are held out in every domain, so the run's quality is not measured")
        return Prepared(options, info.name, request.init_from, told)

    def _landmarks(self) -> Path:
        if FACE_MODEL in self._catalog.names() and (weights := self._catalog.get(FACE_MODEL).weights) is not None:
            return weights
        raise Invalid(
            "w_hpf > 0 with masks of landmarks needs the landmark network, which is not on this server. Send "
            f"masks=ones or w_hpf=0, or have its operator run: doppel pull {FACE_MODEL}"
        )


def _as_large_as(request: Request, model: Model, num_domains: int) -> Request:
    """The request with the sizes of the model that it starts from.

    Raises:
        Invalid: it is of another family, or a size is given that is not the model's.
    """
    family = "cyclegan" if isinstance(request, CycleGANRequest) else "stargan_v2"
    if model.card.family != family:
        raise Invalid(f"init_from: {model.name!r} is a model of the family {model.card.family}, not {family}.")
    if family == "stargan_v2" and len(model.card.domains) != num_domains:
        raise Invalid(f"init_from: {model.name!r} has {len(model.card.domains)} domains, the data set {num_domains}.")
    sizes: Mapping[str, Any] = {
        name: value for name, value in model.card.network.items() if name in type(request).model_fields
    }
    if isinstance(request, StarGANRequest):
        network = model.card.network
        base_dim = network.get("base_dim", 2**14 // int(network["img_size"]))
        sizes = {**sizes, "base_dim": base_dim, "normalize_rgb": bool(network.get("normalize_rgb", 1))}
    for name in request.model_fields_set & sizes.keys():
        if getattr(request, name) is not None and getattr(request, name) != sizes[name]:
            raise Invalid(
                f"init_from: {model.name!r} has {name} {sizes[name]}, and the run is to have {getattr(request, name)}."
            )
    return request.model_copy(update=dict(sizes))
