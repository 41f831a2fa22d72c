"""The page's Train view, by a real browser."""

import re

from playwright.sync_api import expect

from models.store.run_status import RunState, read_status
from tests.pictures import encoded, landscape
from tests.processes import eventually, preparer
from tests.studio.gestures import visit
from tests.studio.runs import rows, written


def test_a_runs_curves_and_samples_grow_while_it_trains(page, running):
    for step in (10, 20):
        running.append_metrics({"step": step, "seconds": step, "loss_one": 1 / step})
        running.save_sample(step, rows(step))
    visit(page, f"train/{running.path.name}")
    expect(page.get_by_role("alert")).to_contain_text("all pictures are alike. Stop the run.")
    curve = page.locator(".chart polyline:not(.raw)").first
    expect(curve).to_have_attribute("points", of_points(2))
    slider = page.get_by_role("slider", name="Step")
    expect(slider).to_have_attribute("aria-valuetext", "step 20")
    expect(page.get_by_role("img", name="A → B, 2")).to_be_visible()

    running.append_metrics({"step": 30, "seconds": 30, "loss_one": 0.5})
    running.save_sample(30, rows(30))
    expect(slider).to_have_attribute("aria-valuetext", "step 30")
    expect(curve).to_have_attribute("points", of_points(3))
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("output")).to_have_text("step 10")
    page.get_by_role("button", name="loss_one").click()
    expect(page.locator(".chart polyline")).to_have_count(0)

    page.get_by_role("button", name="Stop").click()
    eventually(lambda: running.stop_requested)
    assert read_status(running.path).status is RunState.RUNNING


def test_a_watched_run_survives_a_server_that_is_away_for_a_moment(page, running):
    running.append_metrics({"step": 10, "seconds": 10, "loss_one": 1.0})
    away = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "The queue is away."}}
    refusals = [away, {"status": 502, "body": "<h1>Bad gateway</h1>"}]
    address = f"**/training/{running.path.name}"
    page.route(address, lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_())
    visit(page, f"train/{running.path.name}")
    expect(page.locator(".chart polyline").first).to_be_attached()
    running.append_metrics({"step": 20, "seconds": 20, "loss_one": 0.5})
    expect(page.locator(".chart polyline:not(.raw)").first).to_have_attribute("points", of_points(2))
    assert not refusals


def of_points(count):
    """The attribute of a curve that has this many points."""
    return re.compile(rf"^([-\d.]+,[-\d.]+ ?){{{count}}}$")


def test_two_folders_become_a_data_set(page, settings, tmp_path):
    for folder, width in (("photos", 32), ("paintings", 48)):
        (tmp_path / folder).mkdir()
        for n in range(3):
            (tmp_path / folder / f"{n}.png").write_bytes(encoded(landscape(width, 32 + n)))
        (tmp_path / folder / "broken.png").write_bytes(b"no picture")
    with preparer(settings, "imports"):
        visit(page, "train")
        page.get_by_label("Choose a folder of pictures").set_input_files(tmp_path / "photos")
        page.get_by_label("Choose the other folder").set_input_files(tmp_path / "paintings")
        expect(page.get_by_role("textbox", name="Name")).to_have_value("photos2paintings")
        page.get_by_role("button", name="Upload").click()
        made = page.locator(".panel")
        expect(made).to_contain_text("6 pictures · A 3 · B 3", timeout=60_000)
        made.get_by_text("Left out: 2 files").click()
        expect(made.get_by_text("trainA/broken.png")).to_be_visible()
    made.get_by_role("link", name="Train on it").click()
    # Nobody sizes runs here: the server's own sentence says who would.
    waits = page.get_by_role("status").filter(has_text="The operator starts one with: doppel preparer")
    expect(waits).to_contain_text("Trying again soon", timeout=60_000)


def test_runs_are_compared_by_their_curves_and_by_what_they_make_of_the_same_inputs(page, settings):
    runs = [written(settings, f"compared-{n}", steps=[10, 20, 30], loss=n) for n in (1, 2)]
    visit(page, "train")
    expect(page.get_by_role("link", name=re.compile("^Compare"))).to_have_count(0)
    for run in runs:
        page.get_by_role("checkbox", name=f"Compare {run.path.name}").check()
    page.get_by_role("link", name="Compare 2 runs").click()
    curves = page.get_by_role("figure", name="loss_one").locator("polyline:not(.raw)")
    expect(curves).to_have_count(2)
    heights = [{point.split(",")[1] for point in curve.get_attribute("points").split()} for curve in curves.all()]
    assert [len(one) for one in heights] == [1, 1]  # each loss stays where it is
    assert float(*heights[0]) > float(*heights[1])  # 2 lies above 1; y grows downwards
    samples = page.get_by_role("region", name="Samples")
    expect(samples).to_have_count(2)
    page.get_by_role("slider", name="Step of all samples").focus()
    page.keyboard.press("Home")
    expect(page.locator("output")).to_have_text("step 10")
    for run, shown in zip(runs, samples.all(), strict=True):
        sheet = shown.get_by_role("img", name="A → B, 1").locator("image")
        expect(sheet).to_have_attribute("href", re.compile(rf"training/{run.path.name}/samples/10$"))
