"""OpenVINO as an engine, on a CPU: graphs made of the weights file, run one picture at a time. Loads no torch.

A CPU gains nothing from batches, and alone a picture comes out the same whatever it is queued with.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.device import ServingDevice
from models.landmarks.points import POINTS
from models.pictures import Picture
from models.serving.engine import Moments, Numbers, Pictures
from models.serving.face_alignment import align
from models.serving.graphs.cyclegan import measuring_graph, tile_graph, translator_graph
from models.serving.graphs.landmarks import landmark_graph
from models.serving.graphs.stargan_v2 import encoder_graph, generator_graph, mapping_graph
from models.serving.openvino_runtime import Precision, compiled, computes_bfloat16, openvino
from models.serving.probe import MIN_PSNR_DB, probe, psnr_db
from models.serving.tensors import WeightsFile
from models.store.catalog import Model
from models.store.model_card import CycleGANNetwork, StarGANNetwork

log = logging.getLogger("doppel.models")

BYTES: dict[Precision, int] = {"bf16": 2, "f32": 4}  # a number


class OpenVINOTranslator:
    """A CycleGAN generator, in bfloat16 where the CPU computes in it and the picture stays the same.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._weights = WeightsFile(model)
        tensors = self._weights.tensors()
        count = tensors.left
        self._shape = CycleGANNetwork.model_validate(model.card.network)
        graph = translator_graph(self._shape, tensors, margin=model.card.margin)
        self._network, self.precision = lowest_precision(graph, device.threads)
        self.number_bytes = BYTES[self.precision]
        self.nbytes = count * self.number_bytes
        self._device = device

    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        return run_each(self._network, [[picture[np.newaxis]] for picture in pictures])

    def measuring(self) -> Callable[[Pictures], list[Moments]]:
        graph = measuring_graph(self._shape, self._weights.tensors())
        network = compiled(graph, self.precision, self._device.threads)
        return lambda pictures: moments_of(network, pictures)

    def fixed(self, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        # Constants disappear in the convolutions before them, which is why these are compiled anew for each picture.
        graph = tile_graph(self._shape, self._weights.tensors(), moments)
        network = compiled(graph, self.precision, self._device.threads)
        return lambda tiles: run_each(network, [[tile[np.newaxis]] for tile in tiles])


@dataclass(frozen=True)
class _Sources:
    """Source pictures, and for each the masks of the high-pass path, if they depend on it: two of (1, 1, 256, 256)."""

    pictures: Pictures
    masks: list[list[Numbers]]


class OpenVINOStylistNetworks:
    """A StarGAN v2, its generator in bfloat16 where the CPU computes in it and the picture stays the same.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        tensors = WeightsFile(model).tensors()
        count = tensors.left
        network = StarGANNetwork.model_validate(model.card.network)
        generator = generator_graph(network, tensors, model.card.masks)
        others = tensors.left
        self.latent_dim = network.latent_dim
        self._img_size = network.img_size
        self._masked = model.card.masks == "landmarks"
        self._mapping = compiled(mapping_graph(network, tensors), "f32", device.threads)
        self._encoder = compiled(encoder_graph(network, tensors), "f32", device.threads)
        self._landmarks = None
        if network.landmarks:
            self._mean = tensors.take("landmark_mean", POINTS, 2)
            self._landmarks = compiled(landmark_graph(tensors), "f32", device.threads)
        tensors.require_all_taken()
        style = self.map_latents(np.zeros((1, self.latent_dim), np.float32))[:, 0]
        everywhere = [np.ones((1, 1, 1, 1), np.float32)] * (2 * self._masked)
        self._generator, self.precision = lowest_precision(generator, device.threads, style, *everywhere)
        self.nbytes = (count - others) * BYTES[self.precision] + others * BYTES["f32"]

    def prepare(self, pictures: Pictures) -> _Sources:
        masks = [self._masks(picture) for picture in pictures] if self._masked else [[] for _ in pictures]
        return _Sources(pictures, masks)

    def generate(self, sources: _Sources, indices: Sequence[int], styles: Numbers) -> tuple[Pictures, bool]:
        inputs = [
            [sources.pictures[[index]], style[np.newaxis], *sources.masks[index]]
            for index, style in zip(indices, styles, strict=True)
        ]
        return run_each(self._generator, inputs)

    def map_latents(self, latents: Numbers) -> Numbers:
        styles: Numbers = self._mapping([latents])[0]
        return styles

    def encode(self, references: Pictures) -> Numbers:
        return np.concatenate([self._encoder([picture[np.newaxis]])[0] for picture in references])

    def align(self, faces: Pictures) -> Pictures:
        if self._landmarks is None:
            raise ValueError("this model has no landmark network to align faces by")
        return np.stack([align(face, self._heatmaps, self._mean, self._img_size) for face in faces])

    def _heatmaps(self, picture: Numbers) -> Numbers:
        assert self._landmarks is not None
        maps: Numbers = self._landmarks([picture])["heatmaps"]
        return maps

    def _masks(self, picture: Picture) -> list[Numbers]:
        assert self._landmarks is not None, "the card was checked"
        found = self._landmarks([picture[np.newaxis] / np.float32(255)])
        return [found["first"], found["second"]]


def run_each(network: openvino.CompiledModel, inputs: Sequence[list[np.ndarray]]) -> tuple[Pictures, bool]:
    """The pictures of a graph as :func:`models.serving.graphs.layers.picture_graph` makes it, one run for each."""
    results = [network(each) for each in inputs]
    pictures: Pictures = np.concatenate([result["pictures"] for result in results])
    return pictures, all(np.isfinite(result["finite"]) for result in results)


def moments_of(network: openvino.CompiledModel, pictures: Pictures) -> list[Moments]:
    """What a graph gives that measures the means and the variances of its normalisations in turn."""
    found = network([pictures])
    return [(found[n], found[n + 1]) for n in range(0, len(found), 2)]


def lowest_precision(
    graph: openvino.Model, threads: int | None, *others: np.ndarray
) -> tuple[openvino.CompiledModel, Precision]:
    """Compile a graph from pictures to pictures in the lowest precision that keeps the picture of a probe.

    The choice does not depend on timing, so all workers on one kind of machine give the same pixels.

    Args:
        others: the graph's inputs besides the picture, for the probe.
    """
    exact = compiled(graph, "f32", threads)
    if not computes_bfloat16():
        return exact, "f32"
    reduced = compiled(graph, "bf16", threads)
    inputs = [probe()[np.newaxis], *others]
    kept_db = psnr_db(exact(inputs)["pictures"], reduced(inputs)["pictures"])
    log.info("bfloat16 keeps %.0f dB", kept_db)
    return (reduced, "bf16") if kept_db >= MIN_PSNR_DB else (exact, "f32")
