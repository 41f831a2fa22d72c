"""From two folders to a published model, by a real browser with a real trainer, preparer and worker."""

import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.app.training.client import start, wait
from tests.pictures import decoded, encoded, landscape
from tests.processes import eventually
from tests.studio.gestures import answer_dialogs, drop_paths, faults, give, pick, shown, visit
from tests.training import ENDLESS, cyclegan

SOON_MS = 240_000  # a process that starts to train loads torch, on a machine that may have much else to do


@pytest.fixture
def page(trainers_page):
    return trainers_page


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of six pictures each, dark ramps and light ones. Each has a folder in it; one has a broken file."""
    root = tmp_path_factory.mktemp("folders")
    for folder, turned in (("dark", False), ("light", True)):
        (root / folder / "more").mkdir(parents=True)
        for n in range(6):
            ramp = np.asarray(landscape(40 + n, 40)) // 2
            picture = Image.fromarray(255 - ramp if turned else ramp)
            picture.save(root / folder / ("more" if n > 3 else ".") / f"{n}.png")
    (root / "light" / "broken.png").write_bytes(b"no picture")
    return root / "dark", root / "light"


@pytest.fixture(scope="module")
def dataset(workshop, folders, tmp_path_factory):
    """The name of a data set of these folders."""
    archive = tmp_path_factory.mktemp("archive") / "ramps.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for folder, side in zip(folders, ("trainA", "trainB"), strict=True):
            for picture in sorted(folder.rglob("[0-9].png")):
                packed.write(picture, f"{side}/{picture.name}")
    with archive.open("rb") as file:
        workshop.post("/datasets", files={"archive": file}, data={"name": "ramps"}).raise_for_status()
    return "ramps"


@pytest.fixture(scope="module")
def finished(workshop, dataset):
    """The id of a run that has succeeded."""
    run = start(workshop, "cyclegan", cyclegan(dataset=dataset))
    return wait(workshop, run)["id"]


def state(page):
    """The badge with the run's status."""
    return page.locator(".badge.state")


def steps_with_samples(page):
    """How many steps the slider over the samples reaches."""
    return int(page.get_by_role("slider", name="Step").get_attribute("max")) + 1


def test_two_dropped_folders_become_a_model_that_paints(page, workshop, folders):
    visit(page, "train")
    drop_paths(page, *folders)
    expect(page.get_by_label("Name", exact=True)).to_have_value("dark2light")
    page.get_by_role("button", name="Upload").click()
    made = page.get_by_role("status").filter(has=page.get_by_role("heading", name="dark2light"))
    expect(made).to_contain_text("12 pictures · A 6 · B 6", timeout=SOON_MS)
    made.get_by_text("Left out: 1 file").click()
    expect(made.get_by_text("trainB/broken.png")).to_be_visible()
    made.get_by_role("link", name="Train on it").click()

    page.get_by_role("button", name="As in the paper").click()
    page.get_by_text("All options").click()
    for name, value in cyclegan(epochs=8, augmentations="color, cutout").items():
        if name != "dataset":
            page.get_by_label(re.compile(rf"^{name}\b")).fill(str(value))
    page.keyboard.press("Tab")
    expect(page.get_by_role("status").get_by_text("48", exact=True)).to_be_visible(timeout=SOON_MS)  # steps
    page.get_by_role("button", name="Start").click()
    expect(state(page)).to_have_text("succeeded", timeout=SOON_MS)
    assert workshop.get("/training").json()[0]["options"]["augmentations"] == ["color", "cutout"]

    page.get_by_role("button", name="Publish…").click()
    ways = page.get_by_role("group", name="Which direction")
    expect(ways.get_by_role("img")).to_have_count(4)  # a picture and what becomes of it, each way
    assert not faults(page)
    ways.get_by_role("radio").nth(1).check()
    page.get_by_label("Name", exact=True).fill("light2dark")
    page.get_by_role("button", name="Publish", exact=True).click()
    page.get_by_role("link", name="Try it").click()

    expect(page.get_by_role("radio", name="light2dark")).to_be_checked()
    photo = encoded(landscape(64, 64))
    give(page, photo)
    painted = shown(page)
    assert workshop.get("/models/light2dark").json()["training"]["direction"] == "BtoA"
    answer = workshop.post("/translate", files={"image": photo}, data={"model": "light2dark"})
    np.testing.assert_array_equal(painted, decoded(answer.content))


