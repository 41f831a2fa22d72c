"""Runs side by side."""

from tests.app.training.client import picture, wait
from tests.processes import eventually
from tests.training import ENDLESS, cyclegan, stargan


def test_a_comparison_has_a_table_a_picture_and_a_video(service):
    asked = {
        "family": "stargan_v2",
        "base": stargan(total_iters=1),
        "variants": [{"beta1": 0.0, "weight_decay": 1e-4}, {"beta1": 0.5, "weight_decay": 1e-3}],
    }
    answer = service.post("/training/compare", json=asked)
    assert answer.status_code == 202, answer.text
    comparison = answer.headers["Location"]
    found = wait(service, comparison)
    assert [run["label"] for run in found["runs"]] == [
        "beta1 0.0, weight_decay 0.0001",
        "beta1 0.5, weight_decay 0.001",
    ]
    assert all(run["smoothed"] and run["quality"]["cycle error"] > 0 for run in found["runs"])
    assert service.get(found["runs"][1]["links"]["self"]).json()["comparison"] == found["id"]
    sheet = picture(service.get(f"{comparison}/picture"))
    assert sheet.height == 4 * 3 * 66  # by two domains, of a reference and of a latent code; inputs and two runs
    video = service.get(f"{comparison}/video")
    assert video.headers["content-type"] == "video/mp4"
    assert b"ftyp" in video.content[:16]
    assert service.delete(comparison).status_code == 204
    assert service.get(comparison).status_code == 404
    assert service.get(found["runs"][0]["links"]["self"]).status_code == 404


def test_a_grid_makes_a_run_for_every_combination_and_is_not_removed_while_one_is_under_way(service):
    asked = {"family": "cyclegan", "base": cyclegan(**ENDLESS), "grid": {"lr": [1e-4, 2e-4], "seed": [0, 1]}}
    answer = service.post("/training/compare", json=asked)
    comparison = answer.headers["Location"]
    labels = [run["label"] for run in answer.json()["runs"]]
    assert labels == [f"lr {lr}, seed {seed}" for lr in (0.0001, 0.0002) for seed in (0, 1)]
    runs = [run["links"]["self"] for run in answer.json()["runs"]]
    eventually(lambda: service.get(f"{runs[0]}/samples").json())
    refused = service.delete(comparison)
    assert refused.status_code == 409
    assert runs[0].split("/")[-1] in refused.json()["detail"]
    for run in runs:
        service.post(f"{run}/stop?force=true")
    for run in runs:
        wait(service, run, "stopped")
    assert picture(service.get(f"{comparison}/picture")).height > 2 * 2 * 34  # inputs and one run, with room for labels
    assert service.get(f"{comparison}/video").status_code == 409
    eventually(lambda: service.delete(comparison).status_code == 204)
