"""Fetching upstream weights, from a server on loopback."""

import errno
import http.server
import io
import json
import re
import tarfile
import threading
from unittest.mock import Mock

import pytest
import torch
from filelock import FileLock

from models.cyclegan import ResnetGenerator
from models.errors import CheckpointError, FetchError, ModelUnavailable
from models.store.catalog import Catalog
from models.store.files import sha256
from models.store.model_card import ModelCard, ModelFile
from models.weights import doctor, fetch
from models.weights.architecture import CYCLEGAN

OFFICIAL = {"ngf": 64, "n_blocks": 9}


class Upstream(http.server.BaseHTTPRequestHandler):
    """Serves one file, with ranges; breaks off after ``cut`` bytes when told to."""

    content = b""
    cut: int | None = None
    requests: list[str]

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.requests.append(self.headers.get("Range", "whole"))
        if "absent" in self.path:
            self.send_error(404)
            return
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def upstream():
    handler = type("Handler", (Upstream,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A file like the authors': full size, with the statistics of old PyTorch."""
    state = ResnetGenerator(**OFFICIAL).state_dict()
    legacy = {}
    for key, tensor in state.items():
        legacy[key] = tensor
        if key.endswith(".bias") and not key.startswith("model.26"):
            norm = re.sub(r"\d+\.bias$", lambda match: f"{int(match[0].split('.')[0]) + 1}.", key)
            legacy |= {f"{norm}running_mean": torch.zeros(len(tensor)), f"{norm}running_var": torch.ones(len(tensor))}
    path = tmp_path_factory.mktemp("official") / "horse2zebra.pth"
    torch.save(legacy, path)
    assert len(state) == 48
    assert sum(tensor.numel() for tensor in state.values()) == 11_378_179
    return path.read_bytes()


@pytest.fixture
def catalog(tmp_path, upstream):
    folder = tmp_path / "weights" / "horse2zebra"
    folder.mkdir(parents=True)
    card = ModelCard(
        name="horse2zebra",
        family="cyclegan",
        network=OFFICIAL,
        image_size=256,
        description="for tests",
        licence="none",
        source="tests",
        files=[ModelFile(name="horse2zebra.pth", url=f"{upstream.url}/horse2zebra.pth", format="pytorch")],
    )
    (folder / "model.json").write_text(card.model_dump_json())
    return Catalog(tmp_path / "weights", tmp_path / "data")


def pull(catalog, **options):
    card = catalog.get("horse2zebra").card
    return fetch.fetch(card, catalog.models_dir / "horse2zebra", **options)


def test_whole(catalog, upstream, official, capsys):
    upstream.content = official
    path = pull(catalog)
    model = catalog.get("horse2zebra")
    assert model.availability == "ready"
    assert model.weights == path
    assert model.sha256 == sha256(path)
    assert doctor.load_exactly(path, CYCLEGAN, OFFICIAL).notes == []
    assert "46 unused InstanceNorm statistics" in capsys.readouterr().err
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".fetch.lock", "lock.json", "weights.safetensors"]


def test_interrupted_and_resumed(catalog, upstream, official):
    upstream.content = official
    upstream.cut = 20_000_000
    with pytest.raises(FetchError, match="cannot be reached"):
        pull(catalog)
    upstream.cut = None
    pull(catalog)
    assert upstream.requests[0] == "whole"
    start = int(upstream.requests[1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 20_000_000
    assert catalog.get("horse2zebra").availability == "ready"


def test_changed_after_its_hash_was_pinned(catalog, upstream, official):
    upstream.content = official
    path = pull(catalog)
    path.unlink()
    changed = bytearray(official)
    changed[len(changed) // 2] ^= 1
    upstream.content = bytes(changed)
    with pytest.raises(FetchError, match=r"was pinned when it was first fetched"):
        pull(catalog)
    assert catalog.get("horse2zebra").weights is None
    upstream.content = official
    pull(catalog)
    assert catalog.get("horse2zebra").availability == "ready"


def test_converted_weights_that_were_damaged_are_fetched_again(catalog, upstream, official):
    upstream.content = official
    path = pull(catalog)
    path.write_bytes(path.read_bytes()[:-1])
    pull(catalog)
    assert sha256(path) == catalog.get("horse2zebra").sha256


def test_a_mirror_is_asked_instead(catalog, upstream, official):
    upstream.content = official
    card = catalog.get("horse2zebra").card
    card.files[0].url = "http://127.0.0.1:9/never"
    fetch.fetch(card, catalog.models_dir / "horse2zebra", mirror=f"{upstream.url}/mirror/")
    assert catalog.get("horse2zebra").availability == "ready"


def test_a_failure_is_remembered_for_a_while_and_then_forgotten(catalog, upstream):
    card = catalog.get("horse2zebra").card
    card.files[0].url = f"{upstream.url}/absent.pth"
    folder = catalog.models_dir / "horse2zebra"
    with pytest.raises(FetchError, match="answered 404"):
        fetch.fetch(card, folder)
    assert catalog.get("horse2zebra").availability == "unavailable"
    with pytest.raises(ModelUnavailable, match="answered 404"):
        catalog.resolve("horse2zebra")
    record = folder / "fetch-failed.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"failed_at": 0}))
    assert catalog.get("horse2zebra").availability == "not fetched"


def test_a_disk_without_room_is_said_with_what_to_do(catalog, upstream):
    upstream.content = b"some bytes"
    with pytest.raises(FetchError, match="disk is full"):
        pull(catalog, report=Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    assert catalog.get("horse2zebra").availability == "not fetched"  # the next try may find room


def test_no_network_is_said_within_seconds(catalog):
    card = catalog.get("horse2zebra").card
    card.files[0].url = "http://127.0.0.1:9/horse2zebra.pth"
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch.fetch(card, catalog.models_dir / "horse2zebra")


def test_what_is_no_weights_file_is_refused_and_not_kept(catalog, upstream):
    upstream.content = b"<html>Moved</html>"
    with pytest.raises(CheckpointError, match="is a web page"):
        pull(catalog)
    assert not list(catalog.models_dir.rglob("*.pth*"))


def tarred(**files):
    """A tar archive: the name of a folder → the weights in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, state in files.items():
            content = io.BytesIO()
            torch.save(state, content)
            member = tarfile.TarInfo(f"./checkpoints/{name}/latest_net_G.pth")
            member.size = len(content.getvalue())
            tar.addfile(member, io.BytesIO(content.getvalue()))
    return archive.getvalue()


def test_one_file_of_an_archive_is_taken(catalog, upstream):
    """As CUT's authors publish theirs: all models in one archive."""
    network = {"ngf": 4, "n_blocks": 1, "antialias": True}
    states = {name: ResnetGenerator(**network).state_dict() for name in ("horse_cut", "cat_cut")}
    upstream.content = tarred(**states)
    card = catalog.get("horse2zebra").card
    card.network = network
    card.files = [
        ModelFile(name="all.tar", url=f"{upstream.url}/all.tar", format="pytorch", member="cat_cut/latest_net_G.pth")
    ]
    folder = catalog.models_dir / "horse2zebra"
    path = fetch.fetch(card, folder)
    loaded = doctor.load_exactly(path, CYCLEGAN, network).state
    assert all(torch.equal(loaded[key], tensor) for key, tensor in states["cat_cut"].items())
    assert sorted(entry.name for entry in folder.iterdir()) == [".fetch.lock", "lock.json", "weights.safetensors"]
    path.unlink()
    (folder / "lock.json").unlink()
    for content, words in ((tarred(horse_cut=states["horse_cut"]), "holds 0 files cat_cut/"), (b"<html>", "not a tar")):
        upstream.content = content
        with pytest.raises(CheckpointError, match=words):
            fetch.fetch(card, folder)
        assert [entry.name for entry in folder.iterdir() if "fetch" not in entry.name] == []


def test_a_fetch_waits_for_another_one_of_the_same_model(catalog, upstream, official):
    upstream.content = official
    path = pull(catalog)
    before = list(upstream.requests)
    lock = FileLock(path.parent / ".fetch.lock")
    lock.acquire()
    shares = []

    def report(share):
        shares.append(share)
        lock.release()

    assert pull(catalog, report=report) == path
    assert shares == [0.0]
    assert upstream.requests == before


def test_a_fetch_that_waits_can_be_given_up(catalog):
    folder = catalog.models_dir / "horse2zebra"
    folder.mkdir(parents=True)

    def cancel(share):
        raise KeyboardInterrupt

    with FileLock(folder / ".fetch.lock"), pytest.raises(KeyboardInterrupt):
        pull(catalog, report=cancel)
    assert catalog.get("horse2zebra").availability == "not fetched"
