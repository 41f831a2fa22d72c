"""The options that every training run has, whatever its family."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

MOST = 1e30  # largest rate or weight: float32 still holds it
LENGTHS = frozenset(("epochs", "epochs_decay", "total_iters"))  # options that say how many steps a run takes


class RunChoices(BaseModel):
    """The options that every training run has and its author chooses."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    FAMILY: ClassVar[str]
    # The options that parameters, arithmetic and memory depend on, besides the number of domains.
    SIZES: ClassVar[tuple[str, ...]] = ("batch_size", "gpus", "quality_pictures")

    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="seed of the initial weights, the order of the pictures and the crops")
    ] = 0
    precision: Annotated[
        Literal["fp32", "bf16"], Field(description="bf16: run the networks under autocast; weights stay in float32")
    ] = "fp32"
    sample_every: Annotated[int, Field(ge=1, description="steps between sample pictures")] = 500
    save_every: Annotated[int, Field(ge=1, description="steps between checkpoints")] = 500
    keep_checkpoints: Annotated[int, Field(ge=1, le=100, description="number of newest checkpoints to keep")] = 2
    quality_every: Annotated[
        int,
        Field(ge=1, description="checkpoints between measurements on held-out pictures; the last is always measured"),
    ] = 4
    quality_pictures: Annotated[
        int, Field(ge=1, le=1000, description="held-out pictures of each domain to measure on, at most")
    ] = 16
    identity_steps: Annotated[
        int,
        Field(
            ge=0,
            description="first steps, which only teach the generators to give pictures back: a CycleGAN or CUT by the "
            "identity loss, a StarGAN v2 in each picture's own style",
        ),
    ] = 0
    gpus: Annotated[
        int, Field(ge=1, le=64, description="processes that share each batch: one per GPU, or on a CPU just processes")
    ] = 1

    minutes: Annotated[
        float | None,
        Field(
            gt=0,
            le=1e6,
            description="how long to train, in place of a number of steps: the first steps are timed, and what fits is "
            "the length of the run from then on",
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("minutes") is not None and (lengths := LENGTHS.intersection(given)):
            raise ValueError(
                f"minutes and {', '.join(sorted(lengths))}: give either the time or the length of a run, not both"
            )
        return given

    @model_serializer(mode="wrap")
    def _without_undecided(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not decided before the pace of the run is known."""
        content: dict[str, Any] = handler(self)
        if self.minutes is not None:
            undecided = LENGTHS if "ds_iter" in self.model_fields_set else {*LENGTHS, "ds_iter"}
            content = {name: value for name, value in content.items() if name not in undecided}
        return content

    @field_validator("batch_size", check_fields=False)
    @classmethod
    def _shared_out_evenly(cls, batch_size: int, info: ValidationInfo) -> int:
        gpus = info.data.get("gpus", 1)
        if batch_size % gpus:
            raise ValueError(f"{batch_size} can't be shared out evenly among {gpus} processes (gpus)")
        return batch_size


class RunPlace(BaseModel):
    """The options that say where a run's inputs are on the machine that trains. They don't change its result."""

    dataset: Annotated[Path, Field(description="folder of pictures, see docs/training.md")]
    init_from: Annotated[
        Path | None,
        Field(description="where to start from: a run's checkpoint (all networks), or weights in safetensors"),
    ] = None
    device: Annotated[str, Field(description="cpu, cuda, cuda:1 or mps; auto: the first accelerator")] = "auto"
    reserved_mb: Annotated[int, Field(ge=0, description="GPU memory to leave to other programs, in MiB")] = 0
    loader_processes: Annotated[
        int | None,
        Field(ge=0, le=64, description="processes that read pictures ahead; default: 4 on a GPU, 0 on a CPU"),
    ] = None
