"""What only a GPU can show: recorded work and copies on streams give what plain torch gives."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from models import gpu_layers
from models.cyclegan.networks import PatchDiscriminator, ResnetGenerator
from models.device import ServingDevice
from models.serving import engines
from models.serving.accelerator import cuda_device
from models.serving.cuda_engine import CudaStylistNetworks, CudaTranslator
from models.serving.cuda_painter import CudaPainter
from models.serving.recorded_network import RecordedNetwork
from models.serving.torch_engine import TorchStylistNetworks, TorchTranslator
from models.serving.torch_painter import TorchPainter
from models.serving.translator import Translator
from models.stargan_v2.networks import everywhere
from models.store.catalog import Catalog
from models.store.options import CycleGANOptions, StarGANOptions
from models.training.cyclegan import CycleGANTrainer
from models.training.data import GuidedBatch
from models.training.loader import batches
from models.training.reader import PictureReader
from models.training.stargan_v2 import StarGANTrainer

CPU = ServingDevice("cpu")
WEIGHTS = Path(__file__).parents[2] / "weights"


def pictures(seed, count, height, width):
    """Smooth pictures, each of its own colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(height // 4, axis=1).repeat(width // 4, axis=2)


def assert_like(actual, expected, within_db=35):
    """As pictures of 16 bits are like those of float32."""
    (made, finite), (wanted, _) = actual, expected
    assert finite
    assert made.shape == wanted.shape
    for one, other in zip(made, wanted, strict=True):
        mse = np.square(one.astype(float) - other).mean()
        assert 10 * np.log10(255**2 / max(mse, 1e-9)) > within_db


def test_a_gpu_is_chosen_and_computes_in_16_bits(cyclegan, stargan, device):
    translator, styles = engines.translator(cyclegan, device), engines.stylist_networks(stargan, device)
    assert isinstance(translator, CudaTranslator)
    assert isinstance(styles, CudaStylistNetworks)
    assert translator.precision in ("torch.float16", "torch.bfloat16")


@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float32, 1e-3), (torch.float16, 0.1), (torch.bfloat16, 0.4)], ids=str
)
@pytest.mark.parametrize("kind", [ResnetGenerator, PatchDiscriminator])
def test_its_own_layers_compute_and_learn_what_torchs_do(kind, dtype, within, device, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert gpu_layers.available(torch.device(device.name))
    torch.manual_seed(0)
    plain = kind(32, 2).to(device.name, torch.float64)
    x = torch.rand(3, 3, 96, 80, device=device.name, dtype=torch.float64) * 2 - 1
    expected = plain(x)
    (1024 * expected.square().mean()).backward()  # without the factor float16 loses small gradients
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    quick = gpu_layers.quickened(copy.deepcopy(plain).to(dtype=dtype, memory_format=torch.channels_last))
    quick.zero_grad()
    made = quick(x.to(dtype=dtype, memory_format=torch.channels_last))
    (1024 * made.float().square().mean()).backward()
    assert (made - expected).norm() <= within * expected.norm()
    for name, parameter in quick.named_parameters():
        if parameter.grad is not None:
            assert (parameter.grad - gradients[name]).norm() <= within * gradients[name].norm(), name


def test_batches_of_all_sizes_and_shapes_come_back_as_they_should(cyclegan, device):
    network, plain = CudaTranslator(cyclegan, device), TorchTranslator(cyclegan, CPU)
    chance = random.Random(0)
    known = {
        (count, shape): (batch := pictures(count, count, *shape), plain(batch))
        for count in (1, 2, 3, 5)
        for shape in ((32, 48), (64, 64), (16, 8))
    }
    waiting = []
    for _ in range(60):
        batch, expected = known[chance.choice(list(known))]
        waiting.append((network.submit(list(batch)), expected))
        if chance.random() < 0.5:
            pending, wanted = waiting.pop(chance.randrange(len(waiting)))
            assert_like(pending.result(), wanted)
    for pending, wanted in waiting:
        assert_like(pending.result(), wanted)


def test_recorded_networks_share_memory_and_keep_apart(device):
    gpu = cuda_device(device.name)
    layers = [torch.nn.Conv2d(3, 64, 3, padding=1).to(gpu.device) for _ in range(2)]
    networks = [RecordedNetwork(lambda x, layer=layer: (layer(x).relu(),), gpu, most_graphs=2) for layer in layers]
    chance = random.Random(0)
    for _ in range(60):
        which, side = chance.randrange(2), chance.choice((8, 16, 24))
        x = torch.randn(2, 3, side, side, device=gpu.device)
        (made,) = networks[which](x)
        with torch.inference_mode():
            assert torch.allclose(made, layers[which](x).relu(), atol=1e-2)
    assert all(len(network.recorded) == 2 for network in networks)


def test_what_cannot_be_recorded_is_called_and_spoils_nothing(device, caplog):
    gpu = cuda_device(device.name)

    def waits(x):
        return (x * float(x.sum().item() > 0),)

    stream = torch.cuda.current_stream(gpu.device)
    network = RecordedNetwork(waits, gpu)
    for _ in range(4):
        assert network(torch.ones(3, device=gpu.device))[0].tolist() == [1, 1, 1]
    assert network.recorded == []
    assert [record.message[:22] for record in caplog.records] == ["no graphs are recorded"]
    after = RecordedNetwork(lambda x: (x + 1,), gpu)
    for _ in range(4):
        assert after(torch.ones(3, device=gpu.device))[0].tolist() == [2, 2, 2]
    assert len(after.recorded) == 1
    assert torch.cuda.current_stream(gpu.device) == stream


def test_an_error_of_the_device_hits_its_batch_alone(cyclegan, device):
    network, plain = CudaTranslator(cyclegan, device), TorchTranslator(cyclegan, CPU)
    batch = pictures(0, 2, 64, 64)
    before = network.submit(list(batch))
    with pytest.raises(RuntimeError):
        network.submit([np.zeros((2, 2, 3), np.uint8)]).result()  # too small for the network
    after = network.submit(list(batch))
    for pending in (before, after):
        assert_like(pending.result(), plain(batch))


def test_tiles_and_large_batches_are_as_on_a_cpu(cyclegan, device, monkeypatch):
    picture = pictures(1, 1, 256, 320)[0]
    (*_, (_, made)) = Translator(cyclegan, device).in_tiles(picture)
    (*_, (_, expected)) = Translator(cyclegan, CPU).in_tiles(picture)
    assert_like((made[None], True), (expected[None], True))
    monkeypatch.setattr("models.serving.cuda_engine.MOST_BYTES", 0)
    assert_like(CudaTranslator(cyclegan, device)(picture[None]), TorchTranslator(cyclegan, CPU)(picture[None]))


def test_a_stargan_is_as_on_a_cpu(stargan, device):
    networks, plain = CudaStylistNetworks(stargan, device), TorchStylistNetworks(stargan, CPU)
    sources = pictures(2, 2, 64, 64)
    latents = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    styles = plain.map_latents(latents)
    assert np.allclose(networks.map_latents(latents), styles, atol=1e-2)
    assert np.allclose(networks.encode(sources), plain.encode(sources), atol=0.05)
    for _ in range(4):
        made = networks.generate(networks.prepare(sources), [1, 0, 1], styles[:, 0])
        assert_like(made, plain.generate(plain.prepare(sources), [1, 0, 1], styles[:, 0]), within_db=30)


def test_a_painter_is_as_on_a_cpu(device, tmp_path):
    model = Catalog(WEIGHTS, tmp_path).get("style-by-example")
    painter, plain = CudaPainter(model, device), TorchPainter(model, CPU)
    photos = pictures(3, 3, 128, 96)
    codes = plain.encode(pictures(1, 3, 256, 256))
    assert np.allclose(painter.encode(pictures(1, 3, 256, 256)), codes, atol=0.05)
    for _ in range(4):
        assert_like(painter.paint(photos, codes), plain.paint(photos, codes), within_db=30)


@pytest.mark.parametrize("augmentations", [[], ["color", "translation", "cutout"]])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_a_gpu_follows_training_on_a_cpu(precision, augmentations, tmp_path, caplog):
    """By recorded steps, and across a checkpoint."""
    torch.manual_seed(0)
    pairs = [tuple(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2)) for _ in range(12)]
    sizes = {"ngf": 8, "ndf": 8, "n_blocks": 1, "image_size": 32, "load_size": 32, "pool_size": 2}
    form = {"balanced_upsampling": True, "augmentations": augmentations}

    def trainer(device, precision):
        options = CycleGANOptions(dataset=tmp_path, precision=precision, **form, **sizes)
        rates = {"constant_steps": 4, "decay_steps": 8}
        return CycleGANTrainer(options, device=torch.device(device), fixed_inputs=pairs[0], **rates)

    def losses(trainer, first, last):
        steps = [torch.stack(list(trainer.step(pairs[n], progress=n).values())).cpu() for n in range(first, last)]
        return torch.stack(steps)

    expected = losses(trainer("cpu", "fp32"), 0, 12)
    on_gpu = trainer("cuda", precision)
    found = [losses(on_gpu, 0, 7)]
    resumed = trainer("cuda", precision)
    resumed.load_state_dict(on_gpu.state_dict())
    found.append(losses(resumed, 7, 12))
    assert torch.allclose(torch.cat(found), expected, rtol=0.15, atol=0.1)
    assert caplog.records == []  # all was recorded


