"""Which engine computes a model, by the device and by what is installed. The only place that decides it."""

import contextlib
import importlib
import importlib.util
import logging
from collections.abc import Iterator

from models.device import ServingDevice, may_have_accelerator
from models.errors import CheckpointError
from models.serving.engine import PictureNetwork, StylePainter, StylistNetworks
from models.store.catalog import Model

log = logging.getLogger("doppel.models")


def translator(model: Model, device: ServingDevice) -> PictureNetwork:
    """The generator of a CycleGAN.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
        DeviceError: it takes torch, which is not installed.
    """
    if _openvino_computes(device):
        from models.serving.openvino_engine import OpenVINOTranslator

        with _torch_to_fall_back_on():
            return OpenVINOTranslator(model, device)
    if device.is_cuda:
        from models.serving.cuda_engine import CudaTranslator

        return CudaTranslator(model, device)
    from models.serving.torch_engine import TorchTranslator

    return TorchTranslator(model, device)


def stylist_networks(model: Model, device: ServingDevice) -> StylistNetworks:
    """The networks of a StarGAN v2. Errors as for :func:`translator`."""
    if _openvino_computes(device):
        from models.serving.openvino_engine import OpenVINOStylistNetworks

        with _torch_to_fall_back_on():
            return OpenVINOStylistNetworks(model, device)
    if device.is_cuda:
        from models.serving.cuda_engine import CudaStylistNetworks

        return CudaStylistNetworks(model, device)
    from models.serving.torch_engine import TorchStylistNetworks

    return TorchStylistNetworks(model, device)


def style_painter(model: Model, device: ServingDevice) -> StylePainter:
    """The networks of a model of the family ``style``. Errors as for :func:`translator`."""
    if _openvino_computes(device):
        from models.serving.openvino_painter import OpenVINOPainter

        with _torch_to_fall_back_on():
            return OpenVINOPainter(model, device)
    if device.is_cuda:
        from models.serving.cuda_painter import CudaPainter

        return CudaPainter(model, device)
    from models.serving.torch_painter import TorchPainter

    return TorchPainter(model, device)


def load_cpu_engine(device: str) -> None:
    """Load what computes on a CPU, if the device of this name is one, so that forks of this process have it."""
    if (device == "cpu" or (device == "auto" and not may_have_accelerator())) and _installed("openvino"):
        for module in ("openvino_engine", "openvino_painter"):
            importlib.import_module(f"models.serving.{module}")


def _openvino_computes(device: ServingDevice) -> bool:
    return device.is_cpu and _installed("openvino")


@contextlib.contextmanager
def _torch_to_fall_back_on() -> Iterator[None]:
    """Leave a file with other tensors than the network's to torch, if it is here.

    It reads the forms of weights files that are nearly so, and else says better what the file is.
    """
    try:
        yield
    except CheckpointError as error:
        if not _installed("torch"):
            raise
        log.info("torch is to load it: %s", error)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
