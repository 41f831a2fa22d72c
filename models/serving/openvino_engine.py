"""OpenVINO as an engine, on a CPU: graphs made of the weights file, run one picture at a time. Loads no torch."""

import logging

import numpy as np

from models.device import ServingDevice
from models.serving.engine import Pictures
from models.serving.graphs.cyclegan import translator_graph
from models.serving.openvino_runtime import Precision, compiled, computes_bfloat16, openvino
from models.serving.probe import MIN_PSNR_DB, probe, psnr_db
from models.serving.tensors import Tensors
from models.store.catalog import CycleGANNetwork, Model

log = logging.getLogger("doppel.models")

BYTES = {"bf16": 2, "f32": 4}


def read_network(model: Model) -> openvino.Model:
    """A CycleGAN's graph, from ``pictures`` (N, H, W, 3) uint8 to ``pictures`` and ``finite``; not compiled.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """
    return _translator(model, _tensors(model))


def _translator(model: Model, tensors: Tensors) -> openvino.Model:
    network = CycleGANNetwork.model_validate(model.card.network)
    return translator_graph(network, tensors, margin=model.card.margin)


def _tensors(model: Model) -> Tensors:
    weights = model.verified_weights()
    return Tensors(weights, f"{model.name}/{weights.name}")


class OpenVINOTranslator:
    """A CycleGAN generator, in bfloat16 where the CPU computes in it and the picture stays the same.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        tensors = _tensors(model)
        count = tensors.count
        self._network, self.precision = lowest_precision(_translator(model, tensors), device.threads)
        self.nbytes = count * BYTES[self.precision]

    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        # A CPU gains nothing from batches, and alone a picture comes out the same whatever it is queued with.
        results = [self._network([picture[np.newaxis]]) for picture in pictures]
        translated = np.concatenate([result["pictures"] for result in results])
        return translated, all(np.isfinite(result["finite"]) for result in results)


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
