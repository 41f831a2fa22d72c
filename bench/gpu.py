"""A GPU in one command of less than four minutes: the network, the queue, the training, beside plain torch.

``python -m bench gpu [--device cpu] [--quick]``: the last two to see that it works, on any machine.
"""

import argparse
import copy
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import gpu_queue, machine
from bench.plain_training import PlainStep
from models import pixels
from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.serving.accelerator import Accelerator, CpuDevice, cuda_device
from models.serving.cuda_engine import CudaTranslator
from models.serving.picture_pipeline import SLOTS
from models.serving.precision import lowest_precision
from models.serving.probe import probe, psnr_db
from models.serving.recorded_network import RecordedNetwork
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Catalog, Model
from models.store.model_card import ModelCard, ModelFile
from models.store.options import CycleGANOptions
from models.training.cyclegan import CycleGANTrainer
from models.weights import doctor

BUDGET_S = 150.0  # nothing is begun after that; the last part takes less than a minute
RAM_DISK = Path("/dev/shm")  # for Redis' file, so that no disk is measured
RAM_BYTES = 8 << 30
NAME = "random"


@dataclass(frozen=True)
class Setting:
    """What is measured, and for how long."""

    device: torch.device
    accelerator: Accelerator
    ngf: int
    n_blocks: int
    ndf: int
    side: int  # px
    batches: tuple[int, ...]
    training_batches: tuple[int, ...]
    measured_s: float  # each figure
    steps: int  # of a training, timed
    jobs: int  # through the queue
    workers: tuple[int, ...]  # processes
    compiles: bool  # whether to see what torch.compile would bring

    @classmethod
    def of(cls, device: str, quick: bool) -> "Setting":
        accelerator: Accelerator = CpuDevice() if device == "cpu" else cuda_device(device)
        if quick:
            return cls(accelerator.device, accelerator, 4, 1, 4, 32, (1, 2), (1,), 0.02, 2, 8, (1,), False)
        sizes = (64, 9, 64, 256, (1, 8, 32), (1, 8))
        return cls(accelerator.device, accelerator, *sizes, 1.0, 20, 3000, (1, 4), accelerator.device.type == "cuda")


