"""Options and bodies that are refused before anything is queued."""

import json

import pytest

from tests.training import cyclegan, stargan

BAD_OPTIONS = {  # what → (family, options, words of the answer)
    "no data set": ("cyclegan", {"ngf": 2}, "dataset"),
    "another data set": ("cyclegan", cyclegan(dataset="none"), "no data set"),
    "a path": ("cyclegan", cyclegan(dataset="../../etc"), "no data set"),
    "an unknown option": ("cyclegan", cyclegan(learning_rate=1), "learning_rate"),
    "the other family's option": ("cyclegan", cyclegan(total_iters=3), "total_iters"),
    "a place on the server": ("cyclegan", cyclegan(device="cuda:7"), "device"),
    "a negative rate": ("cyclegan", cyclegan(lr=-1), "lr"),
    "a rate that is none": ("cyclegan", cyclegan(lr="fast"), "lr"),
    "an odd size": ("cyclegan", cyclegan(image_size=33), "image_size"),
    "a crop larger than its picture": ("cyclegan", cyclegan(load_size=32, image_size=64), "smaller than the crop"),
    "no step at all": ("cyclegan", cyclegan(epochs=0), "no step"),
    "both a time and a length": ("cyclegan", cyclegan(minutes=3), "minutes and epochs, epochs_decay: give either"),
    "both a time and a number of steps": ("stargan", stargan(minutes=3), "minutes and total_iters: give either"),
    "no time at all": ("cyclegan", {"dataset": "colors", "minutes": 0}, "minutes"),
    "no blocks": ("cyclegan", cyclegan(n_blocks=0), "n_blocks"),
    "more than memory": ("cyclegan", cyclegan(ngf=512, image_size=2048, load_size=2048), "memory"),
    "a batch beyond reason": ("cyclegan", cyclegan(batch_size=10**9), "batch_size"),
    "an uneven batch": ("cyclegan", cyclegan(batch_size=3, gpus=2), "shared out"),
    "more processes than cores": ("cyclegan", cyclegan(batch_size=64, gpus=64, epochs=100), "2 cores"),
    "three domains for two": ("cyclegan", cyclegan(dataset="three"), "two domains"),
    "an unknown model to start from": ("cyclegan", cyclegan(init_from="none"), "no model"),
    "a model without weights": ("cyclegan", cyclegan(init_from="missing"), "not on this server"),
    "another size than the model's": ("cyclegan", cyclegan(init_from="tiny"), "has ngf 4"),
    "another width than the model's": (
        "stargan",
        {"dataset": "colors", "masks": "ones", "init_from": "wide", "base_dim": 8},
        "has base_dim 256",
    ),
    "another family's model": ("stargan", stargan(init_from="tiny"), "family cyclegan"),
    "a size that is no power of two": ("stargan", stargan(img_size=96), "power of two"),
    "names for other domains": ("stargan", stargan(domains=["a", "b", "c"]), "3 names"),
    "landmarks that are not here": ("stargan", stargan(masks="landmarks"), "landmark network"),
    "landmarks of a model that has none": ("stargan", {"dataset": "colors", "init_from": "wide"}, "'wide' has none"),
    "a share beyond 1": ("stargan", stargan(beta1=1.5), "beta1"),
    "a seed beyond range": ("stargan", stargan(seed=2**40), "seed"),
    "domains of the same name": ("stargan", stargan(domains=["a", "a"]), "differ"),
    "a domain without a name": ("stargan", stargan(domains=["a", ""]), "differ"),
    "not an object": ("stargan", [1, 2], "object"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_options_that_do_not_fit_are_refused_before_anything_is_queued(training, settings, what):
    family, options, words = BAD_OPTIONS[what]
    for dry_run in ("true", "false"):
        answer = training.post(f"/training/{family}", params={"dry_run": dry_run}, json=options)
        assert answer.status_code in (404, 422, 503), answer.text
        if answer.status_code == 503:
            assert what == "a model without weights"
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["detail"]
    assert not (settings.data_dir / "runs").exists()


@pytest.mark.parametrize(
    "text", ['{"dataset": "colors", "lr": NaN}', '{"dataset": "colors", "lr": 1e999}', "{", "", "null"]
)
def test_a_body_that_is_no_sound_json_is_refused(training, text):
    answer = training.post("/training/cyclegan", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_misspelt_dry_run_starts_nothing(training):
    for call, body in (
        ("cyclegan", cyclegan()),
        ("stargan", stargan()),
        ("compare", {"family": "cyclegan", "base": {}}),
    ):
        answer = training.post(f"/training/{call}?dryrun=true", json=body)
        assert (answer.status_code, "dryrun" in answer.json()["detail"]) == (422, True)
    assert training.get("/training").json() == []


@pytest.mark.parametrize(
    ("text", "content_type", "words"),
    [
        ('{"dataset": colors}', "application/json", "the body is not valid JSON, from character 12"),
        ('{"dataset": "colors"}', "application/x-www-form-urlencoded", "-H 'Content-Type: application/json'"),
        ('{"dataset": "colors", "imagesize": 64}', "application/json", "did you mean image_size?"),
        ('{"dataset": "colors", "image_size": 33}', "application/json", "image_size: Input should be a multiple of 4"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(training, text, content_type, words):
    answer = training.post("/training/cyclegan", content=text, headers={"Content-Type": content_type})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_sizes_that_are_not_given_are_those_of_the_model_to_start_from(training):
    options = {name: value for name, value in cyclegan(init_from="tiny").items() if name not in ("ngf", "n_blocks")}
    told = training.post("/training/cyclegan?dry_run=true", json=options).json()
    assert (told["options"]["ngf"], told["options"]["n_blocks"]) == (4, 1)


def test_names_that_no_utf8_can_hold_are_refused(training):
    headers = {"Content-Type": "application/json"}
    options = json.dumps(stargan(domains=["\ud800", "b"]))
    for call in ("/training/stargan", "/training/stargan?dry_run=1"):
        assert training.post(call, content=options, headers=headers).status_code == 422
    asked = {"family": "stargan_v2", "base": stargan(), "variants": [{"\ud800": 1}, {"lr": 1}]}
    assert training.post("/training/compare", content=json.dumps(asked), headers=headers).status_code == 422
    assert training.get("/training").json() == []
