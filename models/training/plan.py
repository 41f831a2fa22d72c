"""Builds what the training loop needs for a run: its trainer, its batches and its number of steps."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.device import select_device
from models.errors import CheckpointError
from models.landmarks.network import LandmarkNetwork
from models.landmarks.points import POINTS
from models.stargan_v2.losses import MaskPictures, Masks
from models.stargan_v2.networks import everywhere
from models.store.cut_options import CUTOptions
from models.store.options import CycleGANOptions, Options, StarGANOptions
from models.store.run_checks import total_steps, unpaired_steps
from models.training import distributed
from models.training.cut import CUTTrainer
from models.training.cyclegan import CycleGANTrainer
from models.training.data import LabelledPictures, UnpairedPictures
from models.training.loader import batches, default_processes
from models.training.loop import Trainer
from models.training.stargan_v2 import StarGANTrainer
from models.weights import doctor
from models.weights.architecture import LANDMARKS, STARGAN, StateDict

SAMPLES = 4  # sources of each domain in the sample pictures of a CycleGAN or CUT
GUIDED_SAMPLES = 3  # sources of each domain for StarGAN v2, where they are the references too


@dataclass(frozen=True)
class Plan:
    """Everything that the loop needs for a run."""

    trainer: Trainer
    batches: Callable[[int, int], Generator[Any]]  # (steps done, last step) → one batch for each step
    total_steps: int
    unreadable: Mapping[str, str]  # path in the data set → why, of the files that were passed over so far
    held_out: Sequence[torch.Tensor]  # (N, 3, S, S) of each domain, never trained on; empty: quality is not measured
    domains: list[str]
    pictures: int  # to train on, in the largest domain
    device: torch.device


def plan(options: Options) -> Plan:
    """Build what a run with these options needs. Its length must be known: ``minutes`` are turned into steps before.

    Raises:
        DatasetError: the data set doesn't fit the options.
        DeviceError: there is no such device.
        CheckpointError: the landmark network's weights can't be used.
    """
    return _stargan(options) if isinstance(options, StarGANOptions) else _unpaired(options)


def _device(options: Options) -> torch.device:
    device = distributed.local_device(select_device(options.device))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches of a run have one shape
    return device


def _unpaired(options: CycleGANOptions | CUTOptions) -> Plan:
    device = _device(options)
    dataset = UnpairedPictures(
        options.dataset, load_size=options.load_size, image_size=options.image_size, seed=options.seed
    )
    steps = total_steps(options, options.dataset.name, dataset.counts)
    assert steps is not None, "the length is known"
    constant_steps, decay_steps = unpaired_steps(options, len(dataset))
    inputs = dataset.fixed_inputs(SAMPLES)
    trainer: Trainer
    if isinstance(options, CUTOptions):
        trainer = CUTTrainer(
            options, device=device, fixed_inputs=inputs, constant_steps=constant_steps, decay_steps=decay_steps
        )
    else:
        trainer = CycleGANTrainer(
            options, device=device, fixed_inputs=inputs, constant_steps=constant_steps, decay_steps=decay_steps
        )
    return Plan(
        trainer,
        _batches(dataset, options, device),
        total_steps=steps,
        unreadable=dataset.reader.unreadable,
        held_out=_held_out(dataset, options),
        domains=dataset.domains,
        pictures=max(dataset.counts.values()),
        device=device,
    )


def _stargan(options: StarGANOptions) -> Plan:
    device = _device(options)
    dataset = LabelledPictures(
        options.dataset,
        img_size=options.img_size,
        latent_dim=options.latent_dim,
        randcrop_prob=options.randcrop_prob,
        seed=options.seed,
    )
    steps = total_steps(options, options.dataset.name, dataset.counts)
    assert steps is not None, "the length is known"
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
        total_steps=steps,
        unreadable=dataset.reader.unreadable,
        held_out=_held_out(dataset, options),
        domains=options.domains or dataset.domains,
        pictures=max(dataset.counts.values()),
        device=device,
    )


def _batches(
    dataset: UnpairedPictures | LabelledPictures, options: Options, device: torch.device
) -> Callable[[int, int], Generator[Any]]:
    processes = default_processes(device) if options.loader_processes is None else options.loader_processes
    pinned = device.type == "cuda"
    return lambda first, last: batches(dataset, options.batch_size, first, last, processes=processes, pinned=pinned)


def _held_out(dataset: UnpairedPictures | LabelledPictures, options: Options) -> list[torch.Tensor]:
    """The pictures that quality is measured on; none in processes that don't measure it."""
    return dataset.held_out(options.quality_pictures) if distributed.rank() == 0 else []


def _landmarks(options: StarGANOptions) -> StateDict:
    """The landmark network's weights, from a file of its own or from the weights of a model for faces."""
    assert options.landmarks is not None, "the options demand it"
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
    if not options.needs_landmarks:
        return everywhere
    assert landmarks is not None, "they were read"
    network = LandmarkNetwork()
    network.load_state_dict(landmarks)
    network.requires_grad_(False).eval().to(device)

    @torch.no_grad()
    def of_landmarks(x: torch.Tensor) -> Masks:
        with torch.autocast(device.type, enabled=False):
            return network.masks(x.float())

    return of_landmarks
