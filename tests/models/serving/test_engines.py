"""The networks without torch, against the same networks in torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from models.cyclegan import ResnetGenerator
from models.device import ServingDevice, serving_device
from models.errors import CheckpointError, DeviceError
from models.serving import openvino_engine, style_codes
from models.serving.graphs.cyclegan import translator_graph
from models.serving.openvino_engine import OpenVINOStylistNetworks, OpenVINOTranslator
from models.serving.openvino_painter import OpenVINOPainter
from models.serving.openvino_runtime import compiled
from models.serving.random_numbers import normal, uniform
from models.serving.style_guide import StyleGuide
from models.serving.stylist import Stylist
from models.serving.tensors import Tensors
from models.serving.torch_engine import TorchStylistNetworks, TorchTranslator
from models.serving.torch_painter import TorchPainter
from models.serving.translator import Translator
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.style import interpolated, latent_code, mean_styles, truncate
from models.store.catalog import Catalog
from models.store.model_card import CycleGANNetwork
from models.weights import doctor
from tests.conftest import TINY, TINY_STARGAN, add_model, add_stargan
from tests.pictures import landscape
from tests.processes import ROOT

CPU = ServingDevice("cpu")
SHAPES = ((64, 96), (40, 32))  # one graph runs all
PLAIN = {"norm": "instance", "padding": "reflect", "dropout": False}


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """Wherever the tests run."""
    monkeypatch.setattr("models.serving.precision.computes_bfloat16", lambda device: False)
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: False)


def picture(height, width):
    return np.asarray(landscape(height, width))


def assert_same(actual, expected):
    """Within one level of pictures that show something."""
    (pictures, finite), (wanted, _) = actual, expected
    assert finite
    assert pictures.shape == wanted.shape
    assert pictures.dtype == np.uint8
    assert wanted.std() > 1
    assert np.abs(pictures.astype(int) - wanted).max() <= 1


def cyclegan(folder, margin=0, **network):
    """A CycleGAN of the catalog that has learned something in every tensor, running statistics included."""
    root = add_model(folder, "form", ready=True, network=TINY | network, margin=margin, files=[{"name": "none"}])
    torch.manual_seed(0)
    generator = ResnetGenerator(**TINY | network)
    for name, tensor in generator.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.dim() == 1:
            tensor.normal_(0.2, 0.3)
    doctor.save(generator.state_dict(), root / "weights.safetensors")
    return Catalog(folder, folder / "none").get("form")


@pytest.mark.parametrize(
    "network",
    [
        PLAIN,
        PLAIN | {"padding": "zero", "dropout": True},
        PLAIN | {"padding": "replicate", "n_blocks": 3},
        PLAIN | {"norm": "batch", "dropout": True},
        PLAIN | {"norm": "batch", "padding": "zero"},
        PLAIN | {"antialias": True},
    ],
    ids=lambda network: "-".join(map(str, network.values())),
)
def test_every_form_of_cyclegan_gives_torchs_pictures(network, tmp_path):
    model = cyclegan(tmp_path, margin=24, **network)
    actual, expected = OpenVINOTranslator(model, CPU), TorchTranslator(model, CPU)
    for shape in (*SHAPES, (16, 28)):  # the last with less margin than the model has
        pictures = np.stack([picture(*shape), picture(*shape)[::-1]])
        assert_same(actual(pictures), expected(pictures))


@pytest.mark.parametrize(
    ("masks", "network"),
    [
        ("ones", {"w_hpf": 2}),
        (None, {"w_hpf": 1, "normalize_rgb": False}),
        (None, {"w_hpf": 0, "img_size": 32, "num_domains": 3}),
        ("ones", {"w_hpf": 1, "img_size": 256}),
    ],
)
def test_every_form_of_stargan_gives_torchs_styles_and_pictures(masks, network, tmp_path):
    network = TINY_STARGAN | network
    add_stargan(tmp_path, "styles", network=network, masks=masks, domains=list("abc"[: network["num_domains"]]))
    model = Catalog(tmp_path, tmp_path / "none").get("styles")
    actual, expected = OpenVINOStylistNetworks(model, CPU), TorchStylistNetworks(model, CPU)
    latents = normal(3, 2 * 16).reshape(2, 16)
    styles = expected.map_latents(latents)
    assert styles.shape == (2, network["num_domains"], 8)
    assert np.allclose(actual.map_latents(latents), styles, rtol=1e-4, atol=1e-4)
    references = np.stack([picture(network["img_size"], network["img_size"])] * 2)
    assert np.allclose(actual.encode(references), expected.encode(references), rtol=1e-4, atol=1e-4)
    sources = np.stack([picture(64, 96), picture(64, 96)[::-1]])
    order = [1, 0, 1]
    codes = np.concatenate([styles[:, 0], styles[:1, 1]])
    of_actual, of_expected = actual.prepare(sources), expected.prepare(sources)
    assert_same(actual.generate(of_actual, order, codes), expected.generate(of_expected, order, codes))


def test_faces_are_masked_and_aligned_as_torch_does(tmp_path):
    network = TINY_STARGAN | {"img_size": 256, "landmarks": True}
    folder = add_stargan(tmp_path, "faces", network=network, masks="landmarks", align="face", files=[{"name": "none"}])
    weights = folder / "weights.safetensors"
    state = doctor.load(weights).state
    seen = [10, 40, 53, 57, 65, 79, 91, 97]  # a point of each group; the masks are not 1 everywhere then
    state["landmarks.l0.bias"] += torch.tensor([1.0 if point in seen else -100.0 for point in range(99)])
    doctor.save(state, weights)
    model = Catalog(tmp_path, tmp_path / "none").get("faces")
    actual, expected = OpenVINOStylistNetworks(model, CPU), TorchStylistNetworks(model, CPU)
    faces = np.stack([picture(300, 300)])
    assert_same((actual.align(faces), True), (expected.align(faces), True))
    sources = np.stack([picture(64, 96)])
    of_actual, of_expected = actual.prepare(sources), expected.prepare(sources)
    for mine, torchs in zip(of_actual.masks[0], of_expected.masks, strict=True):
        assert torchs.std() > 0.01
        assert np.abs(mine - torchs.numpy()).max() < 1e-3
    style = np.ones((1, 8), np.float32)
    assert_same(actual.generate(of_actual, [0], style), expected.generate(of_expected, [0], style))


def test_the_models_that_ship_give_the_same_pictures_by_both_engines():
    catalog = Catalog(ROOT / "weights", ROOT / "none")
    shipped = {model.weights_name: model for model in catalog.all() if model.weights}.values()
    assert {model.card.family for model in shipped} == {"cyclegan", "stargan_v2", "style"}
    pictures = picture(128, 160)[np.newaxis]
    for model in shipped:
        if model.card.family == "style":
            mine, torchs = OpenVINOPainter(model, CPU), TorchPainter(model, CPU)
            code = model.card.code
            codes = torchs.encode(picture(256, 256)[np.newaxis]) if code is None else np.array([code], np.float32)
            assert_same(mine.paint(pictures, codes), torchs.paint(pictures, codes))
            continue
        if model.card.family == "cyclegan":
            assert_same(OpenVINOTranslator(model, CPU)(pictures), TorchTranslator(model, CPU)(pictures))
            continue
        mine, torchs = OpenVINOStylistNetworks(model, CPU), TorchStylistNetworks(model, CPU)
        style = torchs.map_latents(normal(1, mine.latent_dim)[np.newaxis])[:, 1]
        of_mine, of_torchs = mine.prepare(pictures), torchs.prepare(pictures)
        assert_same(mine.generate(of_mine, [0], style), torchs.generate(of_torchs, [0], style))


@pytest.mark.parametrize("seed", [0, 7, 2**31 + 5, 2**53 + 17])
def test_seeds_give_torchs_numbers(seed):
    for count in (1, 4, 15, 16, 21, 64, 1000):
        torchs = torch.Generator().manual_seed(seed)
        assert np.abs(normal(seed, count) - torch.randn(count, generator=torchs).numpy()).max() < 1e-6
        torchs = torch.Generator().manual_seed(seed)
        assert (uniform(seed, count) == torch.rand(count, generator=torchs).numpy()).all()


def test_styles_of_seeds_are_truncated_and_interpolated_as_torch_does(tmp_path, monkeypatch):
    for module in ("serving.style_codes", "serving.stylist"):
        monkeypatch.setattr(f"models.{module}.MEAN_OF", 1000)
    add_stargan(tmp_path, "styles", files=[{"name": "none"}])
    model = Catalog(tmp_path, tmp_path / "none").get("styles")
    ensemble = Ensemble(**model.card.network)
    ensemble.load_state_dict(doctor.load(model.weights).state)
    z, y, psi = torch.cat([latent_code(5, 16), latent_code(6, 16)]), [1, 0], torch.tensor([[0.3], [0.8]])
    with torch.inference_mode():
        means = mean_styles(ensemble.mapping_network, 16, 1000)[y]
        expected = truncate(ensemble.mapping_network(z, torch.tensor(y)), means, psi)
    guides = [StyleGuide(domain=1, seed=5, psi=0.3), StyleGuide(domain=0, seed=6, psi=0.8)]
    styles = Stylist(model, CPU).styles(guides, [])
    assert np.allclose(styles, expected, rtol=1e-4, atol=1e-4)
    assert np.allclose(style_codes.interpolated(styles, 4), interpolated(expected, 4), rtol=1e-4, atol=1e-4)


def test_bfloat16_is_for_networks_that_keep_their_pictures(tmp_path, monkeypatch):
    model = cyclegan(tmp_path)
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: True)
    exact = OpenVINOTranslator(model, CPU).nbytes
    assert OpenVINOTranslator(model, CPU).precision == "bf16"
    monkeypatch.setattr(openvino_engine, "psnr_db", lambda actual, expected: 39.9)
    in_float32 = OpenVINOTranslator(model, CPU)
    assert (in_float32.precision, in_float32.nbytes) == ("f32", 2 * exact)


@pytest.mark.parametrize(
    ("key", "change", "why"),
    [
        ("model.1.bias", None, "lacks model.1.bias"),
        ("model.1.bias", torch.zeros(5), r"model.1.bias of shape \(5,\)"),
        ("model.1.bias", torch.full((4,), float("nan")), "not finite"),
        ("another", torch.zeros(5), r"1 unexpected tensors \(another"),
    ],
)
def test_tensors_of_another_network_are_refused(key, change, why, tmp_path):
    model = cyclegan(tmp_path)
    state = doctor.load(model.weights).state
    if change is None:
        del state[key]
    else:
        state[key] = change
    doctor.save(state, model.weights)
    with pytest.raises(CheckpointError, match=why):
        OpenVINOTranslator(model, CPU)


def test_a_network_computes_on_the_threads_that_it_is_given_and_leaves_cores_to_others(tmp_path):
    tensors = Tensors(cyclegan(tmp_path).weights, "weights")
    graph = translator_graph(CycleGANNetwork(**TINY), tensors, margin=0)
    properties = compiled(graph, "f32", threads=1).get_property
    assert (properties("INFERENCE_NUM_THREADS"), properties("ENABLE_CPU_PINNING")) == (1, False)


def test_torch_computes_where_openvino_is_not_installed(tmp_path, monkeypatch):
    model = cyclegan(tmp_path)
    assert Translator(model, CPU).precision == "f32"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert Translator(model, CPU).precision == "torch.float32"


def test_a_device_says_what_it_needs_where_torch_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert serving_device("auto", threads=3) == ServingDevice("cpu", 3)
    with pytest.raises(DeviceError, match=r"'cuda' needs torch: pip install 'doppel\[worker\]'"):
        serving_device("cuda")


PROGRAM = """
import sys
from pathlib import Path

sys.addaudithook(lambda event, arguments: print(event) if event.startswith("socket.") else None)

import numpy as np
import worker.inference_process
from models.device import serving_device
from models.serving.stylist import Stylist
from models.serving.translator import Translator
from models.serving.tensors import Tensors
from models.store.catalog import Catalog
from models.store.model_card import CycleGANNetwork

catalog, device = Catalog(Path("weights"), Path("none")), serving_device("cpu")
Translator(catalog.get("style_monet-lite"), device)([np.zeros((32, 32, 3), np.uint8)])
Stylist(catalog.get("stargan-monet-lite"), device)
print(*(name for name in ("torch", "openvino_telemetry.main") if name in sys.modules))
"""


def test_a_worker_on_a_cpu_loads_no_torch_and_opens_no_connection():
    """OpenVINO, if it is simply imported, reports that to an analytics service."""
    answer = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