def test_curves_and_samples_come_while_it_trains_and_it_is_stopped_resumed_and_deleted(page, workshop, dataset):
    run = workshop.get(start(workshop, "cyclegan", cyclegan(dataset=dataset, **ENDLESS))).json()
    visit(page, f"train/{run['id']}")
    curve = page.get_by_role("figure", name="Losses").locator("polyline").last
    expect(curve).to_be_attached(timeout=SOON_MS)
    count = steps_with_samples(page)
    points = curve.get_attribute("points")
    eventually(lambda: steps_with_samples(page) > count)
    eventually(lambda: curve.get_attribute("points") != points)
    expect(state(page)).to_have_text("running")

    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("stopped", timeout=SOON_MS)
    stopped_at = workshop.get(run["links"]["self"]).json()["step"]
    page.get_by_role("button", name="Resume").click()
    eventually(lambda: workshop.get(run["links"]["self"]).json()["step"] > stopped_at)
    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("stopped", timeout=SOON_MS)

    asked = answer_dialogs(page, accept=False)
    page.get_by_role("button", name="Delete").click()
    assert "with all its checkpoints" in asked[0]
    assert workshop.get(run["links"]["self"]).is_success
    answer_dialogs(page, accept=True)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
    assert workshop.get(run["links"]["self"]).status_code == 404


def test_a_finished_run_is_trained_further(page, workshop, finished):
    visit(page, f"train/{finished}")
    page.get_by_role("button", name="Train further…").click()
    page.get_by_label("Minutes").fill("5")
    page.get_by_role("button", name="Train on").click()
    expect(state(page)).to_have_text("running", timeout=SOON_MS)
    assert workshop.get(f"/training/{finished}").json()["options"]["minutes"] == 5
    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("stopped", timeout=SOON_MS)


def card(page, name):
    """A model in the Models view."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_a_model_is_rolled_back_exported_added_and_removed(page, workshop, finished):
    for _ in range(2):
        workshop.post(f"/training/{finished}/publish", json={"name": "ours", "direction": "AtoB"}).raise_for_status()
    visit(page, "models")
    expect(card(page, "ours")).to_contain_text("version 2")
    card(page, "ours").get_by_role("button", name="Roll back").click()
    expect(card(page, "ours")).to_contain_text("version 1")
    with page.expect_download() as download:
        card(page, "ours").get_by_role("link", name="Export").click()
    archive = download.value.path()
    with zipfile.ZipFile(archive) as packed:
        weights = next(packed.read(name) for name in packed.namelist() if name.endswith(".safetensors"))

    pick(page, "Choose a weights file", "moved.zip", archive.read_bytes(), "application/zip")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(card(page, "moved")).to_be_visible(timeout=SOON_MS)
    pick(page, "Choose a weights file", "bare.safetensors", weights, "application/octet-stream")
    page.get_by_label("Licence", exact=True).fill("CC0")
    page.get_by_text("What the file doesn't tell").click()
    page.get_by_label(re.compile("^Side of the pictures")).fill("32")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(card(page, "bare")).to_be_visible(timeout=SOON_MS)
    assert workshop.get("/models/bare").json()["licence"] == "CC0"
    photo = {"image": encoded(landscape(64, 64))}
    names = ("ours", "moved", "bare")
    ours, *others = (decoded(workshop.post("/translate", files=photo, data={"model": name}).content) for name in names)
    for other in others:
        np.testing.assert_array_equal(other, ours)

    for name in names:
        asked = answer_dialogs(page, accept=True)
        card(page, name).get_by_role("button", name="Remove").click()
        expect(card(page, name)).to_have_count(0)
        assert name in asked[0]
        assert workshop.get(f"/models/{name}").status_code == 404
