"""The shapes of data sets, training runs and comparisons that cross HTTP as JSON."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.store.datasets import DatasetInfo, DomainInfo, Rejected
from models.store.options import CycleGANChoices, StarGANChoices
from models.store.run_status import Alarm, Quality, RunState
from worker.contract import Failure, Timings

MAX_COMPARED = 16

DatasetName = Annotated[str, Field(description="a data set of `GET /datasets`", examples=["monet"])]
InitFrom = Annotated[
    str | None,
    Field(description="a model of `GET /models` to start from (fine-tuning); sizes that are not given become its own"),
]


class DatasetDetails(BaseModel):
    """A data set."""

    name: str
    layout: Annotated[Literal["unpaired", "domains"], Field(description="trainA/ trainB/, or train/<domain>/")]
    domains: Annotated[dict[str, DomainInfo], Field(description="how many pictures each has")]
    pictures: int
    nbytes: int
    created_at: datetime
    smallest_px: Annotated[tuple[int, int] | None, Field(description="width and height; null for an operator's folder")]
    largest_px: tuple[int, int] | None
    duplicates: Annotated[list[list[str]], Field(description="files with the same pixels; all are kept")]
    rejected: Annotated[
        list[Rejected], Field(description="files of the archive that were left out, the first 1,000, pictures first")
    ]
    rejected_count: Annotated[int, Field(description="how many were left out")]
    used_by: Annotated[list[str], Field(description="training runs that have not ended")]
    links: dict[str, str]

    @classmethod
    def of(cls, info: DatasetInfo, used_by: list[str]) -> "DatasetDetails":
        base = f"/datasets/{info.name}"
        links = {"self": base, "preview": f"{base}/preview"}
        return cls(**info.model_dump(), pictures=info.pictures, used_by=used_by, links=links)


class CycleGANRequest(CycleGANChoices):
    """A CycleGAN run to be started."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "monet", "image_size": 128, "load_size": 143, "epochs": 20}]}
    )

    dataset: DatasetName
    init_from: InitFrom = None
    init_direction: Annotated[
        Literal["AtoB", "BtoA"], Field(description="the generator that `init_from` is given to")
    ] = "AtoB"


class StarGANRequest(StarGANChoices):
    """A StarGAN v2 run to be started."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "cat2dog", "img_size": 128, "masks": "ones", "total_iters": 20000}]}
    )

    dataset: DatasetName
    init_from: InitFrom = None


class Forecast(BaseModel):
    """What a run would be, if it were started."""

    options: Annotated[dict[str, Any], Field(description="all options, with the defaults of those not given")]
    parameters: Annotated[dict[str, int], Field(description="of each network")]
    total_steps: int
    gflop_per_step: float
    memory_mb: Annotated[int, Field(description="estimated, of each process")]
    seconds: Annotated[float, Field(description="estimated, of the whole run")]
    estimated_by: Annotated[str, Field(description="what the time is estimated by")]
    warnings: list[str]


class TrainingRun(BaseModel):
    """A training run: a job that outlives the queue."""

    id: str
    kind: Literal["training"] = "training"
    model: Annotated[str | None, Field(description="always null; a run makes models but does not use one")] = None
    family: Literal["cyclegan", "stargan_v2"]
    dataset: str
    status: RunState
    position: Annotated[int | None, Field(description="runs ahead of it while it is queued")]
    stopping: Annotated[bool, Field(description="it was told to stop, and does at the end of its step")]
    progress: Annotated[float, Field(ge=0, le=1)]
    step: int
    total_steps: Annotated[int, Field(description="0 before it has begun")]
    images_per_s: float | None
    eta_s: Annotated[float | None, Field(description="seconds until its end, at the present pace")]
    learning_rate: float | None
    lambda_ds: Annotated[float | None, Field(description="StarGAN v2: the diversity loss's weight now")]
    losses: Annotated[dict[str, float], Field(description="of the last step")]
    smoothed: Annotated[dict[str, float], Field(description="moving averages of the losses")]
    gpu_memory_mb: Annotated[float | None, Field(description="most that was allocated; null on a CPU")]
    device: str | None
    last_checkpoint: Annotated[int | None, Field(description="step")]
    best_checkpoint: Annotated[int | None, Field(description="step; by the mean cycle error on held-out pictures")]
    checkpoints: Annotated[list[int], Field(description="steps that can be published")]
    samples: Annotated[list[int], Field(description="steps that there are sample pictures of")]
    alarms: list[Alarm]
    quality: Annotated[list[Quality], Field(description="measured on held-out pictures")]
    parameters: dict[str, int]
    domains: list[str]
    attempts: int
    comparison: Annotated[str | None, Field(description="the comparison that it is a part of")]
    options: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: Timings = Timings()
    error: Failure | None
    links: dict[str, str]


class Publication(BaseModel):
    """A generator of a run to be put into service."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "my-model", "direction": "AtoB"}]}
    )

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="of the model; again for a new version of it"),
    ]
    direction: Annotated[
        Literal["AtoB", "BtoA"] | None, Field(description="of a CycleGAN: which of its generators; default AtoB")
    ] = None
    step: Annotated[
        Annotated[int, Field(strict=True)] | Literal["last", "best"],
        Field(description="which checkpoint: its step, the `last` or the `best`"),
    ] = "last"
    description: Annotated[str | None, Field(max_length=2000, description="for the model's card")] = None
    licence: Annotated[str | None, Field(max_length=500, description="for the model's card")] = None


