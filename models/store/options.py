"""What a training run can be told. Saved whole in the run folder, so that a run can be read and repeated."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MOST = 1e30  # of rates and weights: what float32 still holds

_DOMAIN = re.compile(r"\w[\w .-]{0,63}")


class RunChoices(BaseModel):
    """What whoever asks for a run can choose, whatever the family."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0, lt=2**31, description="of the initial weights, the order of pictures, crops")] = 0
    precision: Annotated[
        Literal["fp32", "bf16"], Field(description="bf16 runs the networks under autocast; weights stay float32")
    ] = "fp32"
    sample_every: Annotated[int, Field(ge=1, description="steps between sample pictures")] = 500
    save_every: Annotated[int, Field(ge=1, description="steps between checkpoints")] = 500
    keep_checkpoints: Annotated[int, Field(ge=1, le=100, description="newest checkpoints that are kept")] = 2
    quality_every: Annotated[
        int, Field(ge=1, description="checkpoints between measurements on held-out pictures; the last is measured too")
    ] = 4
    quality_pictures: Annotated[
        int,
        Field(ge=1, le=1000, description="held-out pictures of each domain that are measured, if there are so many"),
    ] = 16
    gpus: Annotated[
        int, Field(ge=1, le=64, description="processes that share each batch, a GPU each (on a CPU: a process each)")
    ] = 1


class RunPlace(BaseModel):
    """Where a run's inputs are on the machine that trains; no part of what makes two runs the same."""

    dataset: Annotated[Path, Field(description="folder of pictures, see docs/training.md")]
    init_from: Annotated[
        Path | None, Field(description="a run's checkpoint, to take all networks from, or weights in safetensors")
    ] = None
    device: Annotated[str, Field(description="cpu, cuda, cuda:1, mps; auto takes the first accelerator")] = "auto"
    reserved_mb: Annotated[int, Field(ge=0, description="GPU memory left to others, in MiB")] = 0
    loader_processes: Annotated[
        int | None,
        Field(ge=0, le=64, description="processes that read pictures ahead; none given: 4 on a GPU, 0 on a CPU"),
    ] = None


class CycleGANChoices(RunChoices):
    """Of a CycleGAN run; the defaults are those of the paper's code."""

    load_size: Annotated[int, Field(ge=32, le=4096, description="px, both sides, bicubic, before the crop")] = 286
    image_size: Annotated[
        int, Field(ge=32, le=2048, multiple_of=4, description="px, both sides of the random crop")
    ] = 256
    ngf: Annotated[int, Field(ge=1, le=512, description="generator channels after the first convolution")] = 64
    ndf: Annotated[int, Field(ge=1, le=512, description="discriminator channels after the first convolution")] = 64
    n_blocks: Annotated[int, Field(ge=1, le=64, description="residual blocks of each generator")] = 9

    balanced_upsampling: Annotated[
        bool, Field(description="keep transposed convolutions from drawing checkerboards, from the first step on")
    ] = False

    identity_steps: Annotated[
        int, Field(ge=0, description="steps at the start on the identity loss alone, without discriminators")
    ] = 0
    batch_size: Annotated[
        int, Field(ge=1, le=1024, description="pictures of each domain a step, of all processes together")
    ] = 1
    epochs: Annotated[
        float, Field(ge=0, le=1e6, description="passes over the larger domain at the full learning rate")
    ] = 100
    epochs_decay: Annotated[float, Field(ge=0, le=1e6, description="passes more, the rate falling linearly to 0")] = 100
    lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate")] = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's first-moment decay")] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's second-moment decay")] = 0.999
    lambda_a: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle A → B → A")] = 10.0
    lambda_b: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle B → A → B")] = 10.0
    lambda_identity: Annotated[
        float,
        Field(ge=0, le=MOST, description="weight of the identity loss as a share of the cycle's; 0 leaves it out"),
    ] = 0.5
    gan_loss: Annotated[Literal["lsgan", "vanilla"], Field(description="least squares, or the paper's log loss")] = (
        "lsgan"
    )
    color_share: Annotated[
        float,
        Field(ge=0, le=1, description="share of cycle and identity loss that sees a picture's mean and contrast"),
    ] = 1.0
    pool_size: Annotated[
        int, Field(ge=0, le=10_000, description="generated pictures kept for the discriminators; 0: none")
    ] = 50


