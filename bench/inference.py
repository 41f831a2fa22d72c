"""The engines on this CPU: time, likeness and memory of each model by OpenVINO and by torch, as a Markdown table."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench import machine
from bench.resident import SIDE, generator, sample
from models.cyclegan import ResnetGenerator
from models.serving.openvino_runtime import computes_bfloat16
from models.serving.probe import psnr_db
from models.store.catalog import Catalog
from models.weights.doctor import save
from tests.conftest import add_model, add_stargan
from tests.processes import ROOT

ROUNDS = 7
TORCH_FLOAT32 = ("torch", "f32")
STARGAN = {"img_size": 256, "style_dim": 64, "latent_dim": 16, "num_domains": 2, "max_conv_dim": 512}

Kind = tuple[str, str]  # an engine, and the precision that it is made to compute in


def engines() -> None:
    """The CycleGANs and StarGANs that ship, and those in the sizes of their papers with random weights.

    The family ``style`` has a measurement of its own: ``styles``.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _add_full_sizes(folder)
        print(f"{machine.cpu()}, {SIDE} × {SIDE}; × and dB against torch in float32\n")
        print("| model | engine | time | likeness | resident | ms |\n| --- | --- | --- | --- | --- | --- |")
        for weights_dir in (ROOT / "weights", folder):
            catalog = Catalog(weights_dir, folder / "none")
            for name in (model.name for model in catalog.all() if model.weights and model.card.family != "style"):
                _compare(catalog, name)


def _add_full_sizes(folder: Path) -> None:
    weights = add_model(folder, "cyclegan-9-blocks", ready=False, network={"ngf": 64, "n_blocks": 9}, files=[])
    torch.manual_seed(0)
    save(ResnetGenerator(64, 9).state_dict(), weights / "weights.safetensors")
    for w_hpf, masks in ((0, None), (1, "ones")):
        add_stargan(folder, f"stargan-w_hpf-{w_hpf}", network=STARGAN | {"w_hpf": w_hpf}, masks=masks, files=[])


def _compare(catalog: Catalog, name: str) -> None:
    precisions = ("f32", "bf16") if computes_bfloat16() else ("f32",)
    kinds: list[Kind] = [(engine, precision) for engine in ("torch", "OpenVINO") for precision in precisions]
    runs = {kind: generator(catalog.get(name), *kind) for kind in kinds}
    shown = sample()
    pictures = {kind: run(shown) for kind, run in runs.items()}
    seconds: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):  # in turn, since the machine's speed changes
        for kind, run in runs.items():
            started = time.perf_counter()
            run(shown)
            seconds[kind].append(time.perf_counter() - started)
    for kind in kinds:
        ratios = [own / torchs for own, torchs in zip(seconds[kind], seconds[TORCH_FLOAT32], strict=True)]
        print(
            f"| {name} | {' '.join(kind)} | {statistics.median(ratios):.2f} × "
            f"| {psnr_db(pictures[kind], pictures[TORCH_FLOAT32]):.0f} dB | {_resident_mb(catalog, name, kind):.0f} MB "
            f"| {statistics.median(seconds[kind]) * 1000:.0f} |",
            flush=True,
        )


def _resident_mb(catalog: Catalog, name: str, kind: Kind) -> float:
    command = [sys.executable, "-m", "bench.resident", str(catalog.weights_dir), name, *kind]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
