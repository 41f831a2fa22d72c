"""Runs that are to go on: what is checked, and who is first."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from models.store.run_folder import RunFolder
from tests.archives import GOOD
from tests.training import cyclegan


def test_a_run_is_resumed_by_one_of_many_who_ask_at_once(training):
    run = training.post("/training/cyclegan", json=cyclegan()).headers["Location"]
    training.post(f"{run}/stop")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: training.post(f"{run}/resume").status_code, range(4)))
    assert sorted(answers) == [202, 409, 409, 409]
    assert training.post(f"{run}/stop").json()["status"] == "stopped"


def test_a_run_goes_on_with_the_pictures_that_it_began_with_alone(training, importing):
    def upload(archive):
        files = {"archive": ("a.zip", GOOD[archive])}
        training.post("/datasets", files=files, data={"name": "mine"}).raise_for_status()

    upload("trainA and trainB")
    run = training.post("/training/cyclegan", json=cyclegan(dataset="mine")).headers["Location"]
    training.post(f"{run}/stop")
    assert training.delete("/datasets/mine").status_code == 204
    assert "'mine' that the run was trained on is not here" in training.post(f"{run}/resume").json()["detail"]
    upload("named domains")
    answer = training.post(f"{run}/resume")
    assert (answer.status_code, "not those that the run began with" in answer.json()["detail"]) == (409, True)
    training.delete("/datasets/mine")
    upload("trainA and trainB")
    assert training.post(f"{run}/resume").status_code == 202


def test_a_run_whose_first_weights_are_gone_is_not_queued_again(training, settings):
    run = training.post("/training/cyclegan", json=cyclegan(init_from="tiny", ngf=4, n_blocks=1)).headers["Location"]
    training.post(f"{run}/stop")
    (settings.weights_dir / "tiny" / "weights.safetensors").unlink()
    answer = training.post(f"{run}/resume")
    assert (answer.status_code, "'tiny' that the run was to start from is gone" in answer.text) == (409, True)


def test_a_run_does_not_go_on_once_an_operator_has_added_a_picture(training, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).headers["Location"]
    training.post(f"{run}/stop")
    folder = settings.data_dir / "datasets" / "colors"
    (folder / "notes.txt").write_text("a file that is no picture changes nothing")
    assert training.post(f"{run}/resume").status_code == 202
    training.post(f"{run}/stop")
    shutil.copy(folder / "train" / "red" / "0.png", folder / "train" / "red" / "more.png")
    assert training.post(f"{run}/resume").status_code == 409


def test_what_a_run_is_resumed_with_is_checked_and_kept(training, settings, queue):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    where, folder = f"/training/{run}", RunFolder(settings.data_dir / "runs" / run)
    training.post(f"{where}/stop")
    pictures = settings.data_dir / "datasets" / "colors"
    for asked, status, words in (
        ({"lr": 1e-3}, 422, "lr: there is no key of this name; there are epochs, epochs_decay, total_iters, minutes"),
        ({"total_iters": 5}, 422, "total_iters: can't change"),
        ({"minutes": 1, "epochs": 3}, 422, "give either"),
        ({"epochs": -1}, 422, "epochs"),
        ({"dataset": "gone"}, 409, "'gone' that the run was trained on is not here"),
    ):
        answer = training.post(f"{where}/resume", json=asked)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert not (folder.path / "changes.json").exists()
    pictures.rename(pictures.with_name("renamed"))
    assert "If it has another name now" in training.post(f"{where}/resume").json()["detail"]
    asked = {"epochs": 4, "sample_every": 2, "dataset": "renamed"}
    resumed = training.post(f"{where}/resume", json=asked).json()
    assert (resumed["status"], resumed["dataset"], resumed["total_steps"]) == ("queued", "renamed", 24)
    assert (resumed["options"]["epochs"], resumed["options"]["sample_every"]) == (4, 2)
    [change] = resumed["changes"]
    assert (change["step"], change["options"]) == (0, {"epochs": 4, "sample_every": 2})
    assert folder.options().dataset == (pictures.with_name("renamed")).resolve()
    training.post(f"{where}/stop")
    training.post(f"{where}/resume", json={"minutes": 5})
    assert training.get(where).json()["options"]["minutes"] == 5
    assert folder.options().minutes == 5
