"""Write a model's networks as ONNX files, for other software: ``python -m models.weights.onnx_export NAME``."""

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.cyclegan import ResnetGenerator
from models.errors import DoppelError, Invalid, NotInstalled
from models.landmarks.network import SIDE, LandmarkNetwork
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import Generator, everywhere
from models.store.catalog import Catalog, Model
from models.store.files import replacing
from models.style.networks import StyleEnsemble, StylePredictor
from models.weights.loading import load_weights

OPSET = 18  # read by onnxruntime from 1.14 on
VALUE_RANGE = "[-1, 1], RGB: uint8 / 127.5 - 1; clamp what comes out"

_SEVERAL = {"stargan_v2": "a StarGAN v2", "style": "a style model"}

Shape = tuple[int | str, ...]  # a named side may have any length


@dataclass(frozen=True)
class Part:
    """One network, with what its file says of it."""

    file: str
    network: nn.Module
    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    notes: dict[str, str]  # metadata of this file alone


class PaddedTranslator(nn.Module):
    """A CycleGAN's generator with its card's margin, as Doppel serves it: the margin is mirrored, and cut off again."""

    def __init__(self, generator: ResnetGenerator, margin: int) -> None:
        super().__init__()
        self.generator = generator
        self.margin = margin

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        inside = slice(self.margin, -self.margin)
        out: torch.Tensor = self.generator(functional.pad(source, (self.margin,) * 4, mode="reflect"))
        return out[:, :, inside, inside]


class UnmaskedGenerator(nn.Module):
    """A StarGAN v2's generator whose high-pass path acts everywhere."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, source: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.generator(source, style, everywhere(source))
        return out


class MaskedGenerator(nn.Module):
    """A StarGAN v2's generator whose masks are two inputs."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self, source: torch.Tensor, style: torch.Tensor, coarse_mask: torch.Tensor, fine_mask: torch.Tensor
    ) -> torch.Tensor:
        out: torch.Tensor = self.generator(source, style, (coarse_mask, fine_mask))
        return out


