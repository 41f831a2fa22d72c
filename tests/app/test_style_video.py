"""POST /style/video over real HTTP; the worker that paints runs in this process."""

import io
import threading

import av
import numpy as np
import pytest

from models.device import ServingDevice
from models.pictures.clips import Clip
from models.serving.painting import Painting
from models.store.catalog import Catalog
from tests.clips import damaged, tiny_clip, window
from tests.pictures import decoded, encoded, landscape
from tests.processes import ROOT, api, eventually
from worker.connection import connect
from worker.contract import Filming, Status, Task
from worker.errors import BadClip
from worker.file_bytes import pack_file
from worker.inference_worker import InferenceWorker
from worker.resident_models import ResidentModels
from worker.tasks import LoadedTask

PAINTING = encoded(landscape())


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"weights_dir": ROOT / "weights"})


def sent(clip, *styles, **fields):
    files = [
        ("video", ("clip.mp4", clip, "video/mp4")),
        *(("style", ("s.png", style, "image/png")) for style in styles),
    ]
    return {"files": files, "data": fields}


def held_models(settings):
    catalog = Catalog(settings.weights_dir, settings.data_dir)
    return ResidentModels(catalog, ServingDevice("cpu"), budget_bytes=1 << 30)


def run_worker(settings, runner=None):
    """Run what is in the queue, in this thread."""
    worker = InferenceWorker(
        connect(settings.redis_url, patience_s=5),
        runner or held_models(settings),
        device="cpu",
        max_batch=1,
        batch_wait_ms=0,
        result_ttl_s=60,
    )
    worker.work(burst=True, logging_level="WARNING")


def test_a_clip_comes_back_painted_with_its_sound(client, settings):
    answer = client.post("/style/video", **sent(tiny_clip(sound="aac"), PAINTING, wait="0"))
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["model"]) == ("clip", "style-by-example")
    run_worker(settings)
    assert client.get(job["links"]["self"]).json()["status"] == "succeeded"
    video = client.get(job["links"]["image"])
    assert video.headers["content-type"] == "video/mp4"
    assert b"compositeWithTrainedAlgorithmicMedia" in video.content
    made = Clip(video.content)
    assert (made.width, made.height, made.frame_count, made.sound) == (64, 48, 8, "aac")
    for n, frame in enumerate(made.frames()):
        assert np.abs(frame.picture.astype(int) - window(n)).mean() > 20  # it was painted
    part = client.get(job["links"]["image"], headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, video.content[:100])


def test_sizes_are_even_and_colours_can_be_kept(client, settings):
    asked = {"wait": "0", "resolution": "33", "preserve_color": "true", "stroke": "0.5", "strength": "0.5"}
    job = client.post("/style/video", **sent(tiny_clip(4), PAINTING, **asked)).json()
    run_worker(settings)
    answer = client.get(job["links"]["image"])
    assert answer.status_code == 200, answer.text
    with av.open(io.BytesIO(answer.content)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (44, 32)
        ours = frame.to_ndarray(format="yuv420p")[32:]  # the colours below the lightness
    with av.open(io.BytesIO(tiny_clip(4))) as container:
        theirs = next(container.decode(video=0)).reformat(44, 32, "yuv420p").to_ndarray()[32:]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("clip", "fields", "status", "why"),
    [
        (PAINTING, {}, 422, "The video is not a video in a known format. Accepted: MP4, MOV and WebM"),
        (b"", {}, 422, "The video is empty"),
        (tiny_clip()[:700], {}, 422, "The video is damaged or truncated"),
        (tiny_clip(), {"resolution": "17"}, 422, "resolution"),
        (tiny_clip(), {"strength": "1.5"}, 422, "strength"),
        (tiny_clip(), {"fps": "12"}, 422, "fps"),
    ],
)
def test_what_can_t_be_used_is_refused_with_a_sentence(client, clip, fields, status, why):
    answer = client.post("/style/video", **sent(clip, PAINTING, **fields))
    assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text


def test_bounds_are_settings(settings):
    narrow = {"max_clip_s": 0.2, "max_clip_mb": 1}
    with api(settings.model_copy(update=narrow)) as client:
        long = client.post("/style/video", **sent(tiny_clip(), PAINTING))
        assert (long.status_code, long.json()["title"]) == (422, "Not a usable video")
        assert "is 0.3 s long; at most 0.2 s are accepted" in long.json()["detail"]
        large = client.post("/style/video", **sent(tiny_clip() + bytes(1 << 20), PAINTING))
        assert large.status_code == 413


def test_damage_behind_the_beginning_is_told_to_who_waits_and_in_the_job(client, settings):
    clip = damaged(tiny_clip(24))
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.post("/style/video", **sent(clip, PAINTING))))
    waiting.start()
    eventually(lambda: connect(settings.redis_url, patience_s=5).llen("rq:queue:doppel-inference"))
    run_worker(settings)
    waiting.join()
    assert answers[0].status_code == 422, answers[0].text
    assert "The video is damaged" in answers[0].json()["detail"]
    assert " s" in answers[0].json()["detail"]


def test_the_worker_keeps_the_bound_on_frames_whatever_was_counted(settings):
    held = held_models(settings)
    filming = Filming(width=64, height=48, frames=3, max_frames=3, max_pixels=1 << 20)
    task = Task(
        kind="clip", model="style-by-example", width=64, height=48, painting=Painting(weights=[1]), filming=filming
    )
    with pytest.raises(BadClip, match="has more than 3 frames"):
        list(held.run_in_steps(LoadedTask(task, [pack_file(tiny_clip(4)), decoded(PAINTING)])))


class Interrupting:
    """Held models that, between two frames, see what others see."""

    def __init__(self, held, between):
        self.held, self.between, self.seen = held, between, []

    def run_batch(self, tasks):
        self.seen.append("picture")
        return self.held.run_batch(tasks)

    def run_in_steps(self, task):
        for n, step in enumerate(self.held.run_in_steps(task)):
            self.seen.append(n)
            self.between(n)
            yield step

    def loaded(self):
        return self.held.loaded()


def test_short_jobs_run_in_between_and_a_cancelled_clip_ends(client, settings):
    job = client.post("/style/video", **sent(tiny_clip(), PAINTING, wait="0")).json()
    shown = []

    def between(n):
        if n == 1:
            photo = {"image": ("p.png", PAINTING, "image/png"), "style": ("s.png", PAINTING, "image/png")}
            shown.append(client.post("/style", files=photo, data={"wait": "0"}).json())
        if n == 4:
            shown.append(client.get(job["links"]["self"]).json())
            client.delete(job["links"]["self"])

    held = ResidentModels(Catalog(settings.weights_dir, settings.data_dir), ServingDevice("cpu"), budget_bytes=1 << 30)
    runner = Interrupting(held, between)
    run_worker(settings, runner)
    assert runner.seen == [0, 1, "picture", 2, 3, 4]
    picture, clip = shown
    assert decoded(client.get(picture["links"]["image"]).content).shape == (64, 96, 3)
    assert (clip["status"], 0 < clip["progress"] < 1) == ("running", True)
    assert client.get(job["links"]["self"]).json()["status"] == Status.CANCELED
