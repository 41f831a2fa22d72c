"""A generator's time on this machine: as the service runs it, against plain float32."""

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from models import pixels
from models.cyclegan import ResnetGenerator
from models.serving.translator import Translator
from models.store.catalog import Catalog, Model
from models.weights.doctor import load, save
from tests.conftest import add_model

SIDE = 256
ROUNDS = 7


def precision(folder: Path) -> None:
    """The shipped models and one of the official size, in turn with plain float32."""
    add_model(folder, "official-size", ready=True)
    weights = folder / "official-size" / "weights.safetensors"
    torch.manual_seed(0)
    save(ResnetGenerator(64, 9).state_dict(), weights)
    card = folder / "official-size" / "model.json"
    card.write_text(card.read_text().replace('"ngf":4,"n_blocks":1', '"ngf":64,"n_blocks":9'))
    models = Catalog(Path("weights"), folder / "none").all()
    models = [model for model in models if model.weights and model.card.family == "cyclegan"]
    models += [_unpinned(Catalog(folder, folder / "none"))]
    for model in models:
        _compare(model)


def _unpinned(catalog: Catalog) -> Model:
    model = catalog.get("official-size")
    return Model(card=model.card, weights=model.weights, sha256=None, failure=None)


def _compare(model: Model) -> None:
    assert model.weights is not None
    plain = ResnetGenerator(**model.card.network)
    plain.load_state_dict(load(model.weights).state)
    plain.eval()
    translate = Translator(model, torch.device("cpu"))
    ramp = np.linspace(0, 255, SIDE)
    picture = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), axis=-1).astype(np.uint8)
    ratios, plain_ms = [], []
    with torch.inference_mode():
        margin = model.card.margin
        x = torch.nn.functional.pad(pixels.to_tensor([picture]), (margin,) * 4, mode="reflect")
        inside = slice(margin, margin + SIDE)
        expected = pixels.to_pictures(plain(x)[:, :, inside, inside])[0].astype(float)
        mse = np.square(translate([picture])[0] - expected).mean()
        for _ in range(ROUNDS):
            started = time.perf_counter()
            plain(x)
            between = time.perf_counter()
            translate([picture])
            plain_ms.append((between - started) * 1000)
            ratios.append((time.perf_counter() - between) / (between - started))
    psnr = 10 * np.log10(255**2 / mse) if mse else float("inf")
    print(
        f"{model.name}, {SIDE} × {SIDE}: {statistics.median(ratios):.2f} × plain float32 "
        f"({statistics.median(plain_ms):.0f} ms) as {translate.dtype}, {psnr:.0f} dB (target 0.5 at 40 dB)"
    )
