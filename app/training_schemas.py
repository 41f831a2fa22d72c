"""JSON bodies of the HTTP interface: data sets, training runs, comparisons."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.addresses import address
from app.webhook_targets import FIELD
from models.store.cut_options import CUTChoices
from models.store.datasets import DatasetInfo, DomainInfo, PictureNote, Rejected
from models.store.names import NAME
from models.store.options import CycleGANChoices, StarGANChoices
from models.store.run_status import Alarm, Quality, RunState
from worker.contract import Failure, Timings

MAX_COMPARED = 16

DatasetName = Annotated[str, Field(description="name of a data set, see `GET /datasets`", examples=["monet"])]
InitFrom = Annotated[
    str | None,
    Field(description="name of a model to start from (fine-tuning), see `GET /models`; sizes not given are its own"),
]

Webhook = Annotated[
    str | None,
    Field(description=FIELD.format(what="run", call="/training/{id}")),
]


Owner = Annotated[
    str | None,
    Field(description="name of the API key that made it, only if one did", exclude_if=lambda name: name is None),
]


class DatasetDetails(BaseModel):
    """A data set."""

    name: str
    layout: Annotated[
        Literal["unpaired", "domains"], Field(description="`unpaired`: trainA/ and trainB/; `domains`: train/<domain>/")
    ]
    domains: Annotated[dict[str, DomainInfo], Field(description="number of pictures of each")]
    pictures: int
    nbytes: int
    created_at: datetime
    smallest_px: Annotated[
        tuple[int, int] | None, Field(description="width and height; null for a folder that was not uploaded")
    ]
    largest_px: tuple[int, int] | None
    duplicates: Annotated[list[list[str]], Field(description="groups of files with the same pixels; all are kept")]
    rejected: Annotated[
        list[Rejected], Field(description="files of the archive that were left out: the first 1,000, pictures first")
    ]
    rejected_count: Annotated[int, Field(description="number of files that were left out")]
    notes: Annotated[
        list[PictureNote], Field(description="how pictures were read whose files leave that open: the first 1,000")
    ]
    used_by: Annotated[list[str], Field(description="training runs on it that have not ended")]
    owner: Owner = None
    links: dict[str, str]

    @classmethod
    def of(cls, info: DatasetInfo, used_by: list[str]) -> "DatasetDetails":
        base = address(f"/datasets/{info.name}")
        links = {"self": base, "preview": f"{base}/preview"}
        return cls(**info.model_dump(), pictures=info.pictures, used_by=used_by, links=links)


class CycleGANRequest(CycleGANChoices):
    """A CycleGAN run to start."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "monet", "image_size": 128, "load_size": 143, "epochs": 20}]}
    )

    dataset: DatasetName
    init_from: InitFrom = None
    init_direction: Annotated[
        Literal["AtoB", "BtoA"], Field(description="the generator that starts from `init_from`")
    ] = "AtoB"
    webhook: Webhook = None


class CUTRequest(CUTChoices):
    """A CUT run to start."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "monet", "direction": "BtoA", "recipe": "FastCUT", "epochs": 20}]}
    )

    dataset: DatasetName
    init_from: InitFrom = None
    webhook: Webhook = None


class StarGANRequest(StarGANChoices):
    """A StarGAN v2 run to start."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "cat2dog", "img_size": 128, "masks": "ones", "total_iters": 20000}]}
    )

    dataset: DatasetName
    init_from: InitFrom = None
    webhook: Webhook = None


