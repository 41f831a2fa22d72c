"""Training on this machine: the trainer's step against a plain one, and what a run costs those who wait."""

import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import torch

from bench.plain_training import PlainStep
from models.device import computes_bfloat16, select_device
from models.store.options import CycleGANOptions
from models.training.cyclegan import CycleGANTrainer
from tests.processes import ROOT, eventually, free_port, process, ready
from tests.training import add_dataset
from worker.supervisor import role_command

STEPS = 3  # of each kind, in turn; one of the paper's setting takes tens of seconds on two cores
SIDE = 256
SETTINGS = {  # of a CycleGAN: the paper's, and the small one of docs/training.md
    "paper": {"image_size": SIDE, "ngf": 64, "n_blocks": 9, "ndf": 64},
    "small": {"image_size": 128, "load_size": 143, "ngf": 32, "n_blocks": 3, "ndf": 32},
}
TRANSLATIONS = 30


def steps() -> None:
    """CycleGAN: a plain float32 step, and the trainer's in float32 and, where it is computed in, bfloat16, in turn."""
    for name, sizes in SETTINGS.items():
        _steps(name, sizes)


def _steps(name: str, sizes: dict[str, int]) -> None:
    device = select_device("auto")
    torch.manual_seed(0)
    side, ngf, n_blocks, ndf = (sizes[size] for size in ("image_size", "ngf", "n_blocks", "ndf"))
    batch = tuple(torch.rand(1, 3, side, side) * 2 - 1 for _ in range(2))
    plain = PlainStep(device, ngf, n_blocks, ndf)
    trainers = {}
    for precision in ("fp32", "bf16") if computes_bfloat16(device) else ("fp32",):
        options = CycleGANOptions(**{"dataset": Path("none"), "precision": precision} | sizes)
        trainers[precision] = CycleGANTrainer(
            options, device=device, fixed_inputs=batch, constant_steps=100, decay_steps=0
        )
    seconds: dict[str, list[float]] = {"plain": [], **{precision: [] for precision in trainers}}
    for step in range(STEPS + 1):
        for kind, spent in seconds.items():
            started = time.perf_counter()
            if kind == "plain":
                plain(*batch)
            else:
                trainers[kind].step(batch, progress=step)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if step:  # the first warms up
                spent.append(time.perf_counter() - started)
    rate = {kind: 1 / min(spent) for kind, spent in seconds.items()}  # the least disturbed step of each
    trained = ", ".join(f"trainer in {kind} {rate[kind] / rate['plain']:.2f} ×" for kind in trainers)
    print(
        f"CycleGAN step ({name}: ngf {ngf}, {n_blocks} blocks, {side} px, batch 1) on {device}: "
        f"plain float32 {rate['plain']:.3f} steps/s; {trained}"
    )


def beside_training() -> None:
    """A picture's way through the whole service, alone and while a run trains on the same machine."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        add_dataset(Path(folder))
        settings = {"PORT": str(port), "OFFLINE": "1", "DATA_DIR": folder}
        env = {key: value for key, value in os.environ.items() if not key.startswith("DOPPEL_")}
        env |= {f"DOPPEL_{name}": value for name, value in settings.items()}
        with (
            process(*role_command("serve"), env=env),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client,
        ):
            eventually(lambda: ready(client), within_s=60)
            alone = _translations(client)
            options = {"dataset": "colors", "image_size": 128, "load_size": 128, "ngf": 32, "precision": "bf16"}
            eventually(lambda: client.post("/training/cyclegan", json=options | {"epochs": 10_000}).status_code == 202)
            run = client.get("/training").json()[0]["links"]["self"]
            eventually(lambda: client.get(run).json()["step"] > 5, within_s=120)
            before = client.get(run).json()["step"], time.monotonic()
            beside = _translations(client)
            pace = (client.get(run).json()["step"] - before[0]) / (time.monotonic() - before[1])
            client.post(f"{run}/stop")
            eventually(lambda: client.get(run).json()["status"] == "stopped", within_s=60)
    print(
        f"A picture of {SIDE} px through the service: p50 {alone[0]:.0f} ms, worst {alone[1]:.0f} ms alone; while a "
        f"run trains beside it p50 {beside[0] / alone[0]:.2f} ×, worst {beside[1] / alone[1]:.2f} × "
        f"(the run: {pace:.2f} steps/s meanwhile)"
    )


def _translations(client: httpx.Client) -> tuple[float, float]:
    """Median and largest of some latencies, in ms."""
    photo = (ROOT / "docs/images/sample-photo.jpg").read_bytes()
    spent_ms = []
    for _ in range(TRANSLATIONS):
        started = time.perf_counter()
        answer = client.post("/translate", files={"image": photo}, data={"resolution": str(SIDE), "fit": "crop"})
        answer.raise_for_status()
        spent_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(spent_ms[3:]), max(spent_ms[3:])
