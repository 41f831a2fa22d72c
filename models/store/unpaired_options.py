"""The options that CycleGAN and CUT have in common: both learn from two domains of unpaired pictures."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.store.run_choices import MOST, RunChoices

Augmentation = Literal["color", "translation", "cutout"]


class UnpairedChoices(RunChoices):
    """The options of a run on unpaired pictures. The defaults are those of CycleGAN's code."""

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
        "antialias",
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
    antialias: Annotated[bool, Field(description="halve and double pictures by a blur, which lets nothing alias")] = (
        False
    )
    balanced_upsampling: Annotated[
        bool,
        Field(
            description="keep transposed convolutions, which a run without antialias has, from drawing checkerboards, "
            "from the first step on"
        ),
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
    gan_loss: Annotated[Literal["lsgan", "vanilla"], Field(description="least squares, or the paper's log loss")] = (
        "lsgan"
    )
    augmentations: Annotated[
        list[Augmentation],
        Field(
            description="color, translation, cutout: all that a discriminator sees, real and generated, is changed at "
            "random in the ways that are listed, so that it does not learn few pictures by heart"
        ),
    ] = []  # noqa: RUF012 - pydantic gives each instance its own

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

    @field_validator("balanced_upsampling")
    @classmethod
    def _there_is_something_to_balance(cls, balanced: bool, info: ValidationInfo) -> bool:
        if balanced and info.data.get("antialias"):
            raise ValueError("with antialias there are no transposed convolutions to balance; leave out one of the two")
        return balanced

    @field_validator("epochs_decay")
    @classmethod
    def _at_least_one_step(cls, epochs_decay: float, info: ValidationInfo) -> float:
        if not epochs_decay and not info.data.get("epochs", 1):
            raise ValueError("with epochs 0 and epochs_decay 0 there is no step to train")
        return epochs_decay

    @field_validator("augmentations")
    @classmethod
    def _each_once(cls, augmentations: list[Augmentation]) -> list[Augmentation]:
        if repeated := sorted({one for one in augmentations if augmentations.count(one) > 1}):
            raise ValueError(f"{', '.join(repeated)}: name each way once")
        return augmentations
