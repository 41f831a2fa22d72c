"""What the StarGAN calls refuse, and how they say so."""

import json

import pytest

from tests.app.stargan.sending import PHOTO, upload

IMAGE = {"image": ("photo.png", PHOTO, "image/png")}

SIXTEEN = json.dumps([0.1] * 16)

BAD = {
    "unknown domain": ("/stargan/latent", {"seed": "1", "domain": "dog"}, "Domains: painting, photo"),
    "unknown domain of a reference": ("/stargan/reference", {"style": "[0,0,0,0,0,0,0,0]", "domain": "x"}, "no domain"),
    "unknown domain of a style": ("/stargan/style", {"domain": "PAINTING"}, "Domains: painting, photo"),
    "unknown domain in translate": ("/translate", {"model": "other", "seed": "1", "domain": "cat"}, "no domain"),
    "unknown model": ("/stargan/latent", {"seed": "1", "model": "nobody"}, "no model"),
    "a CycleGAN": ("/stargan/latent", {"seed": "1", "model": "tiny"}, "tiny is no StarGAN model"),
    "a CycleGAN for a style": ("/stargan/style", {"model": "tiny"}, "StarGAN models: faces, other, stargan-monet-lite"),
    "no reference": ("/stargan/reference", {}, "send reference or style"),
    "seed and latent": ("/stargan/latent", {"seed": "1", "latent": SIXTEEN}, "not seed and latent"),
    "seed and style": ("/translate", {"model": "other", "seed": "1", "style": "[0]"}, "not seed and style"),
    "three guides": ("/translate", {"model": "other", "seed": "1", "style": "[0]", "latent": SIXTEEN}, "seed and lat"),
    "short latent": ("/stargan/latent", {"latent": "[1, 2]"}, "2 numbers; this model takes 16"),
    "long latent": ("/stargan/latent", {"latent": json.dumps([0] * 17)}, "17 numbers; this model takes 16"),
    "endless latent": ("/stargan/latent", {"latent": json.dumps([0] * 9000)}, "9000 numbers"),
    "latent of words": ("/stargan/latent", {"latent": json.dumps(["a"] * 16)}, "16 finite numbers"),
    "latent of booleans": ("/stargan/latent", {"latent": json.dumps([True] * 16)}, "finite numbers"),
    "latent with NaN": ("/stargan/latent", {"latent": "[NaN" + ", 0" * 15 + "]"}, "finite numbers"),
    "infinite latent": ("/stargan/latent", {"latent": "[1e999" + ", 0" * 15 + "]"}, "finite numbers"),
    "latent that is an object": ("/stargan/latent", {"latent": '{"a": 1}'}, "finite numbers"),
    "latent that is no JSON": ("/stargan/latent", {"latent": "one, two"}, "not a JSON list"),
    "deeply nested latent": ("/stargan/latent", {"latent": "[" * 100_000}, "not a JSON list"),
    "short style": ("/stargan/reference", {"style": "[1]"}, "1 numbers; this model takes 8"),
    "latent as style": ("/stargan/reference", {"style": SIXTEEN}, "16 numbers; this model takes 8"),
    "style beyond every float": ("/stargan/reference", {"style": "[" + "9" * 400 + ", 0, 0, 0, 0, 0, 0, 0]"}, "finite"),
    "negative seed": ("/stargan/latent", {"seed": "-1"}, "seed"),
    "seed of words": ("/stargan/latent", {"seed": "lucky"}, "not a whole number"),
    "seed beyond bounds": ("/stargan/latent", {"seed": str(2**63)}, "seed"),
    "seed in other digits": ("/stargan/latent", {"seed": "١"}, "seed"),
    "psi over 1": ("/stargan/latent", {"seed": "1", "psi": "1.5"}, "psi"),
    "psi of words": ("/stargan/latent", {"seed": "1", "psi": "much"}, "psi"),
    "psi that is no number": ("/stargan/latent", {"seed": "1", "psi": "nan"}, "psi"),
    "wait of a day": ("/stargan/latent", {"seed": "1", "wait": "86400"}, "wait"),
    "resolution": ("/stargan/latent", {"seed": "1", "resolution": "huge"}, "resolution"),
    "fit": ("/stargan/latent", {"seed": "1", "fit": "stretch"}, "fit"),
    "a guide for a CycleGAN": ("/translate", {"model": "tiny", "seed": "1"}, "takes no seed"),
    "truncation for a CycleGAN": ("/translate", {"model": "tiny", "psi": "0.5"}, "takes no psi"),
    "a domain for a CycleGAN": ("/translate", {"model": "tiny", "domain": "photo"}, "takes no domain"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_told_what_was_wrong(service, case):
    path, fields, words = BAD[case]
    answer = service.post(path, files=IMAGE, data=fields)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"not a picture", PHOTO[:80]])
def test_a_bad_reference_is_refused_like_any_picture(service, data):
    answer = service.post("/stargan/reference", **upload(reference=data))
    assert answer.status_code == 422
    assert service.post("/stargan/reference", files={"reference": ("r.png", PHOTO, "image/png")}).status_code == 422
