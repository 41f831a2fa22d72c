"""The page at the root, as it is served; what it does in a browser is tested in tests/studio/."""

import hashlib
import json
import re
from urllib.parse import urljoin

import pytest

from app.settings import Settings
from tests.processes import ROOT, api

FOLDER = ROOT / "app" / "studio"
MOST_BYTES = 120_000  # as they travel
MOST_LINES = 200  # of a module


@pytest.fixture(scope="module")
def client(redis_server, tmp_path_factory):
    """A client of a server without models, which the page's files don't need."""
    folder = tmp_path_factory.mktemp("studio")
    with api(Settings(redis_url=redis_server.url, weights_dir=folder, data_dir=folder / "var")) as connected:
        yield connected


def files_of(client):
    """The addresses that the page names, and those that its modules and styles name in turn."""
    found, todo = {}, ["/"]
    while todo:
        address = todo.pop()
        answer = client.get(address)
        assert answer.status_code == 200, address
        found[address] = answer
        if not answer.headers["Content-Type"].startswith("image/"):
            named = r'(?:src|href)="(studio/[^"]+)' if address == "/" else r'(?:from |import\(|URL\()"(\.[^"]+)'
            linked = {urljoin(address, name) for name in re.findall(named, answer.text)}
            todo += [link for link in linked if link not in found]
    return found


def test_the_page_is_small_and_every_file_of_it_is_there(client):
    found = files_of(client)
    served = {address.split("/", 3)[3] for address in found if address != "/"}
    on_disk = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*") if path.suffix != ".json"}
    assert served == {name for name in on_disk if not name.endswith((".LICENSE", "index.html"))}
    assert sum(int(answer.headers["Content-Length"]) for answer in found.values()) <= MOST_BYTES


def test_its_own_code_is_in_short_lines_and_modules():
    own = [
        path for path in FOLDER.rglob("*.*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts
    ]
    lines = {path.relative_to(FOLDER).as_posix(): path.read_text().splitlines() for path in own}
    assert not [(name, line) for name, read in lines.items() for line in read if len(line) > 120]
    assert not [name for name, read in lines.items() if len(read) > MOST_LINES]


def test_the_page_runs_nothing_but_its_own_files(client):
    answer = client.get("/")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert not {"script-src", "style-src", "connect-src"} & policy.keys()  # so the default holds
    assert "unsafe" not in str(policy)
    assert not re.search(r"<script(?![^>]* src=)|<style|\bon\w+=|style=", answer.text)
    assert client.get("/docs").status_code == 200


def test_files_are_kept_for_good_and_the_page_is_asked_for_again(client):
    page = client.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")

    [script] = re.findall(r'<script type="module" src="([^"]+)"', page.text)
    kept = client.get(f"/{script}")
    assert "immutable" in kept.headers["Cache-Control"]
    assert kept.headers["Content-Type"].startswith("text/javascript")
    assert kept.headers["Content-Encoding"] == "gzip"
    plain = client.get(f"/{script}", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == kept.content == (FOLDER / "main.js").read_bytes()

    of_another_version = re.sub(r"studio/\w+/", "studio/0123456789ab/", script)
    assert client.get(f"/{of_another_version}").headers["Cache-Control"] == "no-cache"
    assert client.get("/studio/x/nothing.js").status_code == 404
    assert client.get("/studio/x/../../main.py").status_code == 404


def test_what_others_wrote_is_as_they_published_it():
    vendored = json.loads((FOLDER / "vendor" / "manifest.json").read_text())
    assert {path.name for path in (FOLDER / "vendor").glob("*.js")} == set(vendored)
    for name, known in vendored.items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == known["sha256"], name
        for licence in known["licences"].values():
            assert (FOLDER / "vendor" / licence).stat().st_size, licence
