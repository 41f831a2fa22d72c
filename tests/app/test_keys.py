"""API keys over HTTP: who is let in, what each key may do and sees, and how much."""

import hashlib
import re
from types import SimpleNamespace

import pytest
import redis

from app.cli import main
from app.server import bound_socket
from app.settings import Settings
from models.errors import PlaceError
from models.store.catalog import Catalog
from models.store.comparisons import ComparedRunRecord, ComparisonRecord, ComparisonStore
from models.store.datasets import DatasetInfo, DomainInfo
from models.store.model_card import ModelCard
from models.store.options import CycleGANOptions
from models.store.run_status import RunState, RunStatus, now
from models.store.runs import RunStore
from models.store.versions import Versions
from tests.pictures import encoded, landscape
from tests.processes import api, eventually
from worker.allowances import Allowance
from worker.connection import connect
from worker.errors import LimitReached
from worker.preparation_queue import Addition, AddTask, PreparationQueue
from worker.training_queue import TrainingQueue

LINES = {
    "ann": "scopes=translate,train",
    "ben": "scopes=translate,train",
    "prom": "scopes=monitor",
    "root": "scopes=admin",
    "slow": "scopes=translate rate=1/min burst=3",
    "few": "scopes=translate jobs=2",
}
OPEN = {"/healthz", "/readyz", "/verify/root"}  # of the calls in the document
PHOTO = encoded(landscape(32, 32))


def secret_of(name):
    return f"a secret of {name}"


def line(name, rest):
    return f"{name} sha256:{hashlib.sha256(secret_of(name).encode()).hexdigest()} {rest}\n"


def key(name):
    return {"Authorization": f"Bearer {secret_of(name)}"}


