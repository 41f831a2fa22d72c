"""Training over HTTP with a real trainer and a real worker: started, watched, stopped, resumed, served, compared."""

import io
import json
import logging
import os
import resource
import signal
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from app.settings import Settings
from tests.conftest import add_model
from tests.pictures import encoded, landscape
from tests.processes import api, api_process, environment, eventually, process, running
from tests.training import ENDLESS, add_dataset, cyclegan, stargan
from worker.connection import connect
from worker.embedded_redis import EmbeddedRedis
from worker.queue import rq_queue


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Settings of a service with a Redis of its own, and its trainer's process."""
    root = tmp_path_factory.mktemp("service")
    add_model(root / "weights", "tiny", ready=True)
    add_dataset(root / "var")
    server = EmbeddedRedis(root / "redis")
    server.start()
    settings = Settings(
        redis_url=server.url,
        weights_dir=root / "weights",
        data_dir=root / "var",
        device="cpu",
        offline=True,
        preload=[],
    )
    yield settings
    server.stop()


@pytest.fixture(scope="module")
def service(place):
    """A client of it."""
    with (
        process(sys.executable, "-m", "app.cli", "trainer", env=environment(place)),
        process(sys.executable, "-m", "app.cli", "worker", env=environment(place)),
        api(place) as client,
    ):
        eventually(lambda: client.get("/readyz").is_success, within_s=60)
        eventually(lambda: client.post("/training/stargan", json=stargan(total_iters=1)).status_code == 202)
        yield client


def start(client, family, options):
    answer = client.post(f"/training/{family}", json=options)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def wait(client, run, *states, within_s=120):
    eventually(lambda: client.get(run).json()["status"] in (states or ("succeeded",)), within_s=within_s)
    return client.get(run).json()


def events(client, run, **headers):
    """All events until the stream ends: (event, id, data)."""
    found = []
    with client.stream("GET", f"{run}/events", headers=headers, timeout=120) as stream:
        fields = {}
        for line in stream.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
                fields = {}
    return found