class StarGANChoices(RunChoices):
    """Of a StarGAN v2 run; the defaults are those of the paper's code for faces."""

    domains: Annotated[
        list[str] | None, Field(description="names to give the domains, in their folders' alphabetical order")
    ] = None

    img_size: Annotated[int, Field(ge=64, le=512, description="px, both sides, a power of two")] = 256
    style_dim: Annotated[int, Field(ge=1, le=1024, description="numbers of a style code")] = 64
    latent_dim: Annotated[int, Field(ge=1, le=1024, description="numbers of a latent code")] = 16
    base_dim: Annotated[
        int | None,
        Field(
            ge=1, le=1024, description="channels at full resolution, doubled with each halving; none: 2**14 / img_size"
        ),
    ] = None
    max_conv_dim: Annotated[int, Field(ge=1, le=4096, description="most channels of any layer")] = 512
    normalize_rgb: Annotated[
        bool, Field(description="normalise what the generator makes colours of; without, a style sets a palette sooner")
    ] = True
    w_hpf: Annotated[
        float, Field(ge=0, le=MOST, description="divides the high-pass path's strength; 0: no such path")
    ] = 1
    masks: Annotated[
        Literal["landmarks", "ones"],
        Field(description="where the high-pass path acts: on a face's features, everywhere"),
    ] = "landmarks"

    identity_steps: Annotated[
        int, Field(ge=0, description="steps at the start on rebuilding pictures by their own style alone")
    ] = 0
    batch_size: Annotated[int, Field(ge=1, le=1024, description="sources a step, of all processes together")] = 8
    total_iters: Annotated[int, Field(ge=1, le=100_000_000, description="steps")] = 100_000
    lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate")] = 1e-4
    f_lr: Annotated[float, Field(gt=0, le=MOST, description="Adam's learning rate for the mapping network")] = 1e-6
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's first-moment decay")] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's second-moment decay")] = 0.99
    weight_decay: Annotated[float, Field(ge=0, le=MOST, description="Adam's L2 penalty on weights")] = 1e-4
    lambda_reg: Annotated[float, Field(ge=0, le=MOST, description="weight of R1")] = 1.0
    lambda_sty: Annotated[float, Field(ge=0, le=MOST, description="weight of the style reconstruction loss")] = 1.0
    lambda_ds: Annotated[float, Field(ge=0, le=MOST, description="weight of the diversity loss at the start")] = 1.0
    lambda_cyc: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle loss")] = 1.0
    ds_iter: Annotated[int, Field(ge=1, description="steps over which lambda_ds falls linearly to 0")] = 100_000
    ema_beta: Annotated[
        float, Field(ge=0, lt=1, description="share of the moving averages that a step keeps; less for short runs")
    ] = 0.999
    randcrop_prob: Annotated[float, Field(ge=0, le=1, description="how likely a picture is cropped")] = 0.5

    @field_validator("domains")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (len(set(value)) < len(value) or not all(map(_DOMAIN.fullmatch, value))):
            raise ValueError(
                "the domains' names must differ, and be of up to 64 letters, digits, spaces, '.', '_', '-'"
            )
        return value

    @field_validator("img_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"img_size must be a power of two, not {value}")
        return value

    @property
    def needs_landmarks(self) -> bool:
        return self.w_hpf > 0 and self.masks == "landmarks"


class CycleGANOptions(CycleGANChoices, RunPlace):
    """All that a CycleGAN run is told."""

    family: Literal["cyclegan"] = "cyclegan"
    init_direction: Annotated[
        Literal["AtoB", "BtoA"], Field(description="the generator that weights in safetensors are given to")
    ] = "AtoB"


class StarGANOptions(StarGANChoices, RunPlace):
    """All that a StarGAN v2 run is told."""

    family: Literal["stargan_v2"] = "stargan_v2"
    landmarks: Annotated[
        Path | None, Field(description="weights that hold the landmark network, for masks of landmarks")
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> "StarGANOptions":
        if self.needs_landmarks and self.landmarks is None:
            raise ValueError(
                "w_hpf > 0 with masks of landmarks needs the weights of the landmark network, named by landmarks; "
                "without them take masks=ones, or w_hpf=0"
            )
        return self


def cyclegan_steps(choices: CycleGANChoices, pictures: int) -> tuple[int, int]:
    """Steps at the full learning rate, and steps over which it falls, for so many pictures in the larger domain."""
    steps_per_epoch = pictures / choices.batch_size
    return round(choices.epochs * steps_per_epoch), round(choices.epochs_decay * steps_per_epoch)


Options = CycleGANOptions | StarGANOptions


def read_options(text: str) -> Options:
    """Options of whichever family the JSON document names; CycleGAN if it names none.

    Raises:
        pydantic.ValidationError: an option is unknown or out of its range.
    """
    content = json.loads(text)
    family = content.get("family") if isinstance(content, dict) else None
    return (StarGANOptions if family == "stargan_v2" else CycleGANOptions).model_validate(content)