class StyleReader(nn.Module):
    """A style predictor as a part of a module: the exporter can't have its layer ``code`` at the root."""

    def __init__(self, predictor: StylePredictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, style: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.predictor(style)
        return out


class Masks(nn.Module):
    """The two masks of the faces that fill pictures of any size."""

    def __init__(self, landmarks: LandmarkNetwork) -> None:
        super().__init__()
        self.landmarks = landmarks

    def forward(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.landmarks.masks(source)


def export(model: Model, target: Path) -> list[Path]:
    """Write a model's networks.

    Args:
        target: of a CycleGAN the file, of the other families the folder, which is made if it is missing.

    Returns:
        The files. A file that was there is replaced.

    Raises:
        NotInstalled: the package that writes ONNX is missing.
        ModelUnavailable: the model's weights are not here.
        CheckpointError: its weights file does not match its card.
        Invalid: ``target`` is in no folder, or it is one file for a model of several networks.
        OSError: a file can't be written.
    """
    if not target.parent.is_dir():
        raise Invalid(f"There is no folder {target.parent}.")
    if importlib.util.find_spec("onnxscript") is None:
        raise NotInstalled("Writing ONNX needs the package onnxscript: pip install onnxscript")
    if model.card.family == "cyclegan":
        translator = _translator(model)
        _write(translator, model, target)
        return [target]
    if target.suffix.lower() in (".onnx", ".zip") or target.is_file():
        raise Invalid(
            f"{model.name} is {_SEVERAL[model.card.family]}, which has a file for each of its networks: "
            f"name a folder for them, not {target.name}."
        )
    parts = _style_parts(model) if model.card.family == "style" else _parts(_ensemble(model), model)
    target.mkdir(exist_ok=True)
    files = []
    for part in parts:
        files.append(target / part.file)
        _write(part, model, files[-1])
    return files


def _translator(model: Model) -> Part:
    weights = load_weights(model)
    arguments: dict[str, Any] = dict(weights.arguments)
    generator = ResnetGenerator(**arguments)
    generator.load_state_dict(weights.state)
    margin = model.card.margin
    network = PaddedTranslator(generator, margin) if margin else generator
    sides = f"multiples of {model.card.side_multiple}, and longer than the margin of {margin} px that is inside"
    return Part(
        "", network, {"source": ("N", 3, "H", "W")}, ("picture",), {"sides": sides if margin else _sides(model)}
    )


def _ensemble(model: Model) -> Ensemble:
    weights = load_weights(model)
    arguments: dict[str, Any] = dict(weights.arguments)
    arguments["w_hpf"] = model.card.network["w_hpf"]  # the weights do not show the strength of the high-pass path
    ensemble = Ensemble(**arguments)
    ensemble.load_state_dict(weights.state)
    return ensemble


def _parts(ensemble: Ensemble, model: Model) -> Iterator[Part]:
    pictures: Shape = ("N", 3, "H", "W")
    network = model.card.full_network
    domains = {"domains": ", ".join(f"{n}: {name}" for n, name in enumerate(model.card.domains))}
    style: Shape = ("N", network["style_dim"])
    inputs = {"source": pictures, "style": style}
    generator: nn.Module = ensemble.generator
    if model.card.masks == "ones":
        generator = UnmaskedGenerator(ensemble.generator)
    elif model.card.masks == "landmarks":
        generator = MaskedGenerator(ensemble.generator)
        inputs |= {"coarse_mask": ("N", 1, "h", "w"), "fine_mask": ("N", 1, "h", "w")}
        assert ensemble.landmarks is not None, "the card was checked"
        masks = {"masks": f"in [0, 1], of a face that fills the picture, which is read at {SIDE} px"}
        yield Part("masks.onnx", Masks(ensemble.landmarks), {"source": pictures}, ("coarse_mask", "fine_mask"), masks)
    yield Part("generator.onnx", generator, inputs, ("picture",), {"sides": _sides(model)})
    latent: dict[str, Shape] = {"latent": ("N", network["latent_dim"]), "domain": ("N",)}
    drawn = {"latent": "drawn from a standard normal"}
    yield Part("mapping_network.onnx", ensemble.mapping_network, latent, ("style",), domains | drawn)
    side = ensemble.img_size
    reference: dict[str, Shape] = {"reference": ("N", 3, side, side), "domain": ("N",)}
    yield Part("style_encoder.onnx", ensemble.style_encoder, reference, ("style",), domains)


def _style_parts(model: Model) -> list[Part]:
    weights = load_weights(model)
    arguments: dict[str, Any] = dict(weights.arguments)
    ensemble = StyleEnsemble(**arguments)
    ensemble.load_state_dict(weights.state)
    code: Shape = ("N", arguments["code_dim"])
    notes = {"sides": _sides(model)} | ({"code": json.dumps(model.card.code)} if model.card.code else {})
    inputs: dict[str, Shape] = {"source": ("N", 3, "H", "W"), "code": code}
    parts = [Part("painter.onnx", ensemble.painter, inputs, ("picture",), notes)]
    if ensemble.predictor is not None:
        side = model.card.image_size
        style: dict[str, Shape] = {"style": ("N", 3, side, side)}
        parts.append(Part("predictor.onnx", StyleReader(ensemble.predictor), style, ("code",), {}))
    return parts


def _sides(model: Model) -> str:
    return f"multiples of {model.card.side_multiple}"


def _write(part: Part, model: Model, target: Path) -> None:
    with warnings.catch_warnings():
        # Two inputs share a name for an axis, such as N, on purpose.
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            part.network.requires_grad_(False).eval(),
            tuple(_example(name, shape, model) for name, shape in part.inputs.items()),
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=tuple(
                {n: side for n, side in enumerate(shape) if isinstance(side, str)} for shape in part.inputs.values()
            ),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    card = model.card
    graph = program.model
    graph.producer_name = "doppel"
    graph.doc_string = card.description
    graph.metadata_props.update(
        {"name": card.name, "licence": card.licence, "source": card.source, "value_range": VALUE_RANGE, **part.notes}
    )
    with replacing(target) as written:
        program.save(written)


def _example(name: str, shape: Shape, model: Model) -> torch.Tensor:
    """An input for the exporter, whose named sides all differ, so that it takes none of them for another."""
    if name == "domain":
        return torch.zeros(2, dtype=torch.int64)
    least = max(model.card.side_multiple, 2 * model.card.margin)
    lengths = {"N": 2, "H": 4 * least, "W": 6 * least, "h": 7, "w": 9}
    return torch.zeros([lengths[side] if isinstance(side, str) else side for side in shape])


def main(arguments: list[str] | None = None) -> int:
    """Run this program; its exit status. ``arguments`` None: those of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.weights.onnx_export", description="Write a model's networks as ONNX files."
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="CycleGAN: file; others: folder")
    parser.add_argument("--weights-dir", type=Path, default=Path("weights"))
    parser.add_argument("--data-dir", type=Path, default=Path("var"))
    given = parser.parse_args(arguments)
    try:
        model = Catalog(given.weights_dir, given.data_dir).get(given.name)
        files = export(model, given.output)
    except (DoppelError, OSError) as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    print(f"exported {model.name} to {', '.join(map(str, files))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
