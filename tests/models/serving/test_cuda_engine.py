"""What schedules pictures on a GPU, on stand-ins for one: tests/gpu has the tests that need one."""

import copy
import gc
import random
import weakref

import numpy as np
import pytest
import torch

from models.device import ServingDevice
from models.errors import NotFinite
from models.serving import cuda_engine, precision
from models.serving.accelerator import CpuDevice
from models.serving.cuda_engine import CudaStylistNetworks, CudaTranslator
from models.serving.cuda_painter import CudaPainter
from models.serving.engine import AsynchronousNetwork
from models.serving.picture_pipeline import PicturePipeline
from models.serving.precision import lowest_precision
from models.serving.recorded_network import RecordedNetwork
from models.serving.torch_engine import TorchStylistNetworks, TorchTranslator
from models.serving.torch_painter import TorchPainter
from models.serving.translator import Translator
from models.store.catalog import Catalog
from tests.conftest import TINY_STARGAN, add_model, add_stargan, let_overflow
from tests.models.serving.interleaved import Interleaved
from tests.pictures import landscape
from tests.processes import ROOT

CPU = ServingDevice("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """Wherever the tests run."""
    monkeypatch.setattr(precision, "_sixteen_bits", lambda device: [])


class Inverting:
    """Inverts pictures on the device; those whose first byte is 255 are not finite. Its results lie in one place."""

    def __init__(self):
        self.sizes = []
        self.place = torch.zeros(0, dtype=torch.uint8)

    def __call__(self, x):
        self.sizes.append(len(x))
        if self.place.numel() < x.numel():
            self.place = torch.zeros(x.numel(), dtype=torch.uint8)
        made = self.place[: x.numel()].view(x.shape)
        torch.sub(255, x, out=made)
        return made, x[:, 0, 0, 0] != 255


def pictures(*levels, side=4):
    return [np.full((side, side, 3), level, np.uint8) for level in levels]


@pytest.mark.parametrize("seed", range(20))
def test_pictures_are_never_mixed_up_whatever_the_device_does_when(seed):
    chance = random.Random(seed)
    pipeline = PicturePipeline(RecordedNetwork(Inverting(), Interleaved(seed), most_graphs=3), Interleaved(seed))
    waiting = []
    for _ in range(30):
        batch = pictures(*(chance.randrange(256) for _ in range(chance.randint(1, 9))), side=chance.choice((4, 8, 12)))
        waiting.append((batch, pipeline.submit(batch)))
        while waiting and chance.random() < 0.4:
            check(*waiting.pop(chance.randrange(len(waiting))))
    for batch, pending in waiting:
        check(batch, pending)


def check(batch, pending):
    made, finite = pending.result()
    assert pending.done()
    assert (made == 255 - np.stack(batch)).all()
    assert finite.tolist() == [picture[0, 0, 0] != 255 for picture in batch]


def test_two_batches_are_under_way_and_a_third_waits_for_the_first_alone():
    device = Interleaved()
    pipeline = PicturePipeline(Inverting(), device)
    first = pipeline.submit(pictures(1))
    pipeline.submit(pictures(2))
    assert device.log == []
    assert not first.done()
    pipeline.submit(pictures(3))
    assert device.log == ["in", "compute", "out"]
    assert first.done()


def test_the_next_batch_is_copied_in_before_the_last_is_computed_if_the_device_can():
    device = Interleaved()
    pipeline = PicturePipeline(Inverting(), device)
    waiting = [pipeline.submit(pictures(level)) for level in (1, 2)]
    device.copy_in.go_on()
    device.copy_in.go_on()
    device.copy_in.go_on()
    assert device.log == ["in", "in"]
    assert [pending.result()[0][0, 0, 0, 0] for pending in waiting[::-1]] == [253, 254]


def test_batches_run_in_sizes_of_powers_of_two():
    network = Inverting()
    pipeline = PicturePipeline(network, CpuDevice())
    for count in (1, 2, 3, 4, 5, 8, 9):
        made, finite = pipeline.submit(pictures(*range(count))).result()
        assert made[:, 0, 0, 0].tolist() == [255 - level for level in range(count)]
        assert len(finite) == count
    assert network.sizes == [1, 2, 4, 4, 8, 8, 16]


def test_an_error_hits_its_own_batch_alone():
    def failing(x):
        if x[0, 0, 0, 0] == 7:
            raise RuntimeError("out of memory")
        return 255 - x, torch.ones(len(x), dtype=torch.bool)

    pipeline = PicturePipeline(failing, CpuDevice())
    before = pipeline.submit(pictures(1, 2))
    with pytest.raises(RuntimeError, match="out of memory"):
        pipeline.submit(pictures(7))
    after = [(pictures(level), pipeline.submit(pictures(level))) for level in (3, 4, 5)]
    for batch, pending in ((pictures(1, 2), before), *after):
        check(batch, pending)


def test_what_comes_twice_is_recorded_and_the_least_recently_used_goes():
    calls = []

    def double(x):
        calls.append(len(x))
        return (2 * x,)

    network = RecordedNetwork(double, CpuDevice(), most_graphs=2)
    for count in (1, 1, 2, 2, 1, 3, 3):
        assert network(torch.arange(count))[0].tolist() == [2 * n for n in range(count)]
    assert [shapes[0][0] for shapes in network.recorded] == [(1,), (3,)]
    assert network(torch.tensor([5]))[0].tolist() == [10]
    assert network(torch.tensor([5.0]))[0].tolist() == [10.0]  # another type is another network
    assert 2 in calls


def test_a_network_that_cannot_be_recorded_is_called(caplog):
    class Refusing(CpuDevice):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    network = RecordedNetwork(lambda x: (x + 1,), Refusing())
    for n in range(4):
        assert network(torch.tensor([n]))[0].tolist() == [n + 1]
        assert network(torch.tensor([n, n]))[0].tolist() == [n + 1, n + 1]
    assert network.recorded == []
    assert [record.message for record in caplog.records] == [
        "no graphs are recorded, which costs speed alone: operation not permitted when stream is capturing"
    ]


@pytest.fixture
def tiny(weights_dir, tmp_path):
    return Catalog(weights_dir, tmp_path / "none").get("tiny")


def assert_same(actual, expected):
    (made, finite), (wanted, _) = actual, expected
    assert finite
    assert wanted.std() > 1
    assert np.abs(made.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("device", [CpuDevice(), Interleaved(0)], ids=["cpu", "interleaved"])
def test_a_cyclegan_gives_what_it_gives_without_all_this(device, tmp_path):
    add_model(tmp_path, "framed", ready=True, margin=12)
    model = Catalog(tmp_path, tmp_path / "none").get("framed")
    network, plain = CudaTranslator(model, CPU, device), TorchTranslator(model, CPU)
    assert isinstance(network, AsynchronousNetwork)
    assert not isinstance(plain, AsynchronousNetwork)
    batches = [
        np.stack([np.asarray(landscape(*shape))[:: (-1) ** n] for n in range(count)])
        for shape, count in (((32, 48), 1), ((32, 48), 3), ((16, 8), 2)) * 3
    ]
    for batch, pending in [(batch, network.submit(list(batch))) for batch in batches]:
        assert_same(pending.result(), plain(batch))


def test_a_batch_that_is_large_is_run_by_itself(tiny, monkeypatch):
    batch = np.stack([np.asarray(landscape(32, 48))] * 2)
    network = CudaTranslator(tiny, CPU, CpuDevice())
    monkeypatch.setattr(cuda_engine, "MOST_BYTES", batch.nbytes - 1)
    assert_same(network(batch), TorchTranslator(tiny, CPU)(batch))


def test_a_model_that_is_dropped_is_gone_at_once(tiny):
    """Not when Python next looks for cycles: its memory on the device is meant for another model."""
    network = CudaTranslator(tiny, CPU, CpuDevice())
    for _ in range(3):
        network(np.stack([np.asarray(landscape(32, 48))]))
    weights = weakref.ref(next(network._network.parameters()))
    gc.disable()
    try:
        del network
        assert weights() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("masks", "w_hpf"), [("ones", 1), (None, 0)])
def test_a_stargan_gives_what_it_gives_without_all_this(masks, w_hpf, tmp_path):
    add_stargan(tmp_path, "styled", network=TINY_STARGAN | {"w_hpf": w_hpf}, masks=masks)
    model = Catalog(tmp_path, tmp_path / "none").get("styled")
    networks = CudaStylistNetworks(model, CPU, CpuDevice()), TorchStylistNetworks(model, CPU)
    sources = np.stack([np.asarray(landscape(64, 64)), np.asarray(landscape(64, 64))[::-1]])
    styles = networks[1].map_latents(np.random.default_rng(0).normal(size=(3, networks[1].latent_dim)).astype("f"))
    for _ in range(3):  # called, recorded, replayed
        made, expected = (each.generate(each.prepare(sources), [1, 0, 1], styles[:, 0]) for each in networks)
        assert_same(made, expected)


@pytest.mark.parametrize("name", ["style-by-example", "style-starry-strokes"])
def test_a_painter_gives_what_it_gives_without_all_this(name, tmp_path, monkeypatch):
    model = Catalog(ROOT / "weights", tmp_path).get(name)
    painters = CudaPainter(model, CPU, CpuDevice()), TorchPainter(model, CPU)
    pictures = np.stack([np.asarray(landscape(48, 32))] * 3) // np.arange(1, 4, dtype=np.uint8)[:, None, None, None]
    length = model.card.network["code_dim"]
    codes = np.random.default_rng(0).dirichlet(np.ones(length), 3).astype(np.float32)
    for _ in range(3):  # called, recorded, replayed
        made, expected = (each.paint(pictures, codes) for each in painters)
        assert_same(made, expected)
    assert len(painters[0]._recorded.recorded) == 1
    monkeypatch.setattr("models.serving.cuda_painter.MOST_BYTES", pictures.nbytes - 1)
    assert_same(painters[0].paint(pictures, codes[::-1]), painters[1].paint(pictures, codes[::-1]))


def test_a_picture_on_which_float16_overflows_is_made_in_float32(tiny, monkeypatch):
    def halved(network, device, run):
        network.model[1].weight.mul_(2e5)  # the next layer normalises what comes of it
        return copy.deepcopy(network).half(), torch.float16

    batch = np.stack([np.asarray(landscape(32, 48))] * 3)
    expected = TorchTranslator(tiny, CPU)(batch)
    monkeypatch.setattr("models.serving.torch_engine.lowest_precision", halved)
    assert not TorchTranslator(tiny, CPU)(batch)[1]
    made, finite = CudaTranslator(tiny, CPU, CpuDevice())(batch)
    assert finite
    assert np.abs(made.astype(int) - expected[0]).mean() < 2  # weights of float16 are used


def test_what_is_not_finite_in_float32_either_is_an_error(weights_dir, tmp_path, monkeypatch):
    let_overflow(weights_dir / "tiny")
    model = Catalog(weights_dir, tmp_path / "none").get("tiny")
    monkeypatch.setattr("models.serving.engines.translator", lambda *_: CudaTranslator(model, CPU, CpuDevice()))
    begun = Translator(model, CPU).begin([np.asarray(landscape(32, 48))])
    with pytest.raises(NotFinite):
        begun.result()


class Amplified(torch.nn.Module):
    """Returns its input by way of larger numbers."""

    def __init__(self, factor):
        super().__init__()
        self.there = torch.nn.Conv2d(3, 3, 1, groups=3, bias=False)
        self.back = copy.deepcopy(self.there)
        torch.nn.init.constant_(self.there.weight, factor)
        torch.nn.init.constant_(self.back.weight, 1 / factor)

    def forward(self, x):
        return self.back(self.there(x))


@pytest.mark.parametrize(
    ("factor", "expected"), [(1, torch.float16), (2.0**13, torch.bfloat16), (2.0**125, torch.float32)]
)
def test_float16_is_for_networks_whose_numbers_stay_well_within_its_range(factor, expected, monkeypatch):
    monkeypatch.setattr(precision, "_sixteen_bits", lambda device: [torch.float16, torch.bfloat16])
    network = Amplified(factor)
    chosen, dtype = lowest_precision(network, torch.device("cpu"), lambda net, x: net(x))
    assert dtype is expected
    assert next(chosen.parameters()).dtype is expected
    assert next(network.parameters()).dtype is torch.float32
