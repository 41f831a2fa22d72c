"""What a training run can be told. Saved whole in the run folder, so that a run can be read and repeated."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class CycleGANOptions(BaseModel):
    """Options of a CycleGAN run; the defaults are those of the paper's code."""

    model_config = ConfigDict(extra="forbid")

    family: Literal["cyclegan"] = "cyclegan"
    dataset: Annotated[
        Path, Field(description="folder with trainA/ and trainB/, and testA/ and testB/ if there are any")
    ]
    init_from: Annotated[Path | None, Field(description="checkpoint of another run to take all four networks from")] = (
        None
    )
    seed: Annotated[int, Field(ge=0, description="of the initial weights, the order of pictures and their crops")] = 0
    device: Annotated[str, Field(description="cpu, cuda, cuda:1, mps; auto takes the first accelerator")] = "auto"
    precision: Annotated[
        Literal["fp32", "bf16"], Field(description="bf16 runs the networks under autocast; weights stay float32")
    ] = "fp32"

    load_size: Annotated[int, Field(ge=32, description="px, both sides, bicubic, before the crop")] = 286
    image_size: Annotated[int, Field(ge=32, multiple_of=4, description="px, both sides of the random crop")] = 256
    ngf: Annotated[int, Field(ge=1, description="generator channels after the first convolution")] = 64
    ndf: Annotated[int, Field(ge=1, description="discriminator channels after the first convolution")] = 64
    n_blocks: Annotated[int, Field(ge=1, description="residual blocks of each generator")] = 9

    balanced_upsampling: Annotated[
        bool, Field(description="keep transposed convolutions from drawing checkerboards, from the first step on")
    ] = False

    identity_steps: Annotated[
        int, Field(ge=0, description="steps at the start on the identity loss alone, without discriminators")
    ] = 0
    batch_size: Annotated[int, Field(ge=1, description="pictures of each domain a step")] = 1
    epochs: Annotated[float, Field(ge=0, description="passes over the larger domain at the full learning rate")] = 100
    epochs_decay: Annotated[float, Field(ge=0, description="passes more, the rate falling linearly to 0")] = 100
    lr: Annotated[float, Field(gt=0, description="Adam's learning rate")] = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's first-moment decay")] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's second-moment decay")] = 0.999
    lambda_a: Annotated[float, Field(ge=0, description="weight of the cycle A → B → A")] = 10.0
    lambda_b: Annotated[float, Field(ge=0, description="weight of the cycle B → A → B")] = 10.0
    lambda_identity: Annotated[
        float, Field(ge=0, description="weight of the identity loss as a share of the cycle's; 0 leaves it out")
    ] = 0.5
    gan_loss: Annotated[Literal["lsgan", "vanilla"], Field(description="least squares, or the paper's log loss")] = (
        "lsgan"
    )
    pool_size: Annotated[int, Field(ge=0, description="generated pictures kept for the discriminators; 0: none")] = 50

    sample_every: Annotated[int, Field(ge=1, description="steps between sample pictures")] = 500
    save_every: Annotated[int, Field(ge=1, description="steps between checkpoints")] = 500