def picture(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.fixture(scope="module")
def finished(service):
    """A CycleGAN run that was watched to its end, and the events of it."""
    run = start(service, "cyclegan", cyclegan())
    return run, events(service, run)


def test_events_tell_of_a_run_to_its_end(finished, service):
    run, told = finished
    steps = [int(number) for event, number, _ in told if event == "metrics"]
    assert steps[-1] == 18
    assert steps == sorted(set(steps))
    assert [data["step"] for event, _, data in told if event == "sample"] == [5, 10, 15, 18]
    assert told[-1][0] == "status"
    assert told[-1][2]["status"] == "succeeded"
    later = events(service, run, **{"Last-Event-ID": "15"})
    assert [int(number) for event, number, _ in later if event == "metrics"] == [16, 17, 18]
    assert [data["step"] for event, _, data in later if event == "sample"] == [15, 18]  # 15's may not have come through


def test_a_run_tells_where_it_stands(finished, service):
    run = service.get(finished[0]).json()
    assert (run["kind"], run["status"], run["step"], run["total_steps"], run["progress"]) == (
        "training",
        "succeeded",
        18,
        18,
        1.0,
    )
    assert {"G_A", "cycle_B", "D_A"} <= run["losses"].keys()
    assert run["smoothed"].keys() == run["losses"].keys()
    assert run["learning_rate"] == pytest.approx(2e-4)
    assert run["images_per_s"] > 0
    assert (run["last_checkpoint"], run["best_checkpoint"]) == (18, 18)
    assert run["quality"][-1]["figures"]["cycle error"] > 0
    assert "FID" in run["quality"][-1]["not_available"]
    assert run["domains"] == ["blue", "red"]
    assert run["options"]["lambda_a"] == 10
    assert "/" not in json.dumps(run["options"])


def test_time_is_told_by_a_run_that_was_like_it(finished, service):
    name = finished[0].split("/")[-1]
    told = [
        service.post("/training/cyclegan?dry_run=true", json=cyclegan(**options)).json()["estimated_by"]
        for options in ({}, {"ngf": 64, "n_blocks": 9}, {"precision": "bf16"})
    ]
    assert name in told[0]
    assert not any(name in one for one in told[1:])


def test_figures_curves_samples_and_log_can_be_fetched(finished, service):
    run = finished[0]
    assert [record["step"] for record in service.get(f"{run}/metrics").json()] == list(range(1, 19))
    assert len(service.get(f"{run}/metrics?points=4").json()) <= 4
    table = service.get(f"{run}/metrics?format=csv&after_step=16")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[0].startswith("step,seconds,G_A")
    assert len(table.text.splitlines()) == 3
    assert picture(service.get(f"{run}/curves.png")).size == (1000, 700)
    samples = service.get(f"{run}/samples").json()
    assert picture(service.get(samples[-1]["image"])).size == picture(service.get(f"{run}/samples/last")).size
    assert "the run has succeeded" in service.get(f"{run}/log").text


def test_tensorboard_finds_the_run(finished, place):
    folder = place.data_dir / "runs" / finished[0].split("/")[-1]
    points = [event for file in sorted(folder.glob("events.out.tfevents.*")) for event in events_in(file)]
    assert [event.step for event in points if any(v.tag == "G_A" for v in event.summary.value)] == list(range(1, 19))
    assert "held_out/cycle_error" in {value.tag for event in points for value in event.summary.value}


def events_in(file):
    """Records of TensorBoard's format: a length, its checksum, so many bytes, their checksum."""
    data = file.read_bytes()
    while data:
        (length,) = struct.unpack_from("<Q", data)
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_a_published_model_is_served_at_once_and_rolled_back(finished, service):
    run = finished[0]
    photo = encoded(landscape(64, 64))

    def translate():
        answer = service.post("/translate", files={"image": photo}, data={"model": "colors-model"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Model"] == "colors-model"
        return np.asarray(picture(answer))

    first = service.post(f"{run}/publish", json={"name": "colors-model", "direction": "AtoB"})
    assert (first.status_code, first.json()) == (201, {"name": "colors-model", "version": 1})
    there = translate()
    assert service.post(f"{run}/publish", json={"name": "colors-model", "direction": "BtoA"}).json()["version"] == 2
    assert not np.array_equal(translate(), there)
    card = service.get("/models/colors-model").json()
    assert (card["version"], card["training"]["dataset"], card["training"]["direction"]) == (2, "colors", "BtoA")
    assert service.post("/models/colors-model/rollback").json() == {"name": "colors-model", "version": 1}
    assert np.array_equal(translate(), there)
    assert service.post("/models/colors-model/rollback").status_code == 409
    assert service.post(f"{run}/publish", json={"name": "colors-model", "step": 15}).json()["version"] == 3


def test_versions_that_are_published_at_once_are_all_whole(finished, service):
    def publish(n):
        return service.post(f"{finished[0]}/publish", json={"name": "many", "direction": ("AtoB", "BtoA")[n % 2]})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(publish, range(8)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 9))
    answer = service.post("/translate", files={"image": encoded(landscape(64, 64))}, data={"model": "many"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"name": "tiny"}, 409),
        ({"name": "../evil"}, 422),
        ({"name": ".hidden"}, 422),
        ({"name": "x", "direction": "AtoC"}, 422),
        ({"name": "x", "step": 7}, 409),
        ({"name": "x", "step": "first"}, 422),
        ({"name": "x", "step": True}, 422),
        ({}, 422),
    ],
)
def test_what_cannot_be_published_is_refused(finished, service, asked, status):
    assert service.post(f"{finished[0]}/publish", json=asked).status_code == status
    assert service.get("/models/x").status_code == 404


def test_a_model_that_ships_has_no_versions(service):
    assert service.post("/models/tiny/rollback").status_code == 409
    assert service.post("/models/none/rollback").status_code == 404


def test_fine_tuning_starts_from_a_published_model(service):
    options = {name: value for name, value in cyclegan(init_from="tiny", epochs=1).items() if name not in ("ngf",)}
    run = wait(service, start(service, "cyclegan", options), "succeeded", "failed")
    assert run["status"] == "succeeded", run["error"]
    assert (run["options"]["init_from"], run["options"]["ngf"]) == ("tiny", 4)


