"""Comparisons that are refused, tried dry, stopped, or damaged."""

import io

import numpy as np
import pytest
from PIL import Image

from models.store.run_folder import RunFolder
from models.store.samples import SampleRow, rows_path
from tests.processes import api
from tests.training import cyclegan


def test_a_damaged_run_is_in_no_comparisons_way(training, settings):
    asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2, 3]}}
    answer = training.post("/training/compare", json=asked)
    where, runs = answer.headers["Location"], [run["id"] for run in answer.json()["runs"]]
    damaged = settings.data_dir / "runs" / runs[0]
    (damaged / "status.json").write_text("{}")
    assert [run["id"] for run in training.get(where).json()["runs"]] == runs[1:]
    assert [one["id"] for one in training.get("/training/compare").json()] == [where.split("/")[-1]]
    stopped = training.post(f"{where}/stop").json()
    assert [run["status"] for run in stopped["runs"]] == ["stopped", "stopped"]
    assert training.delete(where).status_code == 204
    assert not damaged.exists()


def test_a_comparison_goes_with_its_last_run(training, settings):
    asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
    answer = training.post("/training/compare", json=asked)
    where = answer.headers["Location"]
    training.post(f"{where}/stop")
    for run in answer.json()["runs"]:
        assert training.delete(f"/training/{run['id']}").status_code == 204
    assert {training.get(f"{where}{call}").status_code for call in ("", "/picture", "/video")} == {404}
    assert training.get("/training/compare").json() == []
    with api(settings):  # what is left of it goes at the next start
        assert list((settings.data_dir / "comparisons").iterdir()) == []


def test_a_sample_that_nothing_describes_is_left_out_of_a_comparisons_picture(training, settings):
    asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
    answer = training.post("/training/compare", json=asked)
    picture = f"{answer.headers['Location']}/picture"
    assert training.get(picture).status_code == 409
    gray = np.full((32, 32, 3), 90, np.uint8)
    rows = [SampleRow("A", "input", [gray] * 5), SampleRow("A → B", "output", [gray] * 5, "A")]
    folders = [RunFolder(settings.data_dir / "runs" / run["id"]) for run in answer.json()["runs"]]
    for folder in folders:
        folder.save_sample(5, rows)

    def height():
        return Image.open(io.BytesIO(training.get(picture).content)).height

    assert height() == 3 * 34
    rows_path(folders[0].sample_path(5)).unlink()
    assert height() == 2 * 34
    rows_path(folders[1].sample_path(5)).write_text("damaged")
    assert training.get(picture).status_code == 409


def test_a_comparison_can_be_tried_dry(training):
    asked = {"family": "cyclegan", "base": cyclegan(), "variants": [{"ngf": 2}, {"ngf": 4}]}
    answer = training.post("/training/compare?dry_run=true", json=asked)
    assert answer.status_code == 200, answer.text
    narrow, wide = answer.json()["runs"]
    assert (narrow["label"], wide["forecast"]["options"]["ngf"]) == ("ngf 2", 4)
    assert narrow["forecast"]["parameters"]["g_ab"] < wide["forecast"]["parameters"]["g_ab"]
    assert answer.json()["seconds"] == pytest.approx(narrow["forecast"]["seconds"] + wide["forecast"]["seconds"])
    assert training.get("/training").json() == training.get("/training/compare").json() == []


def test_a_comparison_is_stopped_as_a_whole(training):
    asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
    comparison = training.post("/training/compare", json=asked)
    assert comparison.json()["status"] == "queued"
    [listed] = training.get("/training/compare").json()
    assert listed["links"]["self"] == comparison.headers["Location"]
    stopped = training.post(f"{comparison.headers['Location']}/stop")
    assert (stopped.status_code, stopped.json()["status"]) == (202, "stopped")
    assert {run["status"] for run in training.get("/training").json()} == {"stopped"}
    assert training.delete(comparison.headers["Location"]).status_code == 204
    assert training.get("/training").json() == []


@pytest.mark.parametrize(
    "asked",
    [
        {"family": "cyclegan", "base": {"dataset": "colors"}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "variants": [{}]},
        {"family": "cyclegan", "base": cyclegan(), "variants": [{}, {"webhook": "https://example.org/secret"}]},
        {"family": "cyclegan", "base": cyclegan(), "grid": {"webhook": ["https://example.org/1", None]}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "variants": [{}, {}], "grid": {"lr": [1, 2]}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "grid": {"lr": []}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "grid": {"lr": list(range(1, 30))}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "variants": [{"lr": 1e-4}, {"lr": "x"}]},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "variants": [{"lr": 1e-4}, {"speed": 1}]},
        {"family": "gan", "base": {}, "variants": [{}, {}]},
    ],
)
def test_a_comparison_that_cannot_be_made_starts_no_run(training, asked):
    answer = training.post("/training/compare", json=asked)
    assert answer.status_code == 422
    assert training.get("/training").json() == []


@pytest.mark.parametrize("call", ["", "/picture", "/video"])
def test_a_comparison_that_is_not_there(client, call):
    for comparison in ("none", "a" * 12, "a" * 300):
        assert client.get(f"/training/compare/{comparison}{call}").status_code == 404
