"""torch as an engine: for accelerators, and for a CPU where OpenVINO can't be had."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from models import pixels
from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.landmarks.placement import place
from models.serving.engine import Moments, Numbers, Pictures
from models.serving.moments import Fixed, Measuring, with_normalisations
from models.serving.precision import lowest_precision
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.losses import Masks
from models.stargan_v2.networks import Generator, everywhere
from models.store.catalog import Model
from models.weights.loading import load_weights


def torch_device(device: ServingDevice) -> torch.device:
    """The device in torch's terms; on a CPU, torch computes on as many threads from now on."""
    if device.threads is not None and device.is_cpu:
        torch.set_num_threads(device.threads)
    return torch.device(device.name)


def framed(network: torch.nn.Module, margin: int, x: torch.Tensor) -> torch.Tensor:
    """What the network makes of pictures with a margin, without the margin."""
    height, width = x.shape[2:]
    # The reflected margin must be smaller than the picture, and keep the sides multiples of 4.
    margin = min(margin, (min(height, width) - 1) // 4 * 4)
    x = functional.pad(x, (margin,) * 4, mode="reflect")
    out: torch.Tensor = network(x)[:, :, margin : margin + height, margin : margin + width]
    return out


class TorchTranslator:
    """A CycleGAN generator, in 16 bits where that keeps its pictures. Errors as for :func:`load_weights`."""

    memory_format = torch.contiguous_format

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._device = torch_device(device)
        weights = load_weights(model)
        arguments: dict[str, Any] = dict(weights.arguments)
        network = ResnetGenerator(**arguments)
        network.load_state_dict(weights.state)
        network.requires_grad_(False).eval().to(self._device).to(memory_format=self.memory_format)
        self._network, self._dtype = lowest_precision(network, self._device, lambda net, x: net(x))
        self._margin = model.card.margin
        self.precision = str(self._dtype)
        self.number_bytes = self._dtype.itemsize
        self.nbytes = nbytes_of(self._network)

    @torch.inference_mode()
    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        return delivered(framed(self._network, self._margin, self._features(pictures)))

    def _features(self, pictures: Pictures) -> torch.Tensor:
        return pixels.to_tensor(pictures).to(device=self._device, dtype=self._dtype)

    def measuring(self) -> Callable[[Pictures], list[Moments]]:
        network = with_normalisations(self._network, Measuring)
        layers = [layer for layer in network.modules() if isinstance(layer, Measuring)]

        @torch.inference_mode()
        def measure(pictures: Pictures) -> list[Moments]:
            network(self._features(pictures))
            return [layer.moments() for layer in layers]

        return measure

    def fixed(self, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        left = iter(moments)
        network = with_normalisations(self._network, lambda: Fixed(*next(left)).to(self._device))

        @torch.inference_mode()
        def run(tiles: Pictures) -> tuple[Pictures, bool]:
            return delivered(network(self._features(tiles)))

        return run


@dataclass(frozen=True)
class _Sources:
    """Source pictures on the device, and the masks of the high-pass path for each."""

    x: torch.Tensor  # (N, 3, H, W)
    masks: Masks | None  # (N, 1, h, w) each


class TorchStylistNetworks:
    """A StarGAN v2, its generator in 16 bits where that keeps its pictures. Errors as for :func:`load_weights`."""

    memory_format = torch.contiguous_format

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._device = torch_device(device)
        weights = load_weights(model)
        arguments: dict[str, Any] = dict(weights.arguments)
        arguments["w_hpf"] = model.card.network["w_hpf"]  # the weights do not show the strength of the high-pass path
        ensemble = Ensemble(**arguments)
        ensemble.load_state_dict(weights.state)
        ensemble.requires_grad_(False).eval().to(self._device).to(memory_format=self.memory_format)
        self.latent_dim = arguments["latent_dim"]
        self._ensemble = ensemble
        self._mask_source = model.card.masks
        self._generator, self._dtype = lowest_precision(ensemble.generator, self._device, self._run_probe)
        ensemble.generator = self._generator  # frees the float32 copy
        self.precision = str(self._dtype)
        self.nbytes = nbytes_of(ensemble)

    def _run_probe(self, generator: Generator, x: torch.Tensor) -> torch.Tensor:
        masks = everywhere(x) if self._mask_source else None
        s = torch.from_numpy(self.map_latents(np.zeros((1, self.latent_dim), np.float32))[:, 0]).to(x)
        out: torch.Tensor = generator(x, s, masks)
        return out

    @torch.inference_mode()
    def prepare(self, pictures: Pictures) -> _Sources:
        x = pixels.to_tensor(pictures).to(self._device)
        return _Sources(x.to(self._dtype), self._masks(x))

    @torch.inference_mode()
    def generate(self, sources: _Sources, indices: Sequence[int], styles: Numbers) -> tuple[Pictures, bool]:
        chosen = torch.tensor(indices, device=self._device)
        masks = () if sources.masks is None else tuple(mask[chosen] for mask in sources.masks)
        x = sources.x[chosen]
        return self._generated(x, torch.from_numpy(styles).to(x), *masks)

    def _generated(self, x: torch.Tensor, s: torch.Tensor, *masks: torch.Tensor) -> tuple[Pictures, bool]:
        return delivered(self._generator(x, s, masks or None))

    @torch.inference_mode()
    def map_latents(self, latents: Numbers) -> Numbers:
        mapping = self._ensemble.mapping_network
        h = mapping.shared(torch.from_numpy(latents).to(self._device))
        return _numbers(torch.stack([branch(h) for branch in mapping.unshared], dim=1))

    @torch.inference_mode()
    def encode(self, references: Pictures) -> Numbers:
        encoder = self._ensemble.style_encoder
        h = encoder.shared(pixels.to_tensor(references).to(self._device)).flatten(1)
        return _numbers(torch.stack([branch(h) for branch in encoder.unshared], dim=1))

    @torch.inference_mode()
    def align(self, faces: Pictures) -> Pictures:
        landmarks = self._ensemble.landmarks
        if landmarks is None:
            raise ValueError("this model has no landmark network to align faces by")
        x = pixels.to_tensor(faces).to(self._device)
        return np.stack(pixels.to_pictures(place(x, landmarks, self._ensemble.landmark_mean, self._ensemble.img_size)))

    def _masks(self, x: torch.Tensor) -> Masks | None:
        if self._mask_source is None:
            return None
        if self._mask_source == "ones":
            return everywhere(x.to(self._dtype))
        assert self._ensemble.landmarks is not None, "the card was checked"
        first, second = self._ensemble.landmarks.masks(x)
        return first.to(self._dtype), second.to(self._dtype)


def delivered(x: torch.Tensor) -> tuple[Pictures, bool]:
    """Pictures of features (N, 3, H, W), and whether all of these are finite."""
    return np.stack(pixels.to_pictures(x)), bool(torch.isfinite(x).all())


def _numbers(x: torch.Tensor) -> Numbers:
    numbers: Numbers = x.float().cpu().numpy()
    return numbers


def nbytes_of(network: torch.nn.Module) -> int:
    """Bytes of the network's parameters and buffers."""
    return sum(tensor.nbytes for tensor in network.state_dict().values())
