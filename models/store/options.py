"""The options of a training run, and every check that needs nothing but them.

They are saved whole in the run's folder, so that a run can be read and repeated. What depends on a data set or on a
model to start from is checked in ``run_checks.py``.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.store.cut_options import CUTChoices, CUTOptions
from models.store.run_choices import MOST, RunChoices, RunPlace
from models.store.unpaired_options import UnpairedChoices

_DOMAIN = re.compile(r"\w[\w .-]{0,63}")


class CycleGANChoices(UnpairedChoices):
    """The options of a CycleGAN run. The defaults are those of the paper's code."""

    FAMILY: ClassVar[str] = "cyclegan"
    SIZES: ClassVar[tuple[str, ...]] = (
        *UnpairedChoices.SIZES,
        "lambda_a",
        "lambda_b",
        "lambda_identity",
        "lambda_content",
        "discriminator",
        "augmentations",
        "ema_beta",
        "pool_size",
    )

    lambda_a: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle A → B → A")] = 10.0
    lambda_b: Annotated[float, Field(ge=0, le=MOST, description="weight of the cycle B → A → B")] = 10.0
    lambda_identity: Annotated[
        float,
        Field(ge=0, le=MOST, description="weight of the identity loss, as a share of the cycle's; 0: not computed"),
    ] = 0.5
    color_share: Annotated[
        float,
        Field(
            ge=0, le=1, description="share of the cycle and identity losses that sees mean and contrast of a picture"
        ),
    ] = 1.0
    discriminator: Annotated[
        Literal["patch", "projected"],
        Field(
            description="patch: the paper's, of ndf channels; projected: judges the features of a network that knows "
            "pictures (needs the extra features), and takes far fewer steps"
        ),
    ] = "patch"
    lambda_content: Annotated[
        float,
        Field(
            ge=0,
            le=MOST,
            description="weight of the distance between the features of a picture and of its translation (needs the "
            "extra features); with lambda_a and lambda_b at 0 it takes the place of the cycles; 0: not computed",
        ),
    ] = 0.0
    ema_beta: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="decay of moving averages of the generators' weights, which are then shown, measured and "
            "published; 0: none",
        ),
    ] = 0.0
    pool_size: Annotated[
        int, Field(ge=0, le=10_000, description="generated pictures kept to train the discriminators on; 0: none")
    ] = 50

    @property
    def projected(self) -> bool:
        return self.discriminator == "projected"

    @property
    def needs_features(self) -> bool:
        return self.projected or self.lambda_content > 0


class StarGANChoices(RunChoices):
    """The options of a StarGAN v2 run. The defaults are those of the paper's code for faces."""

    FAMILY: ClassVar[str] = "stargan_v2"
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
    init_back_from: Annotated[
        Path | None, Field(description="with init_from in safetensors: such weights for the generator of the way back")
    ] = None


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


Choices = CycleGANChoices | CUTChoices | StarGANChoices
Options = CycleGANOptions | CUTOptions | StarGANOptions

# Of all families, where a run's inputs are on the machine that trains.
LOCAL_OPTIONS = (*RunPlace.model_fields, "init_back_from", "landmarks")

# By family.
CHOICES: dict[str, type[Choices]] = {kind.FAMILY: kind for kind in (CycleGANChoices, CUTChoices, StarGANChoices)}
OPTIONS: dict[str, type[Options]] = {kind.FAMILY: kind for kind in (CycleGANOptions, CUTOptions, StarGANOptions)}


def sizes(choices: Choices, num_domains: int) -> dict[str, Any]:
    """The part of the options that parameters, arithmetic and memory depend on, as JSON holds it."""
    return choices.model_dump(include=set(choices.SIZES)) | {"family": choices.FAMILY, "num_domains": num_domains}


def read_options(text: str) -> Options:
    """Read the options of a run from JSON. Without a known ``family`` they are a CycleGAN's.

    Raises:
        json.JSONDecodeError: it is not JSON.
        pydantic.ValidationError: an option is unknown, or its value can't be used.
    """
    return parse_options(json.loads(text))


def parse_options(content: Any) -> Options:
    """Make a run's options from decoded JSON. Raises what :func:`read_options` raises."""
    family = content.get("family") if isinstance(content, dict) else None
    return OPTIONS.get(str(family), CycleGANOptions).model_validate(content)
