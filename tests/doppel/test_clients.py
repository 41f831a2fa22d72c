"""The Python client against a real server and worker."""

import inspect
import re
import subprocess
import sys

import httpx
import numpy as np
import pytest

import doppel
from tests.app.test_translate import picture
from tests.doppel.conftest import public
from tests.fake_worker import HELD, RAISES
from tests.pictures import decoded, encoded, landscape
from tests.processes import ROOT

PHOTO = encoded(landscape())
INVERTED = 255 - np.asarray(landscape())


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PHOTO)
    return path


@pytest.mark.parametrize(
    "as_given", [str, lambda path: path, lambda path: path.read_bytes()], ids=["str", "path", "bytes"]
)
def test_a_picture_is_translated(server, photo, as_given):
    made = server.translate(as_given(photo), "tiny")
    assert (made.media_type, made.model, made.notes, made.seeds) == ("image/png", "tiny", "", [])
    assert (decoded(made.save(photo.with_name("painted.png")).read_bytes()) == INVERTED).all()


def test_a_client_follows_the_job_of_its_picture(server, go):
    seen = []

    def see(job):
        seen.append(job)
        go()

    made = server.translate(picture(HELD), "tiny", format="webp", on_progress=see)
    assert made.media_type == "image/webp"
    assert {job.id for job in seen} == {made.job_id}
    assert (seen[-1].status, seen[-1].progress, seen[-1].kind) == ("succeeded", 1.0, "translation")
    assert [job.id for job in server.jobs()] == [made.job_id]
    assert server.job(made.job_id) == seen[-1]


def test_work_is_ordered_now_and_fetched_later(server, go):
    first, second = (server.order("/translate", {"image": picture(HELD)}, model="tiny") for _ in range(2))
    assert [job.id for job in server.jobs()] == [second.id, first.id]
    assert server.cancel(second).status == "canceled"
    with pytest.raises(doppel.ApiError) as caught:
        server.wait(second)
    assert (caught.value.status, caught.value.job_id) == (409, second.id)
    go()
    ended = server.wait(first.id)
    assert ended.ended
    assert decoded(server.picture(ended, "png").content).shape == (32, 32, 3)
    assert [job.id for job in server.jobs(1, second.id)] == [first.id]


def test_jobs_of_other_clients_are_not_listed(connect, service):
    url = str(service.base_url)
    mine, other = connect(url), connect(url)
    job = mine.order("/translate", {"image": PHOTO}, model="tiny")
    same = connect(url, client_name=mine.client_name)
    assert [one.id for one in same.jobs()] == [job.id]
    assert other.jobs() == []


def test_a_refusal_is_the_problem_document_of_the_api(server, service):
    form = {"files": {"image": ("a.png", b"no picture")}, "data": {"model": "tiny"}}
    answer = service.post("/translate", **form).json()
    with pytest.raises(doppel.ApiError, match="Not a usable picture") as caught:
        server.translate(b"no picture", "tiny")
    error = caught.value
    assert (error.status, error.title, error.detail) == (422, answer["title"], answer["detail"])
    with pytest.raises(doppel.ApiError) as caught:
        server.job("nothing")
    assert caught.value.status == 404


@pytest.mark.parametrize("follow", [None, lambda job: None], ids=["waited for", "followed"])
def test_a_job_that_fails_is_an_error_that_names_it(server, follow):
    with pytest.raises(doppel.ApiError) as caught:
        server.translate(picture(RAISES), "tiny", on_progress=follow)
    error = caught.value
    assert (error.status, error.code) == (500, "translation_failed")
    assert server.job(error.job_id).status == "failed"


def test_a_folder_is_translated_with_what_fails_told(server, tmp_path):
    for name, content in {"a.png": PHOTO, "b.jpg": b"no picture", "c.PNG": PHOTO, "notes.txt": b"none"}.items():
        (tmp_path / name).write_bytes(content)
    told = []
    into = tmp_path / "made" / "here"
    made = server.translate_folder(
        tmp_path, into, "tiny", at_once=2, format="webp", on_progress=lambda *progress: told.append(progress)
    )
    assert [one.source.name for one in made] == ["a.png", "b.jpg", "c.PNG"]
    assert [one.target and one.target.name for one in made] == ["a.png.webp", None, "c.PNG.webp"]
    assert made[1].error.status == 422
    assert {path.name for path in into.iterdir()} == {"a.png.webp", "c.PNG.webp"}
    assert [(done, total) for done, total, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert {one.source for _, _, one in told} == {one.source for one in made}


class LosesTheAnswer(httpx.HTTPTransport):
    """A network that breaks when the first answer is on its way."""

    lost = False

    def handle_request(self, request):
        answer = super().handle_request(request)
        if not self.lost:
            self.lost = True
            answer.read()
            raise httpx.ReadError("the connection broke")
        return answer


def test_a_request_whose_answer_was_lost_makes_one_job(service):
    with doppel.Doppel(str(service.base_url), transport=LosesTheAnswer()) as client:
        made = client.translate(PHOTO, "tiny")
        assert (decoded(made.content) == INVERTED).all()
        assert [job.id for job in client.jobs()] == [made.job_id]


def test_the_models_are_listed(server):
    assert [model["name"] for model in server.models()] == ["missing", "tiny"]
    with pytest.raises(doppel.ApiError, match="already") as caught:
        server.fetch_model("tiny")
    assert caught.value.status == 409


def test_it_is_imported_without_anything_of_the_service():
    script = "import sys, httpx; had = set(sys.modules); import doppel; print(*(set(sys.modules) - had))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert packages - set(sys.stdlib_module_names) == {"doppel"}


def test_both_clients_have_the_same_methods_and_every_one_says_what_it_raises():
    blocking, awaited = public(doppel.Doppel), public(doppel.AsyncDoppel)
    own = {"carry_out", "close", "aclose"}
    assert blocking.keys() - own == awaited.keys() - own
    for name in blocking.keys() - own:
        assert inspect.iscoroutinefunction(awaited[name]), name
        assert inspect.signature(blocking[name]) == inspect.signature(awaited[name])
        assert "Raises:\n" in blocking[name].__doc__, name
    assert inspect.signature(doppel.Doppel.train).return_annotation is doppel.Run
    assert all(getattr(doppel, name).__doc__ for name in doppel.__all__)


def test_every_call_is_one_of_the_api(service, connect):
    """With what it needs given as "1", each sends a method to a path that the OpenAPI document has."""
    sent = set()

    def handle(request):
        sent.add((request.method, request.url.path))
        return httpx.Response(404, json={"title": "Not found", "detail": "nothing"})

    scripted = connect("http://test", transport=httpx.MockTransport(handle))
    given = {"image": PHOTO, "style": PHOTO, "reference": PHOTO, "path": "/style", "files": {}, "source": __file__}
    given |= {"file": __file__, "family": "cyclegan"}
    calls = public(doppel.Doppel).keys() - {"carry_out", "close", "translate_folder"}
    for name in calls:
        parameters = list(inspect.signature(getattr(doppel.Doppel, name)).parameters.values())[1:]
        needed = [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
        with pytest.raises(doppel.ApiError, match="nothing"):
            getattr(scripted, name)(*(given.get(one, "1") for one in needed))
    described = service.get("/openapi.json").json()["paths"]
    known = [
        (method.upper(), re.sub("{.*?}", "[^/]+", path)) for path, methods in described.items() for method in methods
    ]
    for method, path in sent:
        assert any(method == one and re.fullmatch(pattern, path) for one, pattern in known), (method, path)
    assert len(sent) == len(calls) - 2  # order and forecast send to where others do