def everything(*options: str) -> None:
    """All of it, each part by itself: if one fails, its error is printed and the others are measured."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny networks, for a moment: the figures mean nothing")
    chosen = parser.parse_args(options)
    if chosen.device != "cpu" and not torch.cuda.is_available():
        print("bench gpu: this machine has no GPU that torch can use.")
        return
    begun = time.monotonic()
    setting = Setting.of(chosen.device, chosen.quick)
    if setting.device.type == "cuda":
        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    print(f"{_name(setting.device)}, torch {torch.__version__}, {machine.cpu()}", flush=True)
    with tempfile.TemporaryDirectory(dir=_ram_disk()) as folder:
        model = random_model(Path(folder), setting)
        parts: list[Callable[[], None]] = [
            lambda: network(setting, model),
            lambda: training(setting),
            lambda: queue(setting, model, Path(folder)),
        ]
        if setting.compiles:
            parts.append(lambda: compiled(setting))
        for part in parts:
            if time.monotonic() - begun > BUDGET_S:
                print(f"{BUDGET_S:.0f} s are over; the rest is left out.")
                break
            try:
                part()
            except Exception:
                traceback.print_exc(file=sys.stdout)
            print(f"({time.monotonic() - begun:.0f} s so far)", flush=True)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _ram_disk() -> Path | None:
    return RAM_DISK if RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > RAM_BYTES else None


def random_model(folder: Path, setting: Setting) -> Model:
    """A CycleGAN with random weights, as a model of the catalog."""
    form = {"ngf": setting.ngf, "n_blocks": setting.n_blocks}
    torch.manual_seed(0)
    place = folder / "weights" / NAME
    place.mkdir(parents=True)
    doctor.save(ResnetGenerator(**form).state_dict(), place / WEIGHTS_FILE)
    card = ModelCard(
        name=NAME,
        family="cyclegan",
        network=form,
        image_size=setting.side,
        description="random weights",
        licence="MIT",
        source="made for the bench",
        files=[ModelFile(name=WEIGHTS_FILE)],
    )
    (place / CARD_FILE).write_text(card.model_dump_json(exclude_none=True))
    return Catalog(folder / "weights", folder / "data").get(NAME)


def network(setting: Setting, model: Model) -> None:
    """Pictures/s of the generator: plain torch's on tensors that are on the device already, and Doppel's."""
    device = setting.device
    torch.manual_seed(0)
    plain = ResnetGenerator(setting.ngf, setting.n_blocks).requires_grad_(False).eval().to(device)
    bfloat16 = copy.deepcopy(plain).to(torch.bfloat16)
    channels_last = copy.deepcopy(bfloat16).to(memory_format=torch.channels_last)
    x = pixels.to_tensor([probe()]).to(device)
    with torch.inference_mode():
        expected = pixels.to_pictures(plain(x))[0]
        for dtype in (torch.bfloat16, torch.float16):
            made = pixels.to_pictures(copy.deepcopy(plain).to(dtype)(x.to(dtype)))[0]
            print(f"{dtype} keeps {psnr_db(made, expected):.0f} dB")
    engine = CudaTranslator(model, ServingDevice(str(device)), setting.accelerator)
    print(f"Doppel computes in {engine.precision}\n")
    recorded = RecordedNetwork(engine.on_device, setting.accelerator)
    tf32 = ", its convolutions in TF32 as torch's default is" if device.type == "cuda" else ""
    print(f"CycleGAN, ngf {setting.ngf}, {setting.n_blocks} blocks, {setting.side} px; pictures/s (to the first row):")
    print("| | " + " | ".join(f"batch {size}" for size in setting.batches) + " |")
    print("| --- |" + " ---: |" * len(setting.batches))
    first: list[float] = []

    def row(name: str, rate: Callable[[int], float]) -> list[float]:
        rates = [rate(size) for size in setting.batches]
        first[:] = first or rates
        ratios = zip(rates, first, strict=True)
        print(f"| {name} | " + " | ".join(f"{rate:.0f} ({rate / of:.2f} ×)" for rate, of in ratios) + " |", flush=True)
        return rates

    def batch(size: int, kind: torch.nn.Module, dtype: torch.dtype) -> float:
        inputs = torch.zeros(size, 3, setting.side, setting.side, dtype=dtype, device=device)
        return _rate(setting, lambda: kind(inputs), size)

    def levels(size: int) -> float:
        inputs = torch.zeros(size, setting.side, setting.side, 3, dtype=torch.uint8, device=device)
        return _rate(setting, lambda: recorded(inputs), size)

    row(f"plain float32{tf32}", lambda size: batch(size, plain, torch.float32))
    row("plain bfloat16", lambda size: batch(size, bfloat16, torch.bfloat16))
    row("bfloat16, channels last", lambda size: batch(size, channels_last, torch.bfloat16))
    alone = row("Doppel's, recorded, from bytes to bytes on the device", levels)
    whole = row("Doppel's, from the host and back", lambda size: _pipelined(setting, engine, size))
    busy = [
        f"{min(1, rate / of):.0%} at batch {size}" for rate, of, size in zip(whole, alone, setting.batches, strict=True)
    ]
    print(f"\nThe last row keeps the device busy for {', '.join(busy)} of the time.")


def _rate(setting: Setting, run: Callable[[], object], size: int) -> float:
    """Pictures/s of a function that launches a batch."""
    with torch.inference_mode():
        for _ in range(3):  # called, recorded, replayed
            run()
        _synchronize(setting.device)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < setting.measured_s:
            for _ in range(4):
                run()
            _synchronize(setting.device)
            count += 4
        return count * size / (time.perf_counter() - started)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _pipelined(setting: Setting, engine: CudaTranslator, size: int) -> float:
    pictures = list(np.random.default_rng(0).integers(0, 256, (size, setting.side, setting.side, 3), dtype=np.uint8))
    for _ in range(3):
        engine.submit(pictures).result()
    waiting = deque(engine.submit(pictures) for _ in range(SLOTS - 1))
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < setting.measured_s:
        waiting.append(engine.submit(pictures))
        waiting.popleft().result()
        count += 1
    return count * size / (time.perf_counter() - started)


def training(setting: Setting) -> None:
    """Steps/s of a CycleGAN's training, with batches that are on the host, beside a plain float32 loop."""
    for size in setting.training_batches:
        _train(setting, size)


