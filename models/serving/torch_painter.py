"""torch as the engine of models that paint in a style: for accelerators, and for a CPU without OpenVINO."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from models import pixels
from models.device import ServingDevice
from models.serving.engine import Moments, Numbers, Pictures
from models.serving.moments import Fixed, Measuring, Running, with_normalisations
from models.serving.precision import lowest_precision
from models.serving.torch_engine import delivered, nbytes_of, torch_device
from models.store.catalog import Model
from models.style.networks import PainterNetwork, StyleEnsemble
from models.style.shape import CODE_SIDE
from models.weights.loading import load_weights


class TorchPainter:
    """The painter, in bfloat16 where that keeps its pictures, and the predictor. Errors as for :func:`load_weights`."""

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._device = torch_device(device)
        weights = load_weights(model)
        arguments: dict[str, Any] = dict(weights.arguments)
        ensemble = StyleEnsemble(**arguments)
        ensemble.load_state_dict(weights.state)
        ensemble.requires_grad_(False).eval().to(self._device)
        self._code_dim = arguments["code_dim"]
        self._predictor = ensemble.predictor
        self._painter, self._dtype = lowest_precision(ensemble.painter, self._device, self._run_probe, float16=False)
        ensemble.painter = self._painter  # frees the float32 copy
        self.precision = str(self._dtype)
        self.number_bytes = self._dtype.itemsize
        self.nbytes = nbytes_of(ensemble)

    def _run_probe(self, painter: PainterNetwork, x: torch.Tensor) -> torch.Tensor:
        if self._predictor is None:
            code = torch.full((1, self._code_dim), 1 / self._code_dim)
        else:
            code = self._predictor(functional.interpolate(x.float(), (CODE_SIDE, CODE_SIDE)))
        out: torch.Tensor = painter(x, code.to(x))
        return out

    @torch.inference_mode()
    def encode(self, pictures: Pictures) -> Numbers:
        if self._predictor is None:
            raise ValueError("this model has no network that reads a style off a picture")
        codes: Numbers = self._predictor(pixels.to_tensor(pictures).to(self._device)).cpu().numpy()
        return codes

    @torch.inference_mode()
    def paint(self, pictures: Pictures, codes: Numbers) -> tuple[Pictures, bool]:
        return delivered(self._painter(self._features(pictures), self._code(codes)))

    def _features(self, pictures: Pictures) -> torch.Tensor:
        return pixels.to_tensor(pictures).to(device=self._device, dtype=self._dtype)

    def _code(self, codes: Numbers) -> torch.Tensor:
        return torch.from_numpy(np.array(codes)).to(device=self._device, dtype=self._dtype)

    def measuring(self, code: Numbers) -> Callable[[Pictures], list[Moments]]:
        painter = with_normalisations(self._painter, Measuring)
        layers = [layer for layer in painter.modules() if isinstance(layer, Measuring)]
        style = self._code(code[np.newaxis])

        @torch.inference_mode()
        def measure(pictures: Pictures) -> list[Moments]:
            painter(self._features(pictures), style)
            return [layer.moments() for layer in layers]

        return measure

    def filming(self, code: Numbers) -> Callable[[Pictures, float], tuple[Pictures, bool]]:
        painter = with_normalisations(self._painter, Running)
        layers = [layer for layer in painter.modules() if isinstance(layer, Running)]
        style = self._code(code[np.newaxis])

        @torch.inference_mode()
        def paint(frame: Pictures, share: float) -> tuple[Pictures, bool]:
            for layer in layers:
                layer.share = share
            return delivered(painter(self._features(frame), style))

        return paint

    def fixed(self, code: Numbers, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        left = iter(moments)
        painter = with_normalisations(self._painter, lambda: Fixed(*next(left)).to(self._device))
        style = self._code(code[np.newaxis])

        @torch.inference_mode()
        def run(tiles: Pictures) -> tuple[Pictures, bool]:
            return delivered(painter(self._features(tiles), style))

        return run
