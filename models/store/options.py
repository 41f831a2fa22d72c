"""The options of a training run, and every check that needs nothing but them.

They are saved whole in the run's folder, so that a run can be read and repeated. What depends on a data set or on a
model to start from is checked in ``run_checks.py``.
"""

import json
import re
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

_DOMAIN = re.compile(r"\w[\w .-]{0,63}")


class RunChoices(BaseModel):
    """The options that every training run has and its author chooses."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

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
            description="first steps, which only teach the generators to give pictures back: a CycleGAN by the "
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


class CycleGANChoices(RunChoices):
    """The options of a CycleGAN run. The defaults are those of the paper's code."""

    SIZES: ClassVar[tuple[str, ...]] = (
        *RunChoices.SIZES,
        "load_size",
        "image_size",
        "ngf",
        "ndf",
        "n_blocks",
        "norm",
        "dropout",
        "padding",
        "lambda_identity",
        "pool_size",
    )

    load_size: Annotated[
        int, Field(ge=32, le=4096, description="px, both sides: pictures are resized to this (bicubic), then cropped")
    ] = 286
    image_size: Annotated[
        int,
        Field(
            ge=32,
            le=2048,
            multiple_of=4,
            validate_default=True,
            description="px, both sides, of the random crop; at most load_size",
        ),
    ] = 256
    ngf: Annotated[int, Field(ge=1, le=512, description="generator channels after the first convolution")] = 64
    ndf: Annotated[int, Field(ge=1, le=512, description="discriminator channels after the first convolution")] = 64
    n_blocks: Annotated[int, Field(ge=1, le=64, description="residual blocks of each generator")] = 9
    norm: Annotated[
        Literal["instance", "batch"],
        Field(description="normalisation of all networks; batch: over the pictures of a batch, in one process only"),
    ] = "instance"
    dropout: Annotated[bool, Field(description="dropout of 0.5 in the residual blocks, in training only")] = False
    padding: Annotated[Literal["reflect", "replicate", "zero"], Field(description="how the residual blocks pad")] = (
        "reflect"
    )

    balanced_upsampling: Annotated[
        bool, Field(description="keep transposed convolutions from drawing checkerboards, from the first step on")
    ] = False

    batch_size: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            validate_default=True,
            description="pictures of each domain per step, over all processes; a multiple of gpus",
        ),
    ] = 1
    epochs: Annotated[
        float, Field(ge=0, le=1e6, description="passes over the larger domain at the full learning rate")
    ] = 100
    epochs_decay: Annotated[
        float, Field(ge=0, le=1e6, description="further passes, over which the learning rate falls linearly to 0")
    ] = 100
    lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate")] = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's first-moment decay")] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's second-moment decay")] = 0.999
    lambda_a: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle A → B → A")] = 10.0
    lambda_b: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle B → A → B")] = 10.0
    lambda_identity: Annotated[
        float,
        Field(ge=0, le=MOST, description="weight of the identity loss, as a share of the cycle's; 0: not computed"),
    ] = 0.5
    gan_loss: Annotated[Literal["lsgan", "vanilla"], Field(description="least squares, or the paper's log loss")] = (
        "lsgan"
    )
    color_share: Annotated[
        float,
        Field(
            ge=0, le=1, description="share of the cycle and identity losses that sees mean and contrast of a picture"
        ),
    ] = 1.0
    pool_size: Annotated[
        int, Field(ge=0, le=10_000, description="generated pictures kept to train the discriminators on; 0: none")
    ] = 50

    @field_validator("image_size")
    @classmethod
    def _no_larger_than_the_picture(cls, image_size: int, info: ValidationInfo) -> int:
        load_size = info.data.get("load_size", image_size)
        if load_size < image_size:
            raise ValueError(f"load_size {load_size} is smaller than the crop, image_size {image_size}")
        return image_size

    @field_validator("norm")
    @classmethod
    def _statistics_of_one_process(cls, norm: str, info: ValidationInfo) -> str:
        if norm == "batch" and info.data.get("gpus", 1) > 1:
            raise ValueError("with batch normalisation each process would have statistics of its own; use gpus 1")
        return norm

    @field_validator("epochs_decay")
    @classmethod
    def _at_least_one_step(cls, epochs_decay: float, info: ValidationInfo) -> float:
        if not epochs_decay and not info.data.get("epochs", 1):
            raise ValueError("with epochs 0 and epochs_decay 0 there is no step to train")
        return epochs_decay


