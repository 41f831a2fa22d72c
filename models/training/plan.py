"""What each family brings to the loop: its pictures, its trainer, its number of steps."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.device import select_device
from models.errors import CheckpointError, DatasetError
from models.landmarks import LandmarkNetwork
from models.landmarks.masks import POINTS
from models.stargan_v2.losses import MaskPictures, Masks
from models.stargan_v2.networks import everywhere
from models.store.options import CycleGANOptions, Options, StarGANOptions, cyclegan_steps
from models.training import distributed
from models.training.cyclegan import CycleGANTrainer
from models.training.data import LabelledPictures, UnpairedPictures
from models.training.loader import batches, default_processes
from models.training.loop import Trainer
from models.training.stargan_v2 import StarGANTrainer
from models.weights import doctor
from models.weights.architecture import LANDMARKS, STARGAN, StateDict

SAMPLES = 4  # sources of each domain in a CycleGAN's sample pictures
GUIDED_SAMPLES = 3  # the same for StarGAN, where they are the references too


@dataclass(frozen=True)
class Plan:
    """All that the loop needs of a family."""

    trainer: Trainer
    batches: Callable[[int, int], Generator[Any]]  # given the steps done and the last step, one batch a step
    total_steps: int
    held_out: Sequence[torch.Tensor]  # pictures of each domain that no training sees, (N, 3, S, S); none: not measured
    domains: list[str]
    device: torch.device


def plan(options: Options) -> Plan:
    """Make ready for the run that ``options`` describe.

    Raises:
        DatasetError: the data set does not fit.
        DeviceError: there is no such device.
        CheckpointError: the landmark network's weights cannot be used.
    """
    return _stargan(options) if isinstance(options, StarGANOptions) else _cyclegan(options)


def _cyclegan(options: CycleGANOptions) -> Plan:
    device = distributed.local_device(select_device(options.device))
    dataset = UnpairedPictures(
        options.dataset, load_size=options.load_size, image_size=options.image_size, seed=options.seed
    )
    constant_steps, decay_steps = cyclegan_steps(options, len(dataset))
    trainer = CycleGANTrainer(
        options,
        device=device,
        fixed_inputs=dataset.fixed_inputs(SAMPLES),
        constant_steps=constant_steps,
        decay_steps=decay_steps,
    )
    return Plan(
        trainer,
        _batches(dataset, options, device),
        total_steps=constant_steps + decay_steps,
        held_out=_held_out(dataset, options),
        domains=dataset.domains,
        device=device,
    )


def _stargan(options: StarGANOptions) -> Plan:
    device = distributed.local_device(select_device(options.device))
    dataset = LabelledPictures(
        options.dataset,
        img_size=options.img_size,
        latent_dim=options.latent_dim,
        randcrop_prob=options.randcrop_prob,
        seed=options.seed,
    )
    if options.domains is not None and len(options.domains) != len(dataset.domains):
        raise DatasetError(
            f"{len(options.domains)} names are given to domains, but {options.dataset.name} has "
            f"{len(dataset.domains)}: {', '.join(dataset.domains)}"
        )
    landmarks = _landmarks(options) if options.needs_landmarks else None
    trainer = StarGANTrainer(
        options,
        device=device,
        fixed_inputs=dataset.fixed_inputs(GUIDED_SAMPLES),
        masks=_masks(options, landmarks, device),
        landmarks=landmarks,
    )
    return Plan(
        trainer,
        _batches(dataset, options, device),
        total_steps=options.total_iters,
        held_out=_held_out(dataset, options),
        domains=options.domains or dataset.domains,
        device=device,
    )


def _batches(
    dataset: UnpairedPictures | LabelledPictures, options: Options, device: torch.device
) -> Callable[[int, int], Generator[Any]]:
    processes = default_processes(device) if options.loader_processes is None else options.loader_processes
    return lambda first, last: batches(dataset, options.batch_size, first, last, processes=processes)


def _held_out(dataset: UnpairedPictures | LabelledPictures, options: Options) -> list[torch.Tensor]:
    """What quality is measured on, in the process that measures it."""
    return dataset.held_out(options.quality_pictures) if distributed.rank() == 0 else []


def _landmarks(options: StarGANOptions) -> StateDict:
    """The landmark network's weights, of a file that holds it alone or beside the networks of a model for faces."""
    assert options.landmarks is not None, "the options were checked for it"
    found = doctor.load(options.landmarks)
    if found.kind == STARGAN:
        state = {
            key.removeprefix("landmarks."): found.state[key] for key in found.state if key.startswith("landmarks.")
        }
    else:
        state = doctor.load_exactly(options.landmarks, LANDMARKS, {"num_landmarks": POINTS}).state
    if not state:
        raise CheckpointError(f"{options.landmarks.name} holds no landmark network")
    return state


def _masks(options: StarGANOptions, landmarks: StateDict | None, device: torch.device) -> MaskPictures:
    if not options.w_hpf:
        return lambda x: None
    if landmarks is None:
        return everywhere
    network = LandmarkNetwork()
    network.load_state_dict(landmarks)
    network.requires_grad_(False).eval().to(device)

    @torch.no_grad()
    def of_landmarks(x: torch.Tensor) -> Masks:
        with torch.autocast(device.type, enabled=False):
            return network.masks(x.float())

    return of_landmarks
