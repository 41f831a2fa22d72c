"""What is asked of training over HTTP and refused; the runs themselves are in training/."""

import csv
import io
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import redis
from PIL import Image
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from app.forecast import ASSUMED_GFLOP_PER_S
from app.settings import Settings
from models.store.run_folder import RunFolder
from models.store.run_status import read_status, write_status
from models.store.samples import SampleRow, rows_path
from tests.archives import GOOD
from tests.conftest import TINY_STARGAN, add_stargan
from tests.processes import api, eventually, preparer
from tests.training import add_dataset, cyclegan, stargan
from worker import contract
from worker.preparation_queue import PreparationQueue, PreparerReport
from worker.training_queue import TrainerReport, rq_training_queue


@pytest.fixture(scope="module")
def preparers(redis_server):
    """A real preparer for the whole file, and its report, which stays new."""
    settings = Settings(redis_url=redis_server.url, data_dir="unused", device="cpu", offline=True)
    with preparer(settings, "estimates"):
        [report] = redis.Redis.from_url(redis_server.url).hvals(contract.PREPARERS)
        report = PreparerReport.model_validate_json(report).model_copy(update={"seen_at": time.time() + 3600})
        yield {report.name: report.model_dump_json()}


@pytest.fixture(scope="module")
def sized():
    """What the preparer has answered in this file: request, as JSON → estimate. Each takes it a second."""
    return {}


