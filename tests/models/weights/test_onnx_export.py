"""Models as ONNX files, run by another engine and compared with torch."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from app import cli
from models.cyclegan import ResnetGenerator
from models.errors import Invalid, NotInstalled
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import everywhere
from models.store.catalog import Catalog
from models.style.networks import StyleEnsemble
from models.weights import doctor
from models.weights.onnx_export import export
from tests.conftest import TINY, TINY_STARGAN, add_model, add_stargan

TOLERANCE = 1e-4


def opened(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def computed(session, *inputs):
    names = [given.name for given in session.get_inputs()]
    return session.run(None, {name: array.numpy() for name, array in zip(names, inputs, strict=True)})[0]


def pictures(count, height, width):
    """Smooth, float32 in [-1, 1]."""
    return functional.interpolate(torch.rand(count, 3, 8, 8) * 2 - 1, size=(height, width), mode="bilinear")


def assert_close(actual, wanted):
    assert actual.shape == wanted.shape
    assert np.abs(actual - wanted.numpy()).max() < TOLERANCE


def network(kind, folder, arguments):
    built = kind(**arguments)
    built.load_state_dict(doctor.load(folder / "weights.safetensors").state)
    return built.eval()


@torch.inference_mode()
def test_a_cyclegan_becomes_one_file_with_its_margin_inside(tmp_path, monkeypatch, capfd):
    margin = 8
    folder = add_model(tmp_path / "weights", "marginal", ready=True, margin=margin)
    monkeypatch.setenv("DOPPEL_WEIGHTS_DIR", str(folder.parent))
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path / "var"))
    target = tmp_path / "marginal.onnx"
    assert cli.main(["export", "marginal", "--format", "onnx", "-o", str(target)]) == 0, capfd.readouterr().err
    session = opened(target)
    generator = network(ResnetGenerator, folder, TINY)
    for count, height, width in ((1, 24, 36), (3, 64, 40)):
        source = pictures(count, height, width)
        padded = generator(functional.pad(source, (margin,) * 4, mode="reflect"))
        assert_close(computed(session, source), padded[:, :, margin:-margin, margin:-margin])
    said = session.get_modelmeta().custom_metadata_map
    assert (said["name"], said["licence"], said["source"]) == ("marginal", "MIT", "made for tests")
    assert said["value_range"].startswith("[-1, 1]")


@torch.inference_mode()
def test_a_stargan_becomes_a_file_for_each_network(tmp_path):
    shape = TINY_STARGAN | {"img_size": 32}  # the fewest layers: exporting them takes seconds
    folder = add_stargan(tmp_path, "star", network=shape)
    files = export(Catalog(tmp_path, tmp_path / "var").get("star"), tmp_path / "exported")
    generator, mapping_network, style_encoder = map(opened, files)
    assert [path.name for path in files] == ["generator.onnx", "mapping_network.onnx", "style_encoder.onnx"]
    ensemble = network(Ensemble, folder, shape)
    latent, domain = torch.randn(3, 16), torch.tensor([1, 0, 1])
    style = ensemble.mapping_network(latent, domain)
    assert_close(computed(mapping_network, latent, domain), style)
    references = pictures(3, 32, 32)
    assert_close(computed(style_encoder, references, domain), ensemble.style_encoder(references, domain))
    for source in (pictures(3, 64, 96), pictures(3, 80, 32)):
        assert_close(computed(generator, source, style), ensemble.generator(source, style, everywhere(source)))
    assert mapping_network.get_modelmeta().custom_metadata_map["domains"] == "0: painting, 1: photo"


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    add_model(tmp_path, "tiny", ready=True)
    add_stargan(tmp_path, "star")
    catalog = Catalog(tmp_path, tmp_path / "var")
    with pytest.raises(Invalid, match="a file for each of its networks"):
        export(catalog.get("star"), tmp_path / "star.onnx")
    with pytest.raises(Invalid, match="There is no folder"):
        export(catalog.get("tiny"), tmp_path / "nowhere" / "tiny.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(NotInstalled, match="pip install onnxscript"):
        export(catalog.get("tiny"), tmp_path / "tiny.onnx")


@torch.inference_mode()
def test_a_painter_becomes_a_file_that_says_its_code(tmp_path):
    arguments = {"code_dim": 2, "full": 4, "half": 4, "quarter": 4, "half_out": 4, "full_out": 4, "n_blocks": 1}
    arguments["predictor"] = False
    torch.manual_seed(0)
    folder = add_model(tmp_path / "weights", "fixed", ready=False, family="style", network=arguments, code=[1.0, 0.0])
    doctor.save(StyleEnsemble(**arguments).state_dict(), folder / "weights.safetensors")
    (written,) = export(Catalog(folder.parent, tmp_path / "none").get("fixed"), tmp_path / "fixed-onnx")
    session = opened(written)
    painter = network(StyleEnsemble, folder, arguments).painter
    for count, height, width in ((1, 24, 36), (3, 64, 40)):
        source, code = pictures(count, height, width), torch.rand(count, 2)
        assert_close(computed(session, source, code), painter(source, code))
    assert session.get_modelmeta().custom_metadata_map["code"] == "[1.0, 0.0]"