def guided_batch(count, domains, side, latent_dim):
    """Random pictures with guides."""
    x_src, x_ref, x_ref2 = torch.rand(3, count, 3, side, side) * 2 - 1
    y_org, y_trg = torch.randint(domains, (2, count))
    return GuidedBatch(x_src, y_org, x_ref, x_ref2, y_trg, *torch.randn(2, count, latent_dim))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_a_stargan_on_a_gpu_follows_training_on_a_cpu(precision, tmp_path, caplog):
    """By recorded steps of both kinds, across a checkpoint, while the weight of the diversity loss falls."""
    torch.manual_seed(0)
    batches = [guided_batch(2, 2, 64, 4) for _ in range(16)]
    sizes = {"img_size": 64, "base_dim": 8, "max_conv_dim": 16, "style_dim": 8, "latent_dim": 4, "w_hpf": 1}
    rates = {"identity_steps": 5, "ds_iter": 10, "lambda_ds": 2, "ema_beta": 0.9}

    def trainer(device, precision):
        options = StarGANOptions(dataset=tmp_path, precision=precision, masks="ones", **sizes | rates)
        inputs = torch.zeros(2, 1, 3, 64, 64)
        return StarGANTrainer(options, device=torch.device(device), fixed_inputs=inputs, masks=everywhere)

    def losses(trainer, first, last):
        steps = [torch.stack(list(trainer.step(batches[n], progress=n).values())).cpu() for n in range(first, last)]
        return torch.nn.utils.rnn.pad_sequence(steps, batch_first=True)  # a step that rebuilds has one loss

    def weights(trainer):
        parts = (*trainer.networks.parameters(), *trainer.averages.parameters())
        return torch.cat([part.detach().flatten().cpu() for part in parts])

    on_cpu = trainer("cpu", "fp32")
    first = weights(on_cpu)
    expected = losses(on_cpu, 0, 16)
    on_gpu = trainer("cuda", precision)
    assert torch.equal(weights(on_gpu), first)
    found = [losses(on_gpu, 0, 11)]
    resumed = trainer("cuda", precision)
    resumed.load_state_dict(on_gpu.state_dict())
    found.append(losses(resumed, 11, 16))
    assert torch.allclose(torch.cat(found), expected, rtol=0.15, atol=0.1)
    trained = weights(on_cpu)
    # Adam's steps are about as long for gradients that are nothing but rounding; those are few.
    assert (weights(resumed) - trained).abs().mean() < 0.35 * (trained - first).abs().mean()
    assert caplog.records == []  # all was recorded


def test_batches_are_read_into_memory_that_a_gpu_copies_from(tmp_path):
    class Numbers:
        reader = PictureReader(tmp_path, [])

        def __getitem__(self, n):
            return torch.full((3, 2, 2), n), torch.full((3, 2, 2), -n)

    read = list(batches(Numbers(), 2, 0, 3, processes=1, pinned=True))
    assert [a[:, 0, 0, 0].tolist() for a, _ in read] == [[0, 1], [2, 3], [4, 5]]
    assert all(part.is_pinned() for pair in read for part in pair)