def test_a_stopped_run_is_resumed_to_its_end(service):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["step"] > 3, within_s=60)
    assert service.post(f"{run}/resume").status_code == 409
    assert service.delete(run).status_code == 409
    assert not service.get(run).json()["stopping"]
    told = service.post(f"{run}/stop").json()
    assert told["stopping"] or told["status"] == "stopped"
    stopped = wait(service, run, "stopped")
    assert stopped["last_checkpoint"] == stopped["step"]
    assert not stopped["stopping"]
    assert service.post(f"{run}/resume").json()["status"] == "queued"
    eventually(lambda: service.get(run).json()["step"] > stopped["step"], within_s=60)
    service.post(f"{run}/stop", params={"force": True})
    wait(service, run, "stopped")
    assert service.delete(run).status_code == 204


def test_a_run_whose_process_was_killed_says_so_and_can_be_resumed(service, place):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["last_checkpoint"], within_s=60)
    folder = place.data_dir / "runs" / run.split("/")[-1]
    os.kill(running(f"models.training {folder}"), signal.SIGKILL)
    failed = wait(service, run, "failed")
    assert "killed by signal 9" in failed["error"]["detail"]
    service.post(f"{run}/resume")
    eventually(lambda: service.get(run).json()["step"] > failed["last_checkpoint"], within_s=60)
    service.post(f"{run}/stop")
    wait(service, run, "stopped")


def test_a_stargan_run_is_published_and_answers(service):
    run = start(service, "stargan", stargan())
    found = wait(service, run)
    assert found["lambda_ds"] is not None
    assert picture(service.get(f"{run}/curves.png"))
    assert service.post(f"{run}/publish", json={"name": "s", "direction": "AtoB"}).status_code == 422
    assert service.post(f"{run}/publish", json={"name": "styles"}).status_code == 201
    files = {"image": encoded(landscape(64, 64)), "reference": encoded(landscape(80, 80))}
    answer = service.post("/stargan/reference", files=files, data={"model": "styles", "domain": "blue"})
    assert picture(answer).size == (64, 64)
    source = {"image": files["image"]}
    code = service.post("/stargan/style", files=source, data={"model": "styles"}).text
    styled = {"model": "styles", "domain": "blue", "style": code}
    assert picture(service.post("/translate", files=source, data=styled)).size == (64, 64)


def test_a_published_model_can_be_removed_and_its_name_is_of_one_family(finished, service, place):
    run = finished[0]
    assert service.post(f"{run}/publish", json={"name": "passing"}).status_code == 201
    other = start(service, "stargan", stargan(total_iters=1))
    wait(service, other)
    answer = service.post(f"{other}/publish", json={"name": "passing"})
    assert (answer.status_code, "cyclegan" in answer.json()["detail"]) == (409, True)
    shape = {"files": {"image": encoded(landscape())}, "data": {"model": "passing"}}
    assert picture(service.post("/translate", **shape)).size == (96, 64)
    before = start(service, "cyclegan", cyclegan(**ENDLESS))
    waiting = start(service, "cyclegan", cyclegan(init_from="passing"))
    refused = service.delete("/models/passing")
    assert (refused.status_code, waiting.split("/")[-1] in refused.json()["detail"]) == (409, True)
    for one in (waiting, before):
        service.post(f"{one}/stop?force=true")
        wait(service, one, "stopped")
    assert service.delete("/models/passing").status_code == 204
    assert service.post("/translate", **shape).status_code == 422
    assert service.delete("/models/passing").status_code == 404
    assert service.delete("/models/tiny").status_code == 409
    assert not list((place.data_dir / "versions").glob("*passing*"))
    assert service.post(f"{other}/publish", json={"name": "passing"}).json()["version"] == 1


