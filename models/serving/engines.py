"""Which engine computes a model, by the device and by what is installed. The only place that decides it."""

import importlib.util
import logging

from models.device import ServingDevice
from models.errors import CheckpointError
from models.serving.engine import PictureNetwork, StyleNetworks
from models.store.catalog import Model

log = logging.getLogger("doppel.models")


def translator(model: Model, device: ServingDevice) -> PictureNetwork:
    """The generator of a CycleGAN.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
        DeviceError: it takes torch, which is not installed.
    """
    if device.is_cpu and _installed("openvino"):
        from models.serving.openvino_engine import OpenVINOTranslator

        try:
            return OpenVINOTranslator(model, device)
        except CheckpointError:
            if not _installed("torch"):
                raise
            # It reads files that only nearly have the network's tensors, or else says better what they are.
    from models.serving.torch_engine import TorchTranslator

    return TorchTranslator(model, device)


def style_networks(model: Model, device: ServingDevice) -> StyleNetworks:
    """The networks of a StarGAN v2. Errors as for :func:`translator`."""
    from models.serving.torch_engine import TorchStyleNetworks

    return TorchStyleNetworks(model, device)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
