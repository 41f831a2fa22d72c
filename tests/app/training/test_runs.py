"""Runs over HTTP: shown, stopped, killed, resumed, and the service beside them."""

import json
import os
import re
import resource
import shutil
import signal
import sys

import pytest

from tests.app.training.client import picture, start, wait
from tests.pictures import encoded, landscape
from tests.processes import api_process, eventually, running
from tests.training import ENDLESS, cyclegan, stargan


def test_a_run_shows_its_progress(finished, service):
    run = service.get(finished[0]).json()
    assert (run["kind"], run["status"], run["step"], run["total_steps"], run["progress"]) == (
        "training",
        "succeeded",
        18,
        18,
        1.0,
    )
    assert {"g_ab_adv", "cycle_bab", "d_b"} <= run["losses"].keys()
    assert run["smoothed"].keys() == run["losses"].keys()
    assert run["learning_rate"] == pytest.approx(2e-4)
    assert run["images_per_s"] > 0
    assert (run["last_checkpoint"], run["best_checkpoint"]) == (18, 18)
    assert run["quality"][-1]["figures"]["cycle error"] > 0
    assert "FID" in run["quality"][-1]["not_available"]
    assert run["domains"] == ["blue", "red"]
    assert run["options"]["lambda_a"] == 10
    assert "/" not in json.dumps(run["options"])


def test_time_is_estimated_from_a_similar_run(finished, service):
    estimated_by = [
        service.post("/training/cyclegan?dry_run=true", json=cyclegan(**options)).json()["estimated_by"]
        for options in ({}, {"ngf": 64, "n_blocks": 9}, {"precision": "bf16"})
    ]
    by_similar_run = [re.fullmatch(r"the pace of run (\w+)", one) for one in estimated_by]
    assert service.get(f"/training/{by_similar_run[0][1]}").json()["family"] == "cyclegan"
    assert by_similar_run[1:] == [None, None]


def test_figures_curves_samples_and_log_can_be_fetched(finished, service):
    run = finished[0]
    assert [record["step"] for record in service.get(f"{run}/metrics").json()] == list(range(1, 19))
    assert len(service.get(f"{run}/metrics?points=4").json()) <= 4
    table = service.get(f"{run}/metrics?format=csv&after_step=16")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[0].startswith("step,seconds,g_ab_adv")
    assert len(table.text.splitlines()) == 3
    assert picture(service.get(f"{run}/curves.png")).size == (1000, 700)
    samples = service.get(f"{run}/samples").json()
    assert picture(service.get(samples[-1]["image"])).size == picture(service.get(f"{run}/samples/last")).size
    eventually(lambda: "the run has succeeded" in service.get(f"{run}/log").text)


def test_a_complete_run_from_another_machine_is_trained_further(finished, service, place):
    runs = place.data_dir / "runs"
    folder = shutil.copytree(runs / finished[0].split("/")[-1], runs / "fromelsewhere")
    options = json.loads((folder / "options.json").read_text())
    (folder / "options.json").write_text(json.dumps(options | {"dataset": "/content/data/colors"}))
    run = f"/training/{folder.name}"
    told = service.post(f"{run}/resume")
    assert (told.status_code, "send more epochs" in told.json()["detail"]) == (409, True)
    told = service.post(f"{run}/resume", json={"epochs": 2})
    assert (told.status_code, "has done 18 steps" in told.json()["detail"]) == (422, True)
    assert service.post(f"{run}/resume", json={"epochs": 4}).status_code == 202
    further = wait(service, run)
    assert (further["step"], further["total_steps"], further["attempts"]) == (24, 24, 2)
    assert further["changes"][0]["options"] == {"epochs": 4}
    assert "/" not in json.dumps([further["changes"], further["options"]])
    assert [record["step"] for record in service.get(f"{run}/metrics").json()] == list(range(1, 25))
    assert service.delete(run).status_code == 204


def test_tensorboard_finds_the_run(finished, place):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = place.data_dir / "runs" / finished[0].split("/")[-1]
    curves = EventAccumulator(str(folder))
    curves.Reload()
    assert [event.step for event in curves.Scalars("g_ab_adv")] == list(range(1, 19))
    assert "held_out/cycle_error" in curves.Tags()["scalars"]


def test_translations_work_while_a_run_trains_which_is_stopped_and_resumed(service):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["step"] > 3)
    answer = service.post("/translate", files={"image": encoded(landscape())}, data={"model": "tiny"})
    assert answer.status_code == 200
    assert service.get(run).json()["status"] == "running"
    assert service.post(f"{run}/resume").status_code == 409
    assert service.delete(run).status_code == 409
    assert not service.get(run).json()["stopping"]
    answer = service.post(f"{run}/stop").json()
    assert answer["stopping"] or answer["status"] == "stopped"
    stopped = wait(service, run, "stopped")
    assert stopped["last_checkpoint"] == stopped["step"]
    assert not stopped["stopping"]
    assert service.post(f"{run}/resume").json()["status"] == "queued"
    eventually(lambda: service.get(run).json()["step"] > stopped["step"])
    service.post(f"{run}/stop", params={"force": True})
    wait(service, run, "stopped")
    assert service.delete(run).status_code == 204


def test_a_run_whose_process_was_killed_fails_with_the_reason_and_can_be_resumed(service, place):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["last_checkpoint"])
    folder = place.data_dir / "runs" / run.split("/")[-1]
    os.kill(eventually(lambda: running(f"models.training {folder}")), signal.SIGKILL)
    failed = wait(service, run, "failed")
    assert "killed by signal 9" in failed["error"]["detail"]
    service.post(f"{run}/resume")
    eventually(lambda: service.get(run).json()["step"] > failed["step"])
    service.post(f"{run}/stop")
    wait(service, run, "stopped")


def left(root):
    """All files and folders, without locks."""
    return {path for path in root.rglob("*") if ".locks" not in path.parts and path.suffix != ".lock"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
def test_a_full_disk_is_reported_and_leaves_nothing_half_done(service, place, finished):
    stopped = start(service, "stargan", stargan(total_iters=10_000))
    service.post(f"{stopped}/stop")
    wait(service, stopped, "stopped")
    before = service.get(stopped).json()
    (place.data_dir / "comparisons").mkdir(exist_ok=True)
    (place.data_dir / "tmp").mkdir(exist_ok=True)
    (place.data_dir / "versions").mkdir(exist_ok=True)
    there = left(place.data_dir)
    with api_process(place) as (server, client):
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        comparison = {"family": "stargan_v2", "base": stargan(), "variants": [{"beta1": 0}, {"beta1": 0.5}]}
        for path, body in (
            ("/training/cyclegan", cyclegan()),
            ("/training/compare", comparison),
            (f"{finished[0]}/publish", {"name": "unfinished"}),
            (f"{stopped}/resume", None),
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "600"), answer.text
            assert "disk is full" in answer.json()["detail"]
        upload = {"files": {"archive": ("a.zip", os.urandom(3 << 20))}, "data": {"name": "large"}}
        assert client.post("/datasets", **upload).status_code == 503
    assert left(place.data_dir) == there
    assert service.get(stopped).json() == before
    assert service.get("/models/unfinished").status_code == 404