def describe(folder, name, version=None):
    """Write a model whose weights nobody reads."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"family": "cyclegan", "network": {}, "image_size": 64, "licence": "MIT", "source": "tests"}
    card = ModelCard(name=name, description=name, version=version, files=[{"name": "weights.safetensors"}], **fields)
    (folder / "model.json").write_text(card.model_dump_json())
    (folder / "weights.safetensors").touch()
    return card


@pytest.fixture(scope="module")
def stack(redis_server, tmp_path_factory):
    """Two servers with one Redis, one data folder and one file of keys."""
    redis.Redis.from_url(redis_server.url).flushall()
    root = tmp_path_factory.mktemp("keys")
    describe(root / "weights" / "tiny", "tiny")
    file = root / "keys"
    file.write_text("# who may do what\n\n" + "".join(line(name, rest) for name, rest in LINES.items()))
    places = {"weights_dir": root / "weights", "data_dir": root / "var", "redis_url": redis_server.url}
    settings = Settings(api_keys_file=file, offline=True, **places)
    with api(settings) as one, api(settings) as other:
        yield SimpleNamespace(one=one, other=other, file=file, settings=settings)


@pytest.fixture
def client(stack):
    return stack.one


def order(client, name, **headers):
    form = {"files": {"image": ("photo.png", PHOTO)}, "data": {"model": "tiny", "wait": "0"}}
    return client.post("/translate", headers=key(name) | headers, **form)


def operations(client):
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method, re.sub(r"\{\w+\}", "0", path), operation


def test_without_a_key_nothing_is_open_but_probes_pages_and_the_root_certificate(client):
    for method, path, operation in operations(client):
        answer = client.request(method, path)
        assert (answer.status_code == 401) is (path not in OPEN), path
        assert ("security" in operation) is (path not in OPEN), path
        if path not in OPEN:
            assert answer.headers["www-authenticate"] == 'Bearer realm="Doppel"'
            assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/", "/docs", "/openapi.json", "/docs/openapi.json", "/static-offline-docs/swagger-ui.css"):
        assert client.get(path).status_code == 200, path
    assert client.get("/nothing").status_code == client.get("/studio").status_code == 401
    assert "tiny" not in client.get("/docs/openapi.json").text


@pytest.mark.parametrize(
    "sent", ["Bearer wrong", "Bearer", "Basic YTpi", f"bearer {hashlib.sha256(b'a secret of ann').hexdigest()}", "é"]
)
def test_what_is_no_key_is_refused(client, sent):
    answer = client.get("/models", headers={"Authorization": sent.encode()})
    assert answer.status_code == 401
    assert ("invalid_token" in answer.headers["www-authenticate"]) is sent.lower().startswith("bearer ")


def test_a_key_does_what_its_scopes_say_as_the_document_has_it(client):
    scheme = client.get("/openapi.json").json()["components"]["securitySchemes"]
    assert {(one["type"], one["scheme"]) for one in scheme.values()} == {("http", "bearer")}
    for method, path, operation in operations(client):
        if path in OPEN:
            continue
        [needed] = operation["security"]
        [scopes] = needed.values()
        answer = client.request(method, path, headers=key("prom"))
        assert (answer.status_code == 403) is (scopes not in ([], ["monitor"])), path
        assert {"401", "429"} <= operation["responses"].keys(), path
        if answer.status_code == 403:
            assert f'scope="{scopes[0]}"' in answer.headers["www-authenticate"]
    assert order(client, "prom").status_code == 403
    assert order(client, "root").status_code == 202
    assert client.get("/metrics", headers=key("ann")).status_code == 403
    assert client.get("/metrics", headers=key("prom")).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/datasets", "/models/tiny/archive"])
def test_a_line_break_behind_a_path_opens_nothing(client, path):
    assert client.get(f"{path}%0A", headers=key("slow")).status_code == 404


def test_another_sites_page_is_refused_even_with_a_key(client):
    answer = client.post("/models/none/rollback", headers=key("ann") | {"Origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.json()["title"]) == (403, "Not accepted from another site")


def test_a_job_exists_for_its_own_key_and_for_admins(stack):
    mine = {"X-Client": "x" * 16, "Idempotency-Key": "one"}
    job = order(stack.one, "ann", **mine).json()
    assert job["owner"] == "ann"
    others = order(stack.one, "ben", **mine).json()
    assert others["id"] != job["id"] == order(stack.other, "ann", **mine).json()["id"]
    own = job["links"]["self"]
    for path in (own, f"{own}/image", f"{own}/events"):
        assert stack.other.get(path, headers=key("ben")).status_code == 404, path
    assert stack.one.delete(own, headers=key("ben")).status_code == 404
    assert stack.one.get(own, headers=key("ben")).json() == stack.one.get(
        own.replace(job["id"], "f" * 32), headers=key("ben")
    ).json() | {"detail": f"There is no job {job['id']!r}, or it ended so long ago that its record was deleted."}

    def listed(name, **headers):
        return [one["id"] for one in stack.one.get("/jobs", headers=key(name) | headers).json()]

    assert listed("ann") == listed("ann", **mine) == [job["id"]]
    assert listed("ben") == listed("ben", **mine) == [others["id"]]
    assert {job["id"], others["id"]} <= set(listed("root"))
    assert not listed("prom")
    page = stack.one.get("/jobs?limit=1", headers=key("root"))
    following = stack.one.get(page.links["next"]["url"], headers=key("root")).json()
    assert [page.json()[0]["id"], following[0]["id"]] == listed("root")[:2]
    assert stack.one.delete(own, headers=key("root")).json()["status"] == "canceled"


@pytest.fixture(scope="module")
def belongings(stack):
    """What Ann has made: a data set, a run, a comparison and a model; and what the operator has."""
    data = stack.settings.data_dir
    for name, owner in (("anns", "ann"), ("operators", None)):
        for domain in "AB":
            (data / "datasets" / name / f"train{domain}").mkdir(parents=True)
        info = DatasetInfo(
            name=name,
            layout="unpaired",
            domains=dict.fromkeys("AB", DomainInfo(train=2)),
            created_at=now(),
            nbytes=4,
            owner=owner,
        )
        (data / "datasets" / name / "dataset.json").write_text(info.model_dump_json())
    runs = RunStore(data)
    times = {"created_at": now(), "updated_at": now()}
    options = CycleGANOptions(dataset=data / "datasets" / "anns")
    status = RunStatus(status=RunState.STOPPED, dataset="anns", family="cyclegan", owner="ann", **times)
    run = runs.create(options, status)
    comparison = ComparisonStore.new_id()
    compared = ComparedRunRecord(id=run, label="one", options={})
    record = ComparisonRecord(family="cyclegan", created_at=now(), owner="ann", runs=[compared])
    ComparisonStore(data).write(comparison, record)
    versions = Versions(Catalog(stack.settings.weights_dir, data), data)
    versions.add("anns-model", lambda folder, version: describe(folder, "anns-model", version), owner="ann")
    return SimpleNamespace(run=run, comparison=comparison, versions=versions)


def test_data_sets_runs_and_comparisons_exist_for_their_own_key_and_for_admins(client, belongings):
    run, comparison = f"/training/{belongings.run}", f"/training/compare/{belongings.comparison}"
    paths = ["/datasets/anns", run, f"{run}/metrics", f"{run}/log", f"{run}/events", f"{run}/samples", comparison]
    for path in paths:
        assert client.get(path, headers=key("ann")).status_code == 200, path
        assert client.get(path, headers=key("ben")).status_code == 404, path
        assert client.get(path, headers=key("root")).status_code == 200, path
    for path in (f"{run}/stop", f"{run}/resume", f"{comparison}/stop"):
        assert client.post(path, headers=key("ben")).status_code == 404, path
    for path in ("/datasets/anns", "/datasets/anns/preview", run, comparison, f"{comparison}/picture"):
        assert client.delete(path, headers=key("ben")).status_code in (404, 405), path
    publication = {"name": "stolen"}
    assert client.post(f"{run}/publish", json=publication, headers=key("ben")).status_code == 404

    def names(path, field, name):
        return [one[field] for one in client.get(path, headers=key(name)).json()]

    assert names("/datasets", "name", "ann") == ["anns"]
    assert names("/datasets", "name", "ben") == names("/training", "id", "ben") == []
    assert names("/datasets", "name", "root") == ["anns", "operators"]
    assert names("/training", "id", "ann") == names("/training", "id", "root") == [belongings.run]
    assert names("/training/compare", "id", "ben") == []
    assert names("/training/compare", "id", "ann") == [belongings.comparison]


@pytest.mark.parametrize("dataset", ["anns", "operators", "none"])
def test_who_trains_on_anothers_data_set_reads_that_there_is_none(client, belongings, dataset):
    for path, body in (
        ("cyclegan", {"dataset": dataset}),
        ("compare", {"family": "cyclegan", "base": {"dataset": dataset}, "grid": {"seed": [1, 2]}}),
    ):
        answer = client.post(f"/training/{path}?dry_run=true", json=body, headers=key("ben"))
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"There is no data set {dataset!r}. Data sets: none."


def test_a_published_model_serves_everybody_and_is_its_owners_to_change(stack, belongings):
    client = stack.one
    assert client.get("/models/anns-model", headers=key("ben")).json()["can_be_removed"] is False
    assert client.get("/models/anns-model", headers=key("ann")).json()["can_be_removed"] is True
    for method, path in (("POST", "/models/anns-model/rollback"), ("DELETE", "/models/anns-model")):
        answer = client.request(method, path, headers=key("ben"))
        assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")
    own = client.post("/models/anns-model/rollback", headers=key("ann"))
    assert own.status_code == 409  # there is no version before it
    assert client.delete("/models/tiny", headers=key("ben")).status_code == 409  # nobody's: it ships
    with pytest.raises(Exception, match="published with another API key"):
        belongings.versions.add("anns-model", describe, owner="ben", is_ours=lambda owner: owner == "ben")
    belongings.versions.add("anns-model", lambda folder, version: describe(folder, "anns-model", version), owner="root")
    assert belongings.versions.owner("anns-model") == "ann"
    assert client.delete("/models/anns-model", headers=key("ann")).status_code == 204


def test_a_rate_holds_for_all_processes_together_and_does_not_count_reading(stack):
    servers = [stack.one, stack.other] * 2
    answers = [order(server, "slow") for server in servers]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "1 orders or changes a minute, 3 at once" in answers[-1].json()["detail"]
    assert stack.one.get("/models", headers=key("slow")).status_code == 200
    assert order(stack.one, "ann").status_code == 202


def test_jobs_in_hand_are_bounded_for_all_processes_together(stack):
    first, second = (order(server, "few").json() for server in (stack.one, stack.other))
    connection = connect(str(stack.settings.redis_url), patience_s=1)
    before = set(connection.keys("doppel:input:*")) | set(connection.keys("doppel:history:*"))
    for headers in ({}, {"Idempotency-Key": "two"}):
        refused = order(stack.one, "few", **headers)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
    assert set(connection.keys("doppel:input:*")) | set(connection.keys("doppel:history:*")) == before
    stack.one.delete(second["links"]["self"], headers=key("few"))
    assert order(stack.one, "few", **{"Idempotency-Key": "two"}).status_code == 202
    assert order(stack.one, "few").status_code == 429
    assert stack.one.get(first["links"]["self"], headers=key("few")).status_code == 200


def test_uploads_and_runs_count_too(redis_url):
    connection = connect(redis_url, patience_s=1)
    task = AddTask(label="a file", addition=Addition(name="new"), max_bytes=1, torch=False, owner="few")
    queue = PreparationQueue(connection)
    queue.submit_addition("a" * 32, task, Allowance.of_jobs("few", 1))
    with pytest.raises(LimitReached):
        queue.submit_addition("b" * 32, task, Allowance.of_jobs("few", 1))
    runs = Allowance.of_runs("few", 3)
    runs.take(connection, ["one", "other"])
    with pytest.raises(LimitReached):  # all or none
        runs.take(connection, ["third", "fourth"])
    runs.take(connection, ["third", "one"])


def test_a_run_that_is_withdrawn_leaves_its_place_at_once(redis_url):
    queue = TrainingQueue(connect(redis_url, patience_s=1))
    one = Allowance.of_runs("few", 1)
    queue.take_allowance(one, ["first"])
    queue.submit("first", 1)
    with pytest.raises(LimitReached) as refused:
        queue.take_allowance(one, ["second"])
    assert refused.value.retry_after_s > 60
    assert queue.withdraw("first", 1)
    queue.take_allowance(one, ["second"])


def test_a_key_goes_when_its_line_goes(stack, caplog):
    text = stack.file.read_text()
    try:
        stack.file.write_text(text + line("eve", "scopes=translate # for a week") + line("eve2", "scopes=translate"))
        eventually(lambda: stack.one.get("/models", headers=key("eve")).status_code == 200)
        stack.file.write_text(text + "eve2 is no line of a key")

        def kept():
            assert stack.one.get("/models", headers=key("eve")).status_code == 200
            return "the API keys stay as they were" in caplog.text

        eventually(kept)
        stack.file.write_text(text)
        eventually(lambda: stack.one.get("/models", headers=key("eve")).status_code == 401)
        assert stack.one.get("/models", headers=key("ann")).status_code == 200
    finally:
        stack.file.write_text(text)


HASH = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ann", "line 1: after the name 'ann' the hash is missing"),
        ("ann sha256:12 scopes=train", "the hash is missing"),
        (f"a/b {HASH} scopes=train", "'a/b' can't name a key"),
        (f"ann {HASH}", "'' is no scope; scopes are translate, train, monitor, admin"),
        (f"ann {HASH} scopes=train,all", "'all' is no scope"),
        (f"ann {HASH} scopes=train rate=0/s", "rate=0 is no number"),
        (f"ann {HASH} scopes=train jobs=0", "jobs=0 is no number"),
        (f"ann {HASH} scopes=train burst=3", "burst= needs a rate="),
        (f"ann {HASH} scopes=train limit=3", "'limit=3' is neither"),
        (f"ann {HASH} scopes=train; ben {HASH} scopes=train", "line 2: the key 'ben' has the hash of another one"),
    ],
)
def test_a_line_that_cannot_be_used_stops_the_start(text, complaint, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DOPPEL_API_KEYS", text)
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DOPPEL_PORT", "0")
    assert main(["api"]) == 1
    assert complaint in capsys.readouterr().err


def test_a_network_is_let_in_by_keys_or_on_purpose_alone(tmp_path):
    file = tmp_path / "keys"
    with pytest.raises(PlaceError, match=r"DOPPEL_API_KEYS_FILE: .* can't be read"):
        bound_socket(Settings(host="127.0.0.1", port=0, api_keys_file=file))
    with pytest.raises(PlaceError, match=r"DOPPEL_HOST is 0\.0\.0\.0.*DOPPEL_ALLOW_ANONYMOUS=1"):
        bound_socket(Settings(host="0.0.0.0", port=0))
    file.write_text(line("ann", "scopes=train"))
    for options in ({"host": "127.0.0.1"}, {"api_keys_file": file}, {"allow_anonymous": True}):
        bound_socket(Settings(port=0, **({"host": "0.0.0.0"} | options))).close()


def test_a_new_key_is_told_once_and_its_line_lets_it_in(stack, capsys):
    limits = ["--rate", "5/s", "--burst", "9", "--jobs", "4", "--runs", "1"]
    assert main(["key", "new", "zoe", "--scope", "train", "--scope", "translate", *limits]) == 0
    told = capsys.readouterr()
    [secret] = re.findall(r"doppel_[\w-]{43}", told.err)
    assert told.out == f"zoe sha256:{hashlib.sha256(secret.encode()).hexdigest()} scopes=train,translate rate=5/s " + (
        "burst=9 jobs=4 runs=1\n"
    )
    settings = stack.settings.model_copy(update={"api_keys": told.out, "api_keys_file": None})
    with api(settings) as client:
        answer = client.get("/models", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    assert main(["key", "new", "zoe", "--scope", "all"]) == 1
    assert "'all' is no scope" in capsys.readouterr().err
