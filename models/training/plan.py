"""What each family brings to the loop: its pictures, its trainer, its number of steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from models import checkpoint
from models.architecture import LANDMARKS
from models.cyclegan.trainer import CycleGANTrainer
from models.device import select_device
from models.landmarks import LandmarkNetwork
from models.landmarks.masks import POINTS
from models.stargan_v2.losses import MaskPictures, Masks
from models.stargan_v2.networks import everywhere
from models.stargan_v2.trainer import StarGANTrainer
from models.training.dataset import DatasetError, UnpairedPictures
from models.training.labelled import LabelledPictures
from models.training.loop import Trainer
from models.training.options import CycleGANOptions, Options, StarGANOptions

SAMPLES = 4  # sources of each domain in a CycleGAN's sample pictures
GUIDED_SAMPLES = 3  # the same for StarGAN, where they are the references too


@dataclass(frozen=True)
class Plan:
    """All that the loop needs of a family."""

    trainer: Trainer
    batches: Callable[[int, int], Iterator[Any]]  # given the steps done and the last step, one batch a step
    total_steps: int


def plan(options: Options) -> Plan:
    """Make ready for the run that ``options`` describe.

    Raises:
        DatasetError: the data set does not fit.
        DeviceError: there is no such device.
        CheckpointError: the landmark network's weights cannot be used.
    """
    return _stargan(options) if isinstance(options, StarGANOptions) else _cyclegan(options)


def _cyclegan(options: CycleGANOptions) -> Plan:
    dataset = UnpairedPictures(
        options.dataset, load_size=options.load_size, image_size=options.image_size, seed=options.seed
    )
    steps_per_epoch = len(dataset) / options.batch_size
    constant_steps = round(options.epochs * steps_per_epoch)
    decay_steps = round(options.epochs_decay * steps_per_epoch)
    trainer = CycleGANTrainer(
        options,
        device=select_device(options.device),
        fixed_inputs=dataset.fixed_inputs(SAMPLES),
        constant_steps=constant_steps,
        decay_steps=decay_steps,
    )
    return Plan(
        trainer,
        lambda first, last: dataset.batches(options.batch_size, first, last),
        total_steps=constant_steps + decay_steps,
    )


def _stargan(options: StarGANOptions) -> Plan:
    device = select_device(options.device)
    dataset = LabelledPictures(
        options.dataset,
        img_size=options.img_size,
        latent_dim=options.latent_dim,
        randcrop_prob=options.randcrop_prob,
        seed=options.seed,
    )
    if options.domains is not None and len(options.domains) != len(dataset.domains):
        raise DatasetError(
            f"{len(options.domains)} names are given to domains, but {options.dataset} has {len(dataset.domains)}: "
            f"{', '.join(dataset.domains)}"
        )
    trainer = StarGANTrainer(
        options, device=device, fixed_inputs=dataset.fixed_inputs(GUIDED_SAMPLES), masks=_masks(options, device)
    )
    return Plan(
        trainer,
        lambda first, last: dataset.batches(options.batch_size, first, last),
        total_steps=options.total_iters,
    )


def _masks(options: StarGANOptions, device: torch.device) -> MaskPictures:
    if not options.w_hpf:
        return lambda x: None
    if options.masks == "ones":
        return everywhere
    assert options.landmarks is not None, "the options were checked for it"
    network = LandmarkNetwork()
    network.load_state_dict(checkpoint.load_exactly(options.landmarks, LANDMARKS, {"num_landmarks": POINTS}).state)
    network.requires_grad_(False).eval().to(device)

    @torch.no_grad()
    def of_landmarks(x: torch.Tensor) -> Masks:
        with torch.autocast(device.type, enabled=False):
            return network.masks(x.float())

    return of_landmarks