class ResumeRequest(BaseModel):
    """What is to change when a run is resumed: its length, above all, to train it further."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"epochs": 250, "epochs_decay": 50}, {"total_iters": 150000}, {"minutes": 30}]},
    )

    epochs: Annotated[
        float | None,
        Field(description="CycleGAN, CUT: passes at the full learning rate, counted from the first step of the run"),
    ] = None
    epochs_decay: Annotated[
        float | None, Field(description="CycleGAN, CUT: further passes, over which the learning rate falls to 0")
    ] = None
    total_iters: Annotated[
        int | None, Field(description="StarGAN v2: number of steps, counted from the first step of the run")
    ] = None
    minutes: Annotated[
        float | None,
        Field(description="how much longer to train, in place of a length; of a CycleGAN or CUT half at full rate"),
    ] = None
    sample_every: Annotated[int | None, Field(description="steps between sample pictures")] = None
    save_every: Annotated[int | None, Field(description="steps between checkpoints")] = None
    keep_checkpoints: Annotated[int | None, Field(description="number of newest checkpoints to keep")] = None
    quality_every: Annotated[int | None, Field(description="checkpoints between measurements")] = None
    dataset: Annotated[
        str | None, Field(description="name under which the data set is found now; its pictures must be the same")
    ] = None
    webhook: Webhook = None

    @property
    def options(self) -> dict[str, Any]:
        """The options that were sent."""
        return self.model_dump(exclude={"dataset", "webhook"}, exclude_none=True)


class ChangedOptions(BaseModel):
    """Options of a run that were changed when it was resumed, or decided once its pace was known."""

    step: Annotated[int, Field(description="the new values hold for the steps after this one")]
    at: datetime
    options: Annotated[dict[str, Any], Field(description="the new values")]
    why: str


class Forecast(BaseModel):
    """A forecast of a run that was not started."""

    options: Annotated[dict[str, Any], Field(description="all options, including defaults")]
    parameters: Annotated[dict[str, int], Field(description="number of parameters of each network")]
    total_steps: int
    gflop_per_step: float
    memory_mb: Annotated[int, Field(description="estimated memory of each process, in MiB")]
    disk_mb: Annotated[
        int, Field(description="estimated disk space of the checkpoints that are kept at a time, in MiB")
    ]
    seconds: Annotated[float, Field(description="estimated time of the whole run")]
    estimated_by: Annotated[str, Field(description="what the estimate of the time is based on")]
    warnings: list[str]


class TrainingRun(BaseModel):
    """A training run: a job that outlives the queue."""

    id: str
    kind: Literal["training"] = "training"
    model: Annotated[str | None, Field(description="always null; a run makes models but does not use one")] = None
    family: Literal["cyclegan", "cut", "stargan_v2"]
    dataset: str
    owner: Owner = None
    status: RunState
    position: Annotated[int | None, Field(description="number of runs ahead of it while it is queued")]
    stopping: Annotated[bool, Field(description="it was asked to stop and will do so after the present step")]
    progress: Annotated[float, Field(ge=0, le=1)]
    step: int
    total_steps: Annotated[int, Field(description="0 until it has started")]
    images_per_s: float | None
    eta_s: Annotated[float | None, Field(description="seconds left at the present speed")]
    learning_rate: float | None
    lambda_ds: Annotated[float | None, Field(description="StarGAN v2: present weight of the diversity loss")]
    losses: Annotated[dict[str, float], Field(description="losses of the last step")]
    smoothed: Annotated[dict[str, float], Field(description="moving averages of the losses")]
    gpu_memory_mb: Annotated[float | None, Field(description="peak allocated GPU memory, in MiB; null on a CPU")]
    device: str | None
    last_checkpoint: Annotated[int | None, Field(description="step of the last checkpoint")]
    best_checkpoint: Annotated[
        int | None,
        Field(description="step of the checkpoint with the highest score on held-out pictures, see docs/training.md"),
    ]
    checkpoints: Annotated[list[int], Field(description="steps whose checkpoints can be published")]
    samples: Annotated[list[int], Field(description="steps that have a sample picture")]
    alarms: list[Alarm]
    quality: Annotated[list[Quality], Field(description="figures measured on held-out pictures")]
    parameters: dict[str, int]
    domains: list[str]
    attempts: int
    comparison: Annotated[str | None, Field(description="the comparison that it belongs to")]
    options: Annotated[dict[str, Any], Field(description="as they are now")]
    changes: Annotated[list[ChangedOptions], Field(description="what was changed since the run was started")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: Timings = Timings()
    error: Failure | None
    links: dict[str, str]


class Publication(BaseModel):
    """Which generator of a run to publish, and as which model."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "my-model", "direction": "AtoB"}]}
    )

    name: Annotated[
        str,
        Field(
            pattern=f"^{NAME.pattern}$",
            description="name of the model; an existing published model gets a new version",
        ),
    ]
    direction: Annotated[
        Literal["AtoB", "BtoA"] | None, Field(description="CycleGAN only: which generator; default AtoB")
    ] = None
    step: Annotated[
        Annotated[int, Field(strict=True)] | Literal["last", "best"],
        Field(description="the step of a checkpoint, `last` or `best`"),
    ] = "last"
    description: Annotated[str | None, Field(max_length=2000, description="for the model's card")] = None
    licence: Annotated[str | None, Field(max_length=500, description="for the model's card")] = None


class Published(BaseModel):
    """A model version that is now in service."""

    name: str
    version: int


class Comparison(BaseModel):
    """Several runs to start, which differ from a common base."""

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

    family: Literal["cyclegan", "cut", "stargan_v2"]
    base: Annotated[dict[str, Any], Field(description="data set and options of all runs, as for `POST /training/...`")]
    variants: Annotated[
        list[dict[str, Any]], Field(description="the options of each run that differ from the base")
    ] = []
    grid: Annotated[
        dict[str, list[Any]],
        Field(description="instead of variants: values for each option; every combination becomes a run"),
    ] = {}

    @field_validator("grid")
    @classmethod
    def _some_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [name for name, values in grid.items() if not values]:
            raise ValueError(f"the grid has no values for {', '.join(empty)}")
        return grid


class ComparedForecast(BaseModel):
    """A forecast of a run of a comparison."""

    label: Annotated[str, Field(description="the options that differ from the base, as text")]
    forecast: Forecast


class ComparisonForecast(BaseModel):
    """A forecast of a comparison that was not started."""

    seconds: Annotated[float, Field(description="estimated time of all runs, one after the other")]
    runs: list[ComparedForecast]


class ComparedRun(BaseModel):
    """A run as a row of the comparison's table."""

    id: str
    label: Annotated[str, Field(description="the options that differ from the base, as text")]
    options: Annotated[dict[str, Any], Field(description="the options that differ from the base")]
    status: RunState
    step: int
    total_steps: int
    smoothed: dict[str, float]
    quality: Annotated[dict[str, float], Field(description="latest figures on held-out pictures")]
    alarms: list[Alarm]
    links: dict[str, str]


class ComparisonState(BaseModel):
    """A comparison: its runs, and links to its picture and video once there are samples."""

    id: str
    family: Literal["cyclegan", "cut", "stargan_v2"]
    created_at: datetime
    owner: Owner = None
    status: Annotated[RunState, Field(description="combined status of all runs")]
    runs: list[ComparedRun]
    links: dict[str, str]
