"""Data sets over HTTP: what is accepted, what is refused, and that nothing of a refused upload stays."""

import contextlib
import io
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

import doppel
from app import uploads
from app.settings import Settings
from models.errors import ArchiveError, DatasetError, UnknownDataset
from models.store import files
from models.store.archives import Archive, Limits
from models.store.datasets import DatasetStore
from tests.archives import BAD, GOOD, colored, slow, unpaired, zipped
from tests.pictures import encoded, landscape
from tests.processes import api, api_process, eventually, fake_worker, preparer
from tests.training import add_dataset
from worker.embedded_redis import EmbeddedRedis
from worker.errors import QueueUnreachable


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One service with a preparer for the whole file: its settings, and a client. Tests remove what they made."""
    root = tmp_path_factory.mktemp("datasets")
    server = EmbeddedRedis(root / "redis")
    server.start()
    settings = Settings(redis_url=server.url, data_dir=root / "var", device="cpu", offline=True)
    with api(settings) as client, preparer(settings, "imports"):
        yield settings, client
    server.stop()


@pytest.fixture
def settings(stack):
    return stack[0]


@pytest.fixture
def redis_url(settings):
    return settings.redis_url


@pytest.fixture
def client(stack, settings):
    yield stack[1]
    for name in DatasetStore(settings.data_dir).names():
        shutil.rmtree(settings.data_dir / "datasets" / name)


def upload(client, archive, name="pictures", **fields):
    return client.post("/datasets", files={"archive": ("a.zip", archive)}, data={"name": name, **fields})


@pytest.mark.parametrize("layout", GOOD)
def test_a_known_layout_is_taken(client, layout):
    answer = upload(client, GOOD[layout])
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/datasets/pictures"
    found = client.get("/datasets/pictures").json()
    assert found == answer.json()
    assert all(domain == {"train": 3, "held_out": 1} for domain in found["domains"].values())
    assert [one["name"] for one in client.get("/datasets").json()] == ["pictures"]
    preview = Image.open(io.BytesIO(client.get("/datasets/pictures/preview").content))
    assert preview.height == 128 * len(found["domains"])


def test_an_upload_that_is_sent_again_under_its_key_is_answered_as_before(client):
    def send(archive, name):
        form = {"files": {"archive": ("a.zip", archive)}, "data": {"name": name}}
        return client.post("/datasets", **form, headers={"Idempotency-Key": f"the-{name}"})

    first, again = (send(GOOD["trainA and trainB"], "pictures") for _ in range(2))
    assert first.status_code == again.status_code == 201, again.text
    assert again.json() == first.json()
    assert again.headers["Location"] == "/datasets/pictures"
    refused = [send(zipped({}), "bad") for _ in range(2)]
    assert [answer.status_code for answer in refused] == [422, 422]
    assert refused[0].json() == refused[1].json()


def test_the_python_client_uploads_a_folder(client, tmp_path):
    for name, picture in unpaired().items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(picture)
    sent, seen = [], []
    with doppel.Doppel(str(client.base_url), trust_env=False) as connected:
        made = connected.upload_dataset("mine", tmp_path / "mine", on_sent=sent.append, on_progress=seen.append)
        assert made["domains"] == {"A": {"train": 3, "held_out": 1}, "B": {"train": 3, "held_out": 1}}
        assert connected.datasets() == [made]
    assert sent == sorted(sent)
    assert sent[-1] == 1.0
    assert seen[-1].kind == "dataset"


def ended(client, job):
    return client.get(job).json()["status"] in ("succeeded", "failed", "canceled")


def left(root):
    """What is left of an upload while it is being removed."""
    with contextlib.suppress(FileNotFoundError):
        return [path for path in root.rglob("*") if path.name != ".incoming"]
    return root


@pytest.mark.parametrize("what", BAD)
def test_a_bad_archive_is_refused_and_leaves_nothing(client, settings, what, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 500)
    make, words = BAD[what]
    archive = make()
    answer = upload(client, archive)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert client.get("/datasets").json() == []
    eventually(lambda: not left(settings.data_dir / "datasets"))


def test_bad_files_are_listed_and_left_out_and_duplicates_reported(client):
    turned = Image.Exif()
    turned[0x0112] = 6
    archive = zipped(
        unpaired()
        | {
            "trainA/text.jpg": b"no picture",
            "trainA/cut.jpg": colored(7)[:300],
            "trainA/tiny.png": encoded(landscape(8, 8)),
            "trainA/same.png": colored(0),
            "trainA/palette.png": encoded(landscape().convert("P")),
            "trainB/turned.jpg": encoded(landscape(96, 64), "JPEG", exif=turned),
            "trainA/deeper/x.jpg": colored(9),
            "notes.txt": b"hello",
        }
    )
    found = upload(client, archive).json()
    reasons = {bad["file"]: bad["why"] for bad in found["rejected"]}
    assert set(reasons) == {
        "trainA/text.jpg",
        "trainA/cut.jpg",
        "trainA/tiny.png",
        "trainA/deeper/x.jpg",
        "notes.txt",
    }
    assert "no place in the layout" in reasons["notes.txt"]
    assert reasons["trainA/text.jpg"] == "is not a picture in a known format"
    assert found["rejected_count"] == len(found["rejected"])
    assert found["duplicates"] == [["trainA/0.jpg", "trainA/same.png"]]
    assert found["domains"]["A"]["train"] == 5
    assert found["largest_px"] == [96, 64] or found["largest_px"] == [64, 96]


def test_a_bad_picture_is_listed_however_many_other_files_there_are(client):
    others = {f"notes/{n:04}.txt": b"x" for n in range(1500)}
    found = upload(client, zipped(unpaired() | others | {"trainA/bad.jpg": b"no picture"})).json()
    assert found["rejected"][0]["file"] == "trainA/bad.jpg"
    assert (len(found["rejected"]), found["rejected_count"]) == (1000, 1501)


def test_a_directory_that_takes_more_memory_than_files_do_is_not_read(tmp_path):
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        for name, data in unpaired().items():
            info = zipfile.ZipInfo(name)
            info.comment = bytes(60_000)
            archive.writestr(info, data)
    (tmp_path / "archive.zip").write_bytes(commented.getvalue())
    with pytest.raises(ArchiveError, match="directory has"):
        Archive(tmp_path / "archive.zip", Limits(total_bytes=1 << 30, files=100, file_bytes=1 << 16))


def test_a_removal_that_cannot_ask_who_needs_the_data_set_leaves_it(client, settings):
    upload(client, zipped(unpaired()))
    store = DatasetStore(settings.data_dir)

    def unreachable():
        assert not asked or not store.names()  # the second time it is out of sight
        asked.append(1)
        if len(asked) == 2:
            raise QueueUnreachable("gone")
        return []

    asked = []
    with pytest.raises(QueueUnreachable):
        store.remove("pictures", users=unreachable)
    assert client.get("/datasets/pictures").status_code == 200


def test_what_a_killed_process_was_removing_is_swept_away_after_a_day(tmp_path, monkeypatch):
    for name in (".removed-old", "kept"):
        (tmp_path / name).mkdir()
    files.sweep(tmp_path)
    assert (tmp_path / ".removed-old").is_dir()
    monkeypatch.setattr(files, "STALE_S", -1)
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_picture_is_stored_as_viewers_show_it_and_untouched_if_that_is_what_it_holds(client, settings):
    turned = Image.Exif()
    turned[0x0112] = 6
    camera = encoded(landscape(), "MPO", save_all=True, append_images=[landscape()])  # a JPEG with a second picture
    dark = np.linspace(0, 4095, 40 * 40).reshape(40, 40).astype(np.uint16)  # 12 bits stored in 16
    pictures = {
        "trainA/turned.jpg": encoded(landscape(96, 64), "JPEG", exif=turned),
        "trainA/camera.jpg": camera,
        "trainA/dark.png": encoded(Image.fromarray(dark)),
        "trainA/clear.png": encoded(Image.new("RGBA", (32, 32))),
    }
    found = upload(client, zipped(unpaired() | pictures)).json()
    stored = settings.data_dir / "datasets" / "pictures" / "trainA"
    assert (stored / "camera.jpg").read_bytes() == camera
    with Image.open(stored / "turned.png") as kept:
        assert (kept.size, kept.mode) == ((64, 96), "RGB")
    assert (np.asarray(Image.open(stored / "clear.png")) == 255).all()
    assert np.asarray(Image.open(stored / "dark.png")).mean() == pytest.approx(127.5, abs=1)
    assert [note["file"] for note in found["notes"]] == ["trainA/dark.png"]
    assert "from black to white" in found["notes"][0]["note"]


def test_not_waited_for_the_answer_is_a_job(client):
    answer = upload(client, GOOD["named domains"], wait=0)
    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["dataset"]) == ("dataset", "pictures")
    assert answer.headers["Location"] == job["links"]["self"]
    eventually(lambda: client.get(job["links"]["self"]).json()["status"] == "succeeded")
    assert client.get(job["links"]["dataset"]).status_code == 200
    assert client.get(f"{job['links']['self']}/image").status_code == 409
    with client.stream("GET", job["links"]["events"]) as events:
        assert '"succeeded"' in events.read().decode()


def test_a_failed_job_says_why(client):
    job = upload(client, BAD["encrypted"][0](), wait=0).json()["links"]["self"]
    eventually(lambda: client.get(job).json()["status"] == "failed")
    assert "encrypted" in client.get(job).json()["error"]["detail"]


def test_an_import_can_be_canceled(client, settings):
    job = upload(client, slow(), wait=0).json()["links"]["self"]
    assert client.delete(job).status_code == 200
    incoming = settings.data_dir / "datasets" / ".incoming"
    eventually(lambda: not list(incoming.iterdir()))
    assert client.get("/datasets").json() == []
    assert client.get(job).json()["status"] == "canceled"


def test_an_import_that_was_canceled_at_the_last_moment_makes_no_data_set(client, queue):
    answer = upload(client, GOOD["named domains"], wait=0)
    queue.cancel(answer.json()["id"])  # a data set of nine small pictures is ready within a moment
    job = answer.headers["Location"]
    eventually(lambda: ended(client, job))
    state = client.get(job).json()["status"]
    assert state in ("canceled", "succeeded")
    assert client.get("/datasets/pictures").status_code == (404 if state == "canceled" else 200)


def test_a_cancellation_is_either_refused_or_keeps_its_word(client, settings):
    archive = zipped(unpaired())
    started = time.monotonic()
    upload(client, archive, name="measured").raise_for_status()
    took_s = time.monotonic() - started
    kept = {"measured"}
    for n in range(12):
        job = upload(client, archive, name=f"pictures-{n}", wait=0).json()["links"]["self"]
        time.sleep(took_s * (0.7 + 0.05 * n))
        if client.delete(job).status_code != 200:
            kept.add(f"pictures-{n}")
        eventually(lambda job=job: ended(client, job))
    incoming = settings.data_dir / "datasets" / ".incoming"
    eventually(lambda: not list(incoming.iterdir()))
    assert {found["name"] for found in client.get("/datasets").json()} == kept


def test_an_import_survives_the_server_that_accepted_it(client, settings):
    with fake_worker(settings.redis_url), api_process(settings) as (server, other):
        job = upload(other, slow(40), wait=0).json()["links"]["self"]
        server.kill()
        server.wait()
    eventually(lambda: ended(client, job))
    assert client.get(job).json()["status"] == "succeeded"
    assert client.get("/datasets/pictures").json()["domains"]["A"]["train"] == 40


def test_without_a_preparer_an_upload_is_refused_and_leaves_nothing(tmp_path, weights_dir):
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    with api(Settings(redis_url=server.url, data_dir=tmp_path / "var", weights_dir=weights_dir)) as alone:
        answer = upload(alone, GOOD["trainA and trainB"])
    server.stop()
    assert answer.status_code == 503
    assert "No preparer was heard of for 30 s" in answer.json()["detail"]
    assert "Retry-After" in answer.headers
    assert not left(tmp_path / "var" / "datasets")


def test_many_domains_fit_into_a_preview(client):
    files = {f"train/{domain:03}/{n}.png": encoded(landscape(16, 16)) for domain in range(520) for n in range(2)}
    assert upload(client, zipped(files)).status_code == 201
    assert Image.open(io.BytesIO(client.get("/datasets/pictures/preview").content)).height == 100 * 128


def test_sixteen_bits_of_grey_are_not_cut_off(client, settings):
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    upload(client, zipped(unpaired() | {"trainA/deep.png": encoded(Image.fromarray(ramp))}))
    with Image.open(settings.data_dir / "datasets" / "pictures" / "trainA" / "deep.png") as kept:
        assert np.asarray(kept)[..., 0].mean() == pytest.approx(127.5, abs=1)


def test_a_data_set_that_an_operator_renamed_goes_by_its_folders_name(client, settings):
    upload(client, GOOD["named domains"], name="before")
    root = settings.data_dir / "datasets"
    (root / "before").rename(root / "after")
    assert upload(client, GOOD["trainA and trainB"], name="before").status_code == 201
    assert client.get("/datasets/after").json()["name"] == "after"
    assert client.delete("/datasets/after").status_code == 204
    assert [one["name"] for one in client.get("/datasets").json()] == ["before"]


def test_a_name_is_taken_once(client):
    assert upload(client, GOOD["named domains"]).status_code == 201
    assert upload(client, GOOD["trainA and trainB"]).status_code == 409
    assert client.delete("/datasets/pictures").status_code == 204
    assert client.get("/datasets/pictures").status_code == 404
    assert upload(client, GOOD["trainA and trainB"]).status_code == 201


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 65, "ümlaut", "a b"])
def test_a_name_that_is_none_is_refused(client, name):
    assert upload(client, GOOD["named domains"], name=name).status_code == 422


def test_an_operators_folder_is_recognised(client, settings):
    for domain in "AB":
        folder = settings.data_dir / "datasets" / "by-hand" / f"train{domain}"
        folder.mkdir(parents=True)
        for n in range(2):
            (folder / f"{n}.jpg").write_bytes(colored(n))
    found = client.get("/datasets/by-hand").json()
    assert found["domains"] == {"A": {"train": 2, "held_out": 0}, "B": {"train": 2, "held_out": 0}}
    assert client.get("/datasets/by-hand/preview").headers["content-type"] == "image/jpeg"


def test_pictures_of_an_operators_folder_that_no_decoder_takes_are_not_shown(client, settings):
    png = bytearray(encoded(landscape(), "PNG"))
    png[8:16] = b"\xff\xff\xff\xffIHDR"  # a first chunk longer than the file
    for domain in "AB":
        folder = settings.data_dir / "datasets" / "by-hand" / f"train{domain}"
        folder.mkdir(parents=True)
        for n, content in enumerate((colored(0), bytes(png), b"\x89PNG\r\n\x1a\n\0\0\0\0IHDR", bytes(png[:30]))):
            (folder / f"{n}.png").write_bytes(content)
    assert client.get("/datasets/by-hand/preview").status_code == 200


def test_archives_may_be_larger_than_pictures_but_not_by_any_length(settings):
    archive = zipped(unpaired() | {"notes.bin": bytes(3 << 20)})
    limits = {"max_upload_mb": 1, "max_dataset_mb": 4}
    with api(settings.model_copy(update=limits)) as client:
        assert upload(client, archive).status_code == 201
        answer = upload(client, archive + bytes(3 << 20), name="larger")
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_data_set_that_comes_and_goes_is_no_error(tmp_path):
    store = DatasetStore(tmp_path)
    place = add_dataset(tmp_path, "passing")
    over = threading.Event()

    def come_and_go():
        while not over.is_set():
            place.rename(tmp_path / "away").rename(place)

    mover = threading.Thread(target=come_and_go)
    mover.start()
    try:
        for _ in range(2000):
            assert {info.name for info in store.all()} <= {"passing"}
            with contextlib.suppress(UnknownDataset, DatasetError):
                assert store.preview("passing")
    finally:
        over.set()
        mover.join()