class Published(BaseModel):
    """A model that was put into service."""

    name: str
    version: int


class Comparison(BaseModel):
    """Several runs to be made of one base, to be seen side by side."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "family": "stargan_v2",
                    "base": {"dataset": "cat2dog", "lr": 1e-4, "f_lr": 1e-6, "masks": "ones"},
                    "variants": [
                        {"beta1": 0, "beta2": 0.99, "weight_decay": 1e-4},
                        {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-4},
                        {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-5},
                        {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-3},
                    ],
                }
            ]
        },
    )

    family: Literal["cyclegan", "stargan_v2"]
    base: Annotated[dict[str, Any], Field(description="the options of all, with the data set, as `POST /training/...`")]
    variants: Annotated[list[dict[str, Any]], Field(description="for each run the options that it has of its own")] = []
    grid: Annotated[
        dict[str, list[Any]], Field(description="instead: options with their values; a run for every combination")
    ] = {}

    @field_validator("grid")
    @classmethod
    def _some_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [name for name, values in grid.items() if not values]:
            raise ValueError(f"the grid has no values for {', '.join(empty)}")
        return grid


class ComparedForecast(BaseModel):
    """What a run of a comparison would be."""

    label: Annotated[str, Field(description="what sets it apart")]
    forecast: Forecast


class ComparisonForecast(BaseModel):
    """What a comparison would be, if it were started."""

    seconds: Annotated[float, Field(description="estimated, of all runs, one after the other")]
    runs: list[ComparedForecast]


class ComparedRun(BaseModel):
    """A run of a comparison, as a row of its table."""

    id: str
    label: Annotated[str, Field(description="what sets it apart")]
    options: Annotated[dict[str, Any], Field(description="its own")]
    status: RunState
    step: int
    total_steps: int
    smoothed: dict[str, float]
    quality: Annotated[dict[str, float], Field(description="the last figures on held-out pictures")]
    alarms: list[Alarm]
    links: dict[str, str]


class ComparisonState(BaseModel):
    """A comparison's table; its picture and video once there are samples."""

    id: str
    family: Literal["cyclegan", "stargan_v2"]
    created_at: datetime
    status: Annotated[RunState, Field(description="of all together")]
    runs: list[ComparedRun]
    links: dict[str, str]
