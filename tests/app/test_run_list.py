"""The list of training runs, page by page, and what their alarms advise."""

import os

import pytest

from models.store.options import CycleGANOptions
from models.store.run_folder import RunFolder
from models.store.run_status import Alarm, RunState, RunStatus, now
from models.store.runs import RunStore


@pytest.fixture
def ended_runs(settings) -> list[RunFolder]:
    """The folders of five runs that have ended, oldest first."""
    store = RunStore(settings.data_dir)
    folders = []
    for n in range(5):
        alarms = [Alarm(kind="disk", step=n, detail="The disk is full.")]
        options = CycleGANOptions(dataset=settings.data_dir / "datasets" / "photos")
        status = RunStatus(status=RunState.STOPPED, created_at=now(), updated_at=now(), alarms=alarms)
        folders.append(store.folder(store.create(options, status)))
        os.utime(folders[-1].path / "options.json", (1000 + n, 1000 + n))
    return folders


def pages(client, address):
    """The ids on each page, from this address on."""
    found = []
    while address:
        answer = client.get(address)
        found.append([run["id"] for run in answer.json()])
        address = answer.links.get("next", {}).get("url")
    return found


def test_runs_are_listed_page_by_page_newest_first(client, ended_runs):
    newest = [folder.path.name for folder in reversed(ended_runs)]
    assert pages(client, "/training") == [newest]
    assert pages(client, "/training?limit=2") == [newest[:2], newest[2:4], newest[4:]]
    assert pages(client, "/training?limit=5") == [newest]
    assert pages(client, f"/training?before={newest[3]}") == [newest[4:]]


def test_a_page_leaves_out_what_cannot_be_read_and_leads_on(client, ended_runs):
    oldest, *_, unreadable, _ = ended_runs
    (unreadable.path / "options.json").write_text("{}")
    os.utime(unreadable.path / "options.json", (1003, 1003))
    found = pages(client, "/training?limit=1")
    assert [len(page) for page in found] == [1, 0, 1, 1, 1]
    assert found[-1] == [oldest.path.name]


@pytest.mark.parametrize(("query", "status"), [("limit=0", 422), ("limit=201", 422), ("before=none", 404)])
def test_a_page_that_cannot_be_is_refused(client, ended_runs, query, status):
    assert client.get(f"/training?{query}").status_code == status


def test_an_alarm_says_what_helps(client, ended_runs):
    [alarm] = client.get(f"/training/{ended_runs[0].path.name}").json()["alarms"]
    assert alarm["kind"] == "disk"
    assert alarm["help"] == "Free some space on the server, then resume the run."
