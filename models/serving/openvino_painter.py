"""OpenVINO as the engine of models that paint in a style, on a CPU. Loads no torch."""

from collections.abc import Callable, Sequence

import numpy as np

from models.device import ServingDevice
from models.serving.engine import Moments, Numbers, Pictures
from models.serving.graphs.style import filming_graph, measuring_graph, painter_graph, predictor_graph, tile_graph
from models.serving.openvino_engine import BYTES, lowest_precision, moments_of, run_each
from models.serving.openvino_runtime import compiled
from models.serving.probe import probe
from models.serving.tensors import WeightsFile
from models.store.catalog import Model
from models.store.model_card import StyleNetwork


class OpenVINOPainter:
    """The painter, in bfloat16 where the CPU computes in it and the picture stays the same, and the predictor.

    Raises:
        ModelUnavailable: the model's weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._weights = WeightsFile(model)
        tensors = self._weights.tensors()
        count = tensors.left
        self.shape = StyleNetwork.model_validate(model.card.network)
        graph = painter_graph(self.shape, tensors)
        others = tensors.left
        self._predictor = None
        if self.shape.predictor:
            # In bfloat16 it can't be compiled, and it runs once a style.
            self._predictor = compiled(predictor_graph(self.shape, tensors), "f32", device.threads)
        tensors.require_all_taken()
        self._device = device
        self._network, self.precision = lowest_precision(graph, device.threads, self._probe_code())
        self.number_bytes = BYTES[self.precision]
        self.nbytes = (count - others) * self.number_bytes + others * BYTES["f32"]

    def _probe_code(self) -> Numbers:
        if self._predictor is None:
            return np.full((1, self.shape.code_dim), 1 / self.shape.code_dim, np.float32)
        return self.encode(probe().repeat(2, axis=0).repeat(2, axis=1)[np.newaxis])

    def encode(self, pictures: Pictures) -> Numbers:
        if self._predictor is None:
            raise ValueError("this model has no network that reads a style off a picture")
        return np.concatenate([self._predictor([picture[np.newaxis]])[0] for picture in pictures])

    def paint(self, pictures: Pictures, codes: Numbers) -> tuple[Pictures, bool]:
        inputs = [[picture[np.newaxis], code[np.newaxis]] for picture, code in zip(pictures, codes, strict=True)]
        return run_each(self._network, inputs)

    def measuring(self, code: Numbers) -> Callable[[Pictures], list[Moments]]:
        graph = measuring_graph(self.shape, self._weights.tensors(), code)
        network = compiled(graph, self.precision, self._device.threads)
        return lambda pictures: moments_of(network, pictures)

    def filming(self, code: Numbers) -> Callable[[Pictures, float], tuple[Pictures, bool]]:
        graph, length = filming_graph(self.shape, self._weights.tensors(), code)
        network = compiled(graph, self.precision, self._device.threads)
        moments = np.zeros(length, np.float32)

        def paint(frame: Pictures, share: float) -> tuple[Pictures, bool]:
            nonlocal moments
            made = network([frame, np.float32(share), moments])
            moments = made["moments"]
            return made["pictures"], bool(np.isfinite(made["finite"]))

        return paint

    def fixed(self, code: Numbers, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        graph = tile_graph(self.shape, self._weights.tensors(), code, moments)
        network = compiled(graph, self.precision, self._device.threads)
        return lambda tiles: run_each(network, [[tile[np.newaxis]] for tile in tiles])