class StarGANChoices(RunChoices):
    """The options of a StarGAN v2 run. The defaults are those of the paper's code for faces."""

    SIZES: ClassVar[tuple[str, ...]] = (
        *RunChoices.SIZES,
        "img_size",
        "style_dim",
        "latent_dim",
        "base_dim",
        "max_conv_dim",
        "normalize_rgb",
        "w_hpf",
        "masks",
    )

    domains: Annotated[
        list[str] | None, Field(description="new names for the domains, in the alphabetical order of their folders")
    ] = None

    img_size: Annotated[int, Field(ge=64, le=512, description="px, both sides; a power of two")] = 256
    style_dim: Annotated[int, Field(ge=1, le=1024, description="length of a style code")] = 64
    latent_dim: Annotated[int, Field(ge=1, le=1024, description="length of a latent code")] = 16
    base_dim: Annotated[
        int | None,
        Field(
            ge=1,
            le=1024,
            description="channels at full resolution, doubled with each halving; default: 2**14 / img_size",
        ),
    ] = None
    max_conv_dim: Annotated[int, Field(ge=1, le=4096, description="most channels of any layer")] = 512
    normalize_rgb: Annotated[
        bool, Field(description="normalise before the last convolution; without it a style sets the palette sooner")
    ] = True
    w_hpf: Annotated[
        float, Field(ge=0, le=MOST, description="divides the strength of the high-pass path; 0: no such path")
    ] = 1
    masks: Annotated[
        Literal["landmarks", "ones"],
        Field(description="where the high-pass path acts: landmarks, the features of a face; ones, everywhere"),
    ] = "landmarks"

    batch_size: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            validate_default=True,
            description="source pictures per step, over all processes; a multiple of gpus",
        ),
    ] = 8
    total_iters: Annotated[int, Field(ge=1, le=100_000_000, description="number of steps")] = 100_000
    lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate")] = 1e-4
    f_lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate for the mapping network")] = 1e-6
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's first-moment decay")] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's second-moment decay")] = 0.99
    weight_decay: Annotated[float, Field(ge=0, le=MOST, description="Adam's L2 penalty on weights")] = 1e-4
    lambda_reg: Annotated[float, Field(ge=0, le=MOST, description="weight of R1, the gradient penalty")] = 1.0
    lambda_sty: Annotated[float, Field(ge=0, le=MOST, description="weight of the style reconstruction loss")] = 1.0
    lambda_ds: Annotated[float, Field(ge=0, le=MOST, description="weight of the diversity loss at the start")] = 1.0
    lambda_cyc: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle loss")] = 1.0
    ds_iter: Annotated[
        int, Field(ge=1, description="steps after identity_steps over which lambda_ds falls linearly to 0")
    ] = 100_000
    ema_beta: Annotated[
        float, Field(ge=0, lt=1, description="decay of the moving averages of the weights; lower it for short runs")
    ] = 0.999
    randcrop_prob: Annotated[float, Field(ge=0, le=1, description="probability of a random crop")] = 0.5

    @field_validator("domains")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (len(set(value)) < len(value) or not all(map(_DOMAIN.fullmatch, value))):
            raise ValueError(
                "the names must differ, and have 1 to 64 characters: letters, digits, '_', and after the first also "
                "spaces, '.' and '-'"
            )
        return value

    @field_validator("img_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"must be a power of two, not {value}")
        return value

    @property
    def needs_landmarks(self) -> bool:
        return self.w_hpf > 0 and self.masks == "landmarks"


class CycleGANOptions(CycleGANChoices, RunPlace):
    """All options of a CycleGAN run, as they are saved with it."""

    family: Literal["cyclegan"] = "cyclegan"
    init_direction: Annotated[
        Literal["AtoB", "BtoA"], Field(description="the generator that starts from init_from, if that is safetensors")
    ] = "AtoB"


class StarGANOptions(StarGANChoices, RunPlace):
    """All options of a StarGAN v2 run, as they are saved with it."""

    family: Literal["stargan_v2"] = "stargan_v2"
    landmarks: Annotated[
        Path | None,
        Field(validate_default=True, description="weights that hold the landmark network, for masks=landmarks"),
    ] = None

    @field_validator("landmarks")
    @classmethod
    def _there_where_needed(cls, landmarks: Path | None, info: ValidationInfo) -> Path | None:
        if landmarks is None and info.data.get("w_hpf") and info.data.get("masks") == "landmarks":
            raise ValueError(
                "w_hpf > 0 with masks=landmarks needs the weights of the landmark network; give them here, or use "
                "masks=ones or w_hpf=0"
            )
        return landmarks


Options = CycleGANOptions | StarGANOptions


def sizes(choices: CycleGANChoices | StarGANChoices, num_domains: int) -> dict[str, Any]:
    """The part of the options that parameters, arithmetic and memory depend on, as JSON holds it."""
    family = "stargan_v2" if isinstance(choices, StarGANChoices) else "cyclegan"
    return choices.model_dump(include=set(choices.SIZES)) | {"family": family, "num_domains": num_domains}


def read_options(text: str) -> Options:
    """Read the options of a run from JSON. Without a ``family`` they are a CycleGAN's.

    Raises:
        json.JSONDecodeError: it is not JSON.
        pydantic.ValidationError: an option is unknown, or its value can't be used.
    """
    return parse_options(json.loads(text))


def parse_options(content: Any) -> Options:
    """Make a run's options from decoded JSON. Raises what :func:`read_options` raises."""
    family = content.get("family") if isinstance(content, dict) else None
    return (StarGANOptions if family == "stargan_v2" else CycleGANOptions).model_validate(content)
