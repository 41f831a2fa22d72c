"""torch on a GPU: pictures go there as bytes and come back as bytes, copied beside what is computed, in recorded work.

A network in float16 whose numbers overflow on a picture makes this one anew in float32.
"""

import copy
import functools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from models import gpu_layers, pixels
from models.device import ServingDevice
from models.pictures import Picture
from models.serving.accelerator import Accelerator, cuda_device
from models.serving.engine import Pending, Pictures
from models.serving.picture_pipeline import PicturePipeline, Results, bucket
from models.serving.recorded_network import RecordedNetwork
from models.serving.torch_engine import TorchStylistNetworks, TorchTranslator, delivered, framed
from models.store.catalog import Model

MOST_BYTES = 32 << 20  # of a batch of pictures that is copied beside others; memory for four of them stays taken

Network = TypeVar("Network", bound=nn.Module)


class CudaTranslator(TorchTranslator):
    """A CycleGAN generator on a GPU. Errors as for :class:`TorchTranslator`."""

    def __init__(self, model: Model, device: ServingDevice, accelerator: Accelerator | None = None) -> None:
        gpu = accelerator or cuda_device(device.name)  # before anything is done there
        self.memory_format = gpu_layers.memory_format(gpu.device)
        super().__init__(model, device)
        self._quick = gpu_layers.quickest(self._network, gpu.device)
        # Bound to no object that holds it, so that a model that is dropped leaves the device at once.
        self.on_device = functools.partial(_translated, self._quick, self._margin, self._dtype)
        self._pipeline = PicturePipeline(RecordedNetwork(self.on_device, gpu), gpu)

    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        return self.submit(list(pictures)).result()

    def submit(self, pictures: Sequence[Picture]) -> Pending[tuple[Pictures, bool]]:
        """As :class:`models.serving.engine.AsynchronousNetwork`, but large batches are done when this returns."""

        def checked(results: Results) -> tuple[Pictures, bool]:
            made, finite = results
            return (made, True) if finite.all() else self._made_exactly(pictures)

        if sum(picture.nbytes for picture in pictures) <= MOST_BYTES:
            return self._pipeline.submit(pictures).then(checked)
        results = checked(self._made_at_once(np.stack(pictures)))
        return Pending(lambda: True, lambda: results)

    @torch.inference_mode()
    def _made_at_once(self, pictures: Pictures) -> Results:
        made, finite = delivered(framed(self._quick, self._margin, self._features(pictures)))
        return made, np.array(finite)

    @torch.inference_mode()
    def _made_exactly(self, pictures: Sequence[Picture]) -> tuple[Pictures, bool]:
        x = pixels.to_tensor(pictures).to(self._device)
        return delivered(framed(in_float32(self._network), self._margin, x))


def _translated(
    network: nn.Module, margin: int, dtype: torch.dtype, levels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    out = framed(network, margin, pixels.to_features(levels).to(dtype))
    return pixels.to_levels(out), torch.isfinite(out).flatten(1).all(dim=1)


class CudaStylistNetworks(TorchStylistNetworks):
    """A StarGAN v2 on a GPU. Errors as for :class:`TorchStylistNetworks`."""

    def __init__(self, model: Model, device: ServingDevice, accelerator: Accelerator | None = None) -> None:
        gpu = accelerator or cuda_device(device.name)
        self.memory_format = gpu_layers.memory_format(gpu.device)
        super().__init__(model, device)
        quick = gpu_layers.quickest(self._generator, gpu.device)
        self._recorded = RecordedNetwork(functools.partial(_restyled, quick), gpu)

    def _generated(self, x: torch.Tensor, s: torch.Tensor, *masks: torch.Tensor) -> tuple[Pictures, bool]:
        count = len(x)
        fill = torch.arange(bucket(count), device=x.device).clamp_(max=count - 1)  # repeats the last picture
        levels, finite = self._recorded(*(part[fill] for part in (x, s, *masks)))
        made: Pictures = levels[:count].cpu().numpy()
        if finite[:count].all():
            return made, True
        exact = [part.float() for part in (x, s, *masks)]
        return delivered(in_float32(self._generator)(*exact[:2], exact[2:] or None))


def _restyled(
    generator: nn.Module, x: torch.Tensor, s: torch.Tensor, *masks: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    out = generator(x, s, masks or None)
    return pixels.to_levels(out), torch.isfinite(out).flatten(1).all(dim=1)


def in_float32(network: Network) -> Network:
    """A copy that computes with the same weights and more digits."""
    return copy.deepcopy(network).float()
