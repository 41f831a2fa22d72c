"""Dry runs: what a run would be, how long it would take, and what to know before."""

import json
import math
import shutil

import pytest

from app.forecast import ASSUMED_GFLOP_PER_S
from models.store.run_folder import RunFolder
from models.store.run_status import read_status, write_status
from tests.archives import GOOD
from tests.training import cyclegan, stargan
from worker import contract


def test_a_dry_run_tells_what_the_run_would_be(training, settings):
    answer = training.post("/training/cyclegan?dry_run=true", json={"dataset": "colors"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["options"]["lambda_identity"] == 0.5
    assert told["parameters"]["g_ab"] == 11_378_179
    assert told["total_steps"] == 6 * 200
    assert told["memory_mb"] > 1000
    assert told["seconds"] > 0
    assert told["options"]["init_from"] is None
    assert told["warnings"] == []
    assert not (settings.data_dir / "runs").exists()


def test_a_run_whose_checkpoints_find_no_room_is_not_taken_on(training, settings):
    options = cyclegan(epochs=2, save_every=1, keep_checkpoints=4, pool_size=10)
    told = training.post("/training/cyclegan?dry_run=true", json=options).json()
    one = sum(told["parameters"].values()) * 4 * 5 + 2 * 10 * 3 * told["options"]["image_size"] ** 2 * 4
    assert told["disk_mb"] == math.ceil(min(told["total_steps"] + 1, 6) * one / 2**20)
    few = training.post("/training/cyclegan?dry_run=true", json=options | {"keep_checkpoints": 1}).json()
    assert few["disk_mb"] < told["disk_mb"]
    stored = sum(path.stat().st_size for path in settings.data_dir.rglob("*") if path.is_file())
    settings.max_store_mb = told["disk_mb"] + (stored >> 20) + 1
    first = training.post("/training/cyclegan", json=options)
    assert first.status_code == 202, first.text
    second = training.post("/training/cyclegan", json=options)  # the first one's are promised already
    assert second.status_code == 422
    assert "keep_checkpoints" in second.json()["detail"]


def test_landmarks_come_from_the_model_to_start_from_if_it_has_them(training, settings):
    faces = shutil.copytree(settings.weights_dir / "wide", settings.weights_dir / "faces")
    card = json.loads((faces / "model.json").read_text())
    card |= {"name": "faces", "masks": "landmarks", "network": card["network"] | {"landmarks": 1}}
    (faces / "model.json").write_text(json.dumps(card))
    asked = {"dataset": "colors", "init_from": "faces", "batch_size": 2, "total_iters": 2}
    answer = training.post("/training/stargan", json=asked)
    assert answer.status_code == 202, answer.text
    options = RunFolder(settings.data_dir / "runs" / answer.json()["id"]).options()
    assert options.masks == "landmarks"
    assert options.landmarks == faces / "weights.safetensors"


def test_a_dry_run_warns_of_pictures_that_are_smaller_than_their_size_in_training(training, importing):
    files = {"archive": ("a.zip", GOOD["trainA and trainB"])}
    training.post("/datasets", files=files, data={"name": "small"}).raise_for_status()
    asked = cyclegan(dataset="small", load_size=286, image_size=256)
    warnings = training.post("/training/cyclegan?dry_run=true", json=asked).json()["warnings"]
    assert "(40 × 32 px) and will be enlarged to 286 px" in " ".join(warnings)


def test_a_dry_run_warns_of_what_will_not_be_there(training, settings):
    shutil.rmtree(settings.data_dir / "datasets" / "colors" / "val")
    options = cyclegan(epochs=1, save_every=100, sample_every=100)
    warnings = training.post("/training/cyclegan?dry_run=true", json=options).json()["warnings"]
    assert [word for word in ("checkpoint", "sample", "held-out") if any(word in one for one in warnings)] == [
        "checkpoint",
        "sample",
        "held-out",
    ]


def test_without_a_trainer_nothing_is_taken_on(training, queue, settings):
    queue.connection.delete(contract.TRAINERS)
    answer = training.post("/training/cyclegan", json=cyclegan())
    assert answer.status_code == 503
    assert "doppel trainer" in answer.json()["detail"]
    assert not (settings.data_dir / "runs").exists()


def test_without_a_preparer_nothing_is_taken_on(training, silenced, settings):
    silenced()
    asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
    for dry_run in ("true", "false"):
        for call, body in (("cyclegan", cyclegan()), ("stargan", stargan()), ("compare", asked)):
            answer = training.post(f"/training/{call}", params={"dry_run": dry_run}, json=body)
            assert answer.status_code == 503
            assert "doppel preparer" in answer.json()["detail"]
            assert "Retry-After" in answer.headers
    assert not (settings.data_dir / "runs").exists()


def test_a_run_of_a_size_that_was_estimated_before_needs_no_preparer(training, silenced):
    first = training.post("/training/cyclegan?dry_run=true", json=cyclegan()).json()
    silenced()
    again = training.post("/training/cyclegan?dry_run=true", json=cyclegan(lr=1e-3, seed=5))
    assert again.status_code == 200
    assert again.json()["memory_mb"] == first["memory_mb"]
    assert training.post("/training/cyclegan?dry_run=true", json=cyclegan(ngf=3)).status_code == 503


def test_the_pace_of_runs_whose_size_is_known_tells_how_long_a_run_takes(training, settings):
    def estimated_by():
        return training.post("/training/cyclegan?dry_run=true", json=cyclegan()).json()["estimated_by"]

    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    folder = settings.data_dir / "runs" / run
    status = read_status(folder)
    assert status.gflop_per_step > 0
    write_status(folder, status.model_copy(update={"images_per_s": 7.0}))
    assert estimated_by() == f"the pace of run {run}"
    write_status(folder, status.model_copy(update={"images_per_s": 7.0, "gflop_per_step": None}))
    assert "two CPU cores" in estimated_by()


def test_a_grid_beyond_reason_costs_nothing(training):
    asked = {"family": "cyclegan", "base": {}, "grid": {f"option{n}": list(range(100)) for n in range(10)}}
    assert training.post("/training/compare", json=asked).status_code == 422


def test_a_dry_run_in_minutes_estimates_the_steps(training):
    asked = {name: value for name, value in cyclegan(minutes=30).items() if not name.startswith("epochs")}
    told = training.post("/training/cyclegan?dry_run=true", json=asked).json()
    assert (told["seconds"], told["options"]["minutes"], "epochs" in told["options"]) == (1800, 30, False)
    assert "two CPU cores" in told["estimated_by"]
    assert told["total_steps"] == pytest.approx(1800 * ASSUMED_GFLOP_PER_S / told["gflop_per_step"], rel=0.01)
    assert "an estimate" in " ".join(told["warnings"])