def test_a_model_that_is_removed_while_a_picture_waits_for_it_is_said_to_be(finished, service, place):
    assert service.post(f"{finished[0]}/publish", json={"name": "brief"}).status_code == 201
    queue = rq_queue(connect(place.redis_url, patience_s=1))
    worker = running("app.cli worker")
    asked = {"files": {"image": encoded(landscape())}, "data": {"model": "brief"}}
    os.kill(worker, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(service.post, "/translate", **asked)
            eventually(lambda: queue.count)
            assert service.delete("/models/brief").status_code == 204
            os.kill(worker, signal.SIGCONT)
            answer = waiting.result()
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (answer.status_code, "'brief' was taken out of service" in answer.json()["detail"]) == (409, True)


def test_listeners_of_a_run_that_is_removed_hear_the_end(service):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(events, service, run)
        wait(service, run, "running")
        service.post(f"{run}/stop?force=true")
        eventually(lambda: service.delete(run).status_code == 204)
        assert heard.result()[0][0] in ("status", "metrics")


def test_a_listener_hears_on_when_redis_was_away(service, place):
    before, run = (start(service, "cyclegan", cyclegan(**ENDLESS)) for _ in range(2))
    redis = connect(place.redis_url, patience_s=1).info()["process_id"]
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(events, service, run)
        time.sleep(1)
        os.kill(redis, signal.SIGSTOP)
        time.sleep(8)
        os.kill(redis, signal.SIGCONT)
        for one in (run, before):
            service.post(f"{one}/stop?force=true")
            wait(service, one, "stopped")
        assert heard.result()[-1][2]["status"] == "stopped"


def test_listeners_that_go_away_are_no_errors(service, caplog):
    logging.getLogger("uvicorn.error").addHandler(caplog.handler)
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["step"] > 50, within_s=60)
    host, port = service.base_url.host, service.base_url.port
    for _ in range(10):
        listeners = [socket.create_connection((host, port)) for _ in range(20)]
        for listener in listeners:
            listener.sendall(f"GET {run}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.1)
        for listener in listeners:
            listener.close()
    service.post(f"{run}/stop?force=true")
    wait(service, run, "stopped")
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_comparison_has_a_table_a_picture_and_a_video(service):
    asked = {
        "family": "stargan_v2",
        "base": stargan(total_iters=3),
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


def test_a_comparison_is_not_removed_while_a_run_of_it_is_under_way(service):
    asked = {"family": "cyclegan", "base": cyclegan(**ENDLESS), "grid": {"seed": [0, 1]}}
    answer = service.post("/training/compare", json=asked)
    runs = [run["links"]["self"] for run in answer.json()["runs"]]
    eventually(lambda: service.get(runs[0]).json()["step"] > 0, within_s=60)
    refused = service.delete(answer.headers["Location"])
    assert refused.status_code == 409
    assert runs[0].split("/")[-1] in refused.json()["detail"]
    for run in runs:
        service.post(f"{run}/stop?force=true")
    for run in runs:
        wait(service, run, "stopped")
    eventually(lambda: service.delete(answer.headers["Location"]).status_code == 204)


def test_a_grid_makes_a_run_for_every_combination(service):
    asked = {"family": "cyclegan", "base": cyclegan(epochs=1), "grid": {"lr": [1e-4, 2e-4], "seed": [0, 1]}}
    found = wait(service, service.post("/training/compare", json=asked).headers["Location"])
    assert len(found["runs"]) == 4
    assert picture(service.get(f"{found['links']['picture']}")).height > 2 * 5 * 34  # with room for labels
    assert service.get(f"{found['links']['self']}/video").status_code == 409


def test_translations_are_answered_while_a_run_trains(service):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    eventually(lambda: service.get(run).json()["step"] > 3, within_s=60)
    answer = service.post("/translate", files={"image": encoded(landscape())}, data={"model": "tiny"})
    assert answer.status_code == 200
    assert service.get(run).json()["status"] == "running"
    service.post(f"{run}/stop")
    wait(service, run, "stopped")


def left(root):
    """All files and folders but locks."""
    return {path for path in root.rglob("*") if ".locks" not in path.parts and path.suffix != ".lock"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing_half_done(service, place, finished):
    stopped = start(service, "stargan", stargan(total_iters=10_000))
    service.post(f"{stopped}/stop")
    wait(service, stopped, "stopped")
    before = service.get(stopped).json()
    (place.data_dir / "comparisons").mkdir(exist_ok=True)
    (place.data_dir / "tmp").mkdir(exist_ok=True)
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
            assert "disk takes no more" in answer.json()["detail"]
        upload = {"files": {"archive": ("a.zip", os.urandom(3 << 20))}, "data": {"name": "large"}}
        assert client.post("/datasets", **upload).status_code == 503
    assert left(place.data_dir) == there
    assert service.get(stopped).json() == before
    assert service.get("/models/unfinished").status_code == 404


def test_a_listener_does_not_hold_up_the_server_that_is_to_end(service, place):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    with api_process(place) as (server, client), client.stream("GET", f"{run}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event: ")
        server.terminate()
        assert list(lines)[-1] == ""  # the end of the stream, in good order
        server.wait(timeout=10)
    service.post(f"{run}/stop?force=true")
    wait(service, run, "stopped")