def _train(setting: Setting, size: int) -> None:
    on_gpu = setting.device.type == "cuda"
    batch = tuple(torch.rand(size, 3, setting.side, setting.side) * 2 - 1 for _ in range(2))
    slow = _steps_per_s(setting, _plain_step(setting, batch))
    options = CycleGANOptions(
        dataset=Path("none"),
        precision="bf16" if on_gpu else "fp32",
        image_size=setting.side,
        ngf=setting.ngf,
        n_blocks=setting.n_blocks,
        ndf=setting.ndf,
        batch_size=size,
    )
    pinned = tuple(part.pin_memory() for part in batch) if on_gpu else batch
    with _quick_convolutions(setting.device):
        trainer = CycleGANTrainer(
            options, device=setting.device, fixed_inputs=batch, constant_steps=10**6, decay_steps=0
        )
        fast = _steps_per_s(setting, lambda n: trainer.step(pinned, progress=n))
    print(
        f"CycleGAN's training step, batch {size}: plain float32 {slow:.2f}/s, "
        f"Doppel's in {options.precision} {fast:.2f}/s, {fast / slow:.2f} ×",
        flush=True,
    )


def _plain_step(setting: Setting, batch: tuple[torch.Tensor, ...]) -> Callable[[int], object]:
    plain = PlainStep(setting.device, setting.ngf, setting.n_blocks, setting.ndf)
    return lambda _: plain(*batch)


@contextmanager
def _quick_convolutions(device: torch.device) -> Iterator[None]:
    """As a run sets it on a GPU."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _steps_per_s(setting: Setting, step: Callable[[int], object]) -> float:
    warm = max(1, setting.steps // 3)
    for n in range(warm):
        step(n)
    _synchronize(setting.device)
    started = time.perf_counter()
    for n in range(setting.steps):
        step(warm + n)
    _synchronize(setting.device)
    return setting.steps / (time.perf_counter() - started)


def queue(setting: Setting, model: Model, folder: Path) -> None:
    """Pictures/s from Redis to Redis, with how busy the GPU is; without Redis, from packed pictures to packed ones."""
    why_not = gpu_queue.missing()
    if why_not:
        rate = _packed(setting, model)
        print(f"Through the queue: not measured, {why_not}. Packed pictures through one process: {rate:.0f}/s")
        return
    for workers in setting.workers:
        print(gpu_queue.measured(folder, NAME, setting.side, setting.jobs, workers, str(setting.device)), flush=True)


def _packed(setting: Setting, model: Model) -> float:
    """What a worker does with a batch, apart from Redis."""
    from models.serving.translator import Translator
    from worker.picture_bytes import pack, unpack

    translator = Translator(model, ServingDevice(str(setting.device)))
    size = setting.batches[-1]
    noise = np.random.default_rng(0).integers(0, 256, (setting.side, setting.side, 3), dtype=np.uint8)
    packed = [pack(noise) for _ in range(size)]
    waiting: deque[Callable[[], list[np.ndarray]]] = deque()
    started, count = time.perf_counter(), 0
    until = started + 3 * setting.measured_s
    while time.perf_counter() < until:
        pictures = [unpack(data)[0] for data in packed]
        begun = translator.begin(pictures)
        waiting.append(begun.result if begun else lambda pictures=pictures: translator(pictures))
        if len(waiting) == SLOTS:
            count += sum(bool(pack(picture)) for picture in waiting.popleft()())
    return count / (time.perf_counter() - started)


def compiled(setting: Setting) -> None:
    """What torch's compiler would bring, where it finds one for C: the largest batch, in the chosen precision."""
    size = setting.batches[-1]
    torch.manual_seed(0)
    plain = ResnetGenerator(setting.ngf, setting.n_blocks).requires_grad_(False).eval().to(setting.device)
    network, dtype = lowest_precision(plain, setting.device, lambda net, x: net(x))
    network = network.to(memory_format=torch.channels_last)
    inputs = torch.zeros(size, 3, setting.side, setting.side, dtype=dtype, device=setting.device)
    inputs = inputs.to(memory_format=torch.channels_last)
    started = time.perf_counter()
    try:
        quick = torch.compile(network)
        with torch.inference_mode():
            quick(inputs)
    except Exception as error:
        print(f"torch.compile: not to be had here, {type(error).__name__}: {str(error).splitlines()[0]}")
        return
    took_s = time.perf_counter() - started
    recorded = RecordedNetwork(lambda x: (quick(x),), setting.accelerator)
    rate = _rate(setting, lambda: recorded(inputs), size)
    print(f"torch.compile at batch {size}: {rate:.0f} pictures/s after {took_s:.0f} s of compiling")
