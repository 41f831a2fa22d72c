"""torch as the engine of models that paint in a style, on a GPU: bytes there and back, in recorded work."""

import functools

import torch
from torch import nn

from models import pixels
from models.device import ServingDevice
from models.serving.accelerator import Accelerator, cuda_device
from models.serving.cuda_engine import MOST_BYTES
from models.serving.engine import Numbers, Pictures
from models.serving.picture_pipeline import bucket
from models.serving.recorded_network import RecordedNetwork
from models.serving.torch_painter import TorchPainter
from models.store.catalog import Model


class CudaPainter(TorchPainter):
    """A model of the family ``style`` on a GPU. Errors as for :class:`TorchPainter`."""

    def __init__(self, model: Model, device: ServingDevice, accelerator: Accelerator | None = None) -> None:
        gpu = accelerator or cuda_device(device.name)  # before anything is done there
        super().__init__(model, device)
        self._recorded = RecordedNetwork(functools.partial(_painted, self._painter, self._dtype), gpu)

    @torch.inference_mode()
    def paint(self, pictures: Pictures, codes: Numbers) -> tuple[Pictures, bool]:
        if pictures.nbytes > MOST_BYTES:
            return super().paint(pictures, codes)
        count = len(pictures)
        fill = torch.arange(bucket(count), device=self._device).clamp_(max=count - 1)  # repeats the last picture
        levels = torch.from_numpy(pictures).to(self._device)
        levels, finite = self._recorded(levels[fill], self._code(codes)[fill])
        made: Pictures = levels[:count].cpu().numpy()
        return made, bool(finite[:count].all())


def _painted(
    painter: nn.Module, dtype: torch.dtype, levels: torch.Tensor, code: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    out = painter(pixels.to_features(levels).to(dtype), code)
    return pixels.to_levels(out), torch.isfinite(out).flatten(1).all(dim=1)