@pytest.fixture
def silenced(preparers, training, queue, sized):
    """Called, it lets the preparer report no more, until the test ends."""
    [report] = preparers.values()
    pid = PreparerReport.model_validate_json(report).pid

    def silence():
        os.kill(pid, signal.SIGSTOP)
        queue.connection.delete(contract.PREPARERS)
        sized.clear()

    yield silence
    os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A folder with the data sets and the StarGAN v2 that every test has a copy of."""
    root = tmp_path_factory.mktemp("stock")
    add_dataset(root)
    add_dataset(root, "three", ("red", "blue", "green"))
    implied = {name: value for name, value in TINY_STARGAN.items() if name != "base_dim"}
    add_stargan(root / "weights", "wide", network=implied)
    return root


@pytest.fixture
def training(client, queue, settings, preparers, stock, sized, monkeypatch):
    """A client of a service that has data sets and a preparer, and has heard of a trainer, which will never come."""
    ask = PreparationQueue.estimate

    def estimate(self, requests, **options):
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in sized}
        if missing:
            sized.update(zip(missing, ask(self, list(missing.values()), **options), strict=True))
        return [sized[key] for key in keys]

    monkeypatch.setattr(PreparationQueue, "estimate", estimate)
    queue.connection.hset(contract.PREPARERS, mapping=preparers)  # Redis was emptied since its last heartbeat
    shutil.copytree(stock / "datasets", settings.data_dir / "datasets", dirs_exist_ok=True)
    shutil.copytree(stock / "weights", settings.weights_dir, dirs_exist_ok=True)
    report = TrainerReport(
        name="t", pid=1, host="h", memory_mb=16_384, gpu_memory_mb=[], cores=2, seen_at=time.time() + 3600
    )
    queue.connection.hset(contract.TRAINERS, "t", report.model_dump_json())
    return client


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


def test_a_misspelt_dry_run_starts_nothing(training):
    for call, body in (
        ("cyclegan", cyclegan()),
        ("stargan", stargan()),
        ("compare", {"family": "cyclegan", "base": {}}),
    ):
        answer = training.post(f"/training/{call}?dryrun=true", json=body)
        assert (answer.status_code, "dryrun" in answer.json()["detail"]) == (422, True)
    assert training.get("/training").json() == []


@pytest.fixture
def importing(settings, training):
    """A preparer that imports what is uploaded to the service."""
    with preparer(settings, "imports"):
        yield


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


@pytest.mark.parametrize("damaged", ["options.json", "status.json"])
def test_a_run_that_cannot_be_read_is_in_nobodys_way(training, queue, settings, damaged):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    (settings.data_dir / "runs" / run / damaged).write_text('{"of": "another version"}')
    assert training.post("/training/cyclegan?dry_run=true", json=cyclegan()).status_code == 200
    assert training.post("/training/cyclegan", json=cyclegan()).status_code == 202
    assert [one["id"] for one in training.get("/training").json()] != [run]
    assert training.get("/datasets").status_code == 200
    answer = training.get(f"/training/{run}")
    assert (answer.status_code, run in answer.json()["detail"]) == (409, True)
    queue.connection.flushdb()  # or the one whose status can be read would wait for a trainer, and fail in it
    eventually(lambda: training.delete(f"/training/{run}").status_code == 204)
    assert not (settings.data_dir / "runs" / run).exists()


def test_a_run_that_the_queue_has_no_room_for_is_not_there(training, queue):
    queue.connection.config_set("maxmemory", 1)
    try:
        assert training.post("/training/cyclegan", json=cyclegan()).status_code == 503
        asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
        assert training.post("/training/compare", json=asked).status_code == 503
    finally:
        queue.connection.config_set("maxmemory", 0)
    assert training.get("/training").json() == training.get("/training/compare").json() == []


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


def test_a_queued_run_has_a_position_can_be_stopped_and_removed(training):
    first, second = (training.post("/training/cyclegan", json=cyclegan()) for _ in range(2))
    assert first.status_code == 202
    run, behind = first.json(), second.json()
    assert first.headers["Location"] == f"/training/{run['id']}"
    assert (run["status"], run["position"], behind["position"]) == ("queued", 0, 1)
    assert [one["id"] for one in training.get("/training").json()] == [behind["id"], run["id"]]
    assert training.delete("/datasets/colors").status_code == 409
    assert training.delete(f"/training/{run['id']}").status_code == 409
    for one in (run, behind):
        assert training.post(f"/training/{one['id']}/stop").json()["status"] == "stopped"
    assert training.post(f"/training/{run['id']}/stop").status_code == 409
    assert training.get(f"/training/{run['id']}/curves.png").status_code == 409
    assert training.get(f"/training/{run['id']}/samples/last").status_code == 404
    assert training.post(f"/training/{run['id']}/publish", json={"name": "x"}).status_code == 409
    assert training.delete(f"/training/{run['id']}").status_code == 204
    assert training.get(f"/training/{run['id']}").status_code == 404
    assert training.delete("/datasets/colors").status_code == 204
    assert training.post(f"/training/{behind['id']}/resume").status_code == 409


def test_names_that_no_utf8_can_hold_are_refused(training):
    headers = {"Content-Type": "application/json"}
    options = json.dumps(stargan(domains=["\ud800", "b"]))
    for call in ("/training/stargan", "/training/stargan?dry_run=1"):
        assert training.post(call, content=options, headers=headers).status_code == 422
    asked = {"family": "stargan_v2", "base": stargan(), "variants": [{"\ud800": 1}, {"lr": 1}]}
    assert training.post("/training/compare", content=json.dumps(asked), headers=headers).status_code == 422
    assert training.get("/training").json() == []


def test_an_attempt_is_no_job_of_the_other_queue(training):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    assert training.get(f"/jobs/{run}-1").status_code == 404
    assert training.delete(f"/jobs/{run}-1").status_code == 404


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


def test_a_run_whose_trainer_died_too_often_says_so(training, queue, settings):
    run = training.post("/training/cyclegan", json=cyclegan())
    where, run_id = run.headers["Location"], run.json()["id"]
    turns = rq_training_queue(queue.connection)
    turns.remove(f"{run_id}-1")
    Job.fetch(f"{run_id}-1", connection=queue.connection, serializer=JSONSerializer).set_status(JobStatus.FAILED)
    state = training.get(where).json()
    assert "trainer died several times" in state["error"]["detail"]
    assert training.post(f"{where}/resume").status_code == 202


def test_a_run_does_not_go_on_once_an_operator_has_added_a_picture(training, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).headers["Location"]
    training.post(f"{run}/stop")
    folder = settings.data_dir / "datasets" / "colors"
    (folder / "notes.txt").write_text("a file that is no picture changes nothing")
    assert training.post(f"{run}/resume").status_code == 202
    training.post(f"{run}/stop")
    shutil.copy(folder / "train" / "red" / "0.png", folder / "train" / "red" / "more.png")
    assert training.post(f"{run}/resume").status_code == 409


def test_a_grid_beyond_reason_costs_nothing(training):
    asked = {"family": "cyclegan", "base": {}, "grid": {f"option{n}": list(range(100)) for n in range(10)}}
    assert training.post("/training/compare", json=asked).status_code == 422


def test_the_list_of_runs_survives_the_loss_of_redis(training, queue, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    queue.connection.flushall()
    found = training.get("/training").json()
    assert [one["id"] for one in found] == [run]


def test_a_dry_run_in_minutes_estimates_the_steps(training):
    asked = {name: value for name, value in cyclegan(minutes=30).items() if not name.startswith("epochs")}
    told = training.post("/training/cyclegan?dry_run=true", json=asked).json()
    assert (told["seconds"], told["options"]["minutes"], "epochs" in told["options"]) == (1800, 30, False)
    assert "two CPU cores" in told["estimated_by"]
    assert told["total_steps"] == pytest.approx(1800 * ASSUMED_GFLOP_PER_S / told["gflop_per_step"], rel=0.01)
    assert "an estimate" in " ".join(told["warnings"])


def test_metrics_of_a_long_run_are_thinned_or_come_in_pages(training, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    folder = RunFolder(settings.data_dir / "runs" / run)
    lines = (json.dumps({"step": step, "seconds": step / 4, "g_ab": 1.5}) for step in range(1, 6_501))
    folder.metrics_file.write_text("\n".join(lines) + "\n")
    metrics = f"/training/{run}/metrics"
    answer = training.get(metrics)
    assert [record["step"] for record in answer.json()] == list(range(4, 6_501, 7))
    assert (answer.headers["X-Steps"], answer.headers["X-Every"]) == ("6500", "7")
    assert "Link" not in answer.headers
    found, page = [], f"{metrics}?points=0&format=csv&limit=3000"
    while page:
        answer = training.get(page)
        found += [int(row["step"]) for row in csv.DictReader(io.StringIO(answer.text))]
        page = answer.links.get("next", {}).get("url")
    assert found == list(range(1, 6_501))
    assert training.get(metrics, params={"points": 10**9}).status_code == 422
    with Image.open(io.BytesIO(training.get(f"/training/{run}/curves.png").content)) as plot:
        assert plot.size == (1000, 700)


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


@pytest.mark.parametrize("call", ["", "/metrics", "/samples", "/samples/last", "/curves.png", "/log", "/events"])
def test_a_run_that_is_not_there(client, call):
    for run in ("none", "%2e%2e%2fetc", "x" * 60):
        assert client.get(f"/training/{run}{call}").status_code == 404


@pytest.mark.parametrize(
    "asked",
    [
        {"family": "cyclegan", "base": {"dataset": "colors"}},
        {"family": "cyclegan", "base": {"dataset": "colors"}, "variants": [{}]},
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
