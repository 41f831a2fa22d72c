"""Behind a reverse proxy that publishes the API under a prefix, whether or not it removes the prefix from requests."""

import io
import re
from urllib.parse import urljoin

import pytest

from tests.archives import unpaired, zipped
from tests.pictures import encoded, landscape
from tests.processes import api

PREFIX = "/pictures/doppel"


@pytest.fixture
def behind(settings):
    """A client of the API as a proxy is one."""
    with api(settings.model_copy(update={"root_path": PREFIX, "max_upload_mb": 1})) as client:
        yield client


@pytest.mark.parametrize("sent", ["", PREFIX], ids=["removed", "kept"])
def test_links_work_for_the_proxys_clients(behind, sent):
    fields = {"model": "tiny", "wait": "0", "resolution": "32"}
    answer = behind.post(f"{sent}/translate", files={"image": encoded(landscape())}, data=fields)
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"{PREFIX}/jobs/{job['id']}"
    assert job["links"]["image"] == f"{PREFIX}/jobs/{job['id']}/image"
    assert behind.get(job["links"]["self"].removeprefix("" if sent else PREFIX)).json()["id"] == job["id"]
    assert behind.get(f"{sent}/models/tiny").is_success
    assert behind.get(f"{sent}/nothing").status_code == 404


@pytest.mark.parametrize("sent", ["", PREFIX], ids=["removed", "kept"])
def test_the_documentation_finds_its_files_and_its_server(behind, sent):
    page = behind.get(f"{sent}/docs").text
    for file in re.findall(r'(?:src|href|url)\s*[=:]\s*[\'"]([^\'"]+)', page):
        found = behind.get(urljoin(f"{sent}/docs", file))
        assert found.is_success, file
    assert behind.get(f"{sent}/openapi.json").json()["servers"] == [{"url": PREFIX}]
    shown = behind.get(f"{sent}/docs/openapi.json").json()["servers"][0]["url"]
    assert urljoin(f"{PREFIX}/docs/openapi.json", shown).rstrip("/") == PREFIX


@pytest.mark.parametrize("sent", ["", PREFIX], ids=["removed", "kept"])
def test_the_larger_limit_of_archives_holds_under_the_prefix(behind, sent):
    archive = io.BytesIO(zipped(unpaired() | {"notes.bin": bytes(2 << 20)}))
    answer = behind.post(f"{sent}/datasets", files={"archive": archive}, data={"name": "pictures"})
    assert answer.status_code == 503  # there is no preparer, which is asked after the length


def test_without_a_prefix_links_begin_at_the_root(client):
    fields = {"model": "tiny", "wait": "0"}
    job = client.post("/translate", files={"image": encoded(landscape())}, data=fields).json()
    assert job["links"]["self"] == f"/jobs/{job['id']}"
    assert "servers" not in client.get("/openapi.json").json()
