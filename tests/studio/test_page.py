"""The page as a whole, by a real browser: every view, on a phone, under a prefix, by keyboard and screen reader."""

import re
import shutil

import pytest
from playwright.sync_api import expect

from tests.pictures import encoded, landscape
from tests.studio.gestures import faults, give, pick, shown, visit
from tests.studio.runs import rows, written
from tests.training import add_dataset

VIEWS = ("translate", "style", "train", "models", "status")
PHONE = {"width": 390, "height": 844}
SMALLEST = {"width": 320, "height": 568}


@pytest.fixture
def filled(page, server, settings, running):
    """The page with something in each view, and the addresses of all views."""
    data = settings.data_dir
    if not (data / "datasets" / "colors").exists():
        add_dataset(data)
    running.append_metrics({"step": 10, "seconds": 10, "loss_one": 1.0})
    running.save_sample(10, rows(10))
    other = written(settings, "earlier", steps=[10, 20])
    give(page, encoded(landscape()))
    shown(page)
    ids = running.path.name, other.path.name
    yield [*VIEWS, *(f"train/{place}" for place in (*ids, ",".join(ids), "new/colors"))]
    shutil.rmtree(other.path)


def test_a_phone_shows_the_result_in_its_first_screen_and_scrolls_no_view_sideways(page, filled):
    page.set_viewport_size(PHONE)
    visit(page, "translate")
    box = page.locator(".compare").bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]
    for view in filled:
        visit(page, view)
        page.get_by_text("Asking the server").wait_for(state="detached")
        for size in (PHONE, SMALLEST):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], (view, size)


def test_everything_holds_under_a_prefix(page, behind, running):
    origin = str(behind.base_url).rstrip("/")
    base = f"{origin}/doppel/"
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.url.startswith(origin) else None)
    page.goto(base)
    give(page, encoded(landscape()))
    assert shown(page).shape == (64, 96, 3)
    page.goto(f"{base}#models")
    expect(page.get_by_role("img", name="A picture made by other")).to_be_visible()
    page.goto(f"{base}#train/{running.path.name}")
    running.save_sample(10, rows(10))
    sheet = page.get_by_role("img", name="A → B, 1").locator("image")
    expect(sheet).to_have_attribute("href", re.compile("samples/10$"))
    assert asked
    assert all(url.startswith(base) for url in asked), asked


def test_the_policy_lets_nothing_in_from_elsewhere(browser, server):
    """What it forbids, Chromium logs as errors, of which no other test here may have one."""
    assert server.get("/").headers["Content-Security-Policy"].startswith("default-src 'self';")
    page = browser.new_context(base_url=str(server.base_url)).new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto("/")
    broken = page.evaluate(INTRUSION)
    assert sorted(broken) == ["connect-src", "img-src", "script-src-elem"]
    assert sum("Content Security Policy" in text for text in errors) >= len(broken)
    page.context.close()


INTRUSION = """async () => {
  const broken = [];
  addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
  const script = Object.assign(document.createElement("script"), { textContent: "document.title = 'run'" });
  document.body.append(script, Object.assign(new Image(), { src: "https://example.org/x.png" }));
  await fetch("https://example.org/").catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  return broken;
}"""


def test_text_from_the_server_is_shown_as_text_and_where_it_belongs(page, server):
    visit(page, "models")
    expect(page.get_by_text("<b>other</b> inverts")).to_be_visible()
    model = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="far"))
    model.get_by_role("button", name="Fetch").click()
    expect(model.get_by_role("alert")).to_contain_text(server.post("/models/far/fetch").json()["detail"])


def test_the_status_names_the_worker_and_the_newest_job(page, server):
    server.post("/translate", files={"image": encoded(landscape())}, data={"model": "other"})
    visit(page, "status")
    worker = server.get("/status").json()["workers"][0]["name"]
    expect(page.get_by_role("cell", name=worker)).to_be_visible()
    row = page.get_by_role("region", name="Your newest jobs").get_by_role("row").nth(1)
    expect(row).to_contain_text("other")
    expect(row).to_contain_text("succeeded")


def test_axe_finds_nothing_in_any_view(page, filled):
    for view in filled:
        visit(page, view)
        page.get_by_text("Asking the server").wait_for(state="detached")
        if samples := view.count(",") + bool(re.match("train/(?!new)", view)):  # of a run, or of each of several
            expect(page.get_by_role("region", name="Sample rows")).to_have_count(samples)
        assert not faults(page), view


def test_the_views_are_reached_by_keys(page):
    visit(page, "models")
    page.locator("body").evaluate("(body) => document.activeElement.blur()")
    page.get_by_role("link", name="Skip to the view").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.locator("nav [aria-current]")).to_have_text("Models")

    page.reload()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the view")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("nav [aria-current]")).to_have_text("Style")


def test_what_is_typed_survives_the_pages_own_refreshes(page):
    visit(page, "models")
    pick(page, "Choose a weights file", "weights.pth", b"no weights", "application/octet-stream")
    name = page.get_by_role("textbox", name="Name", exact=True)
    expect(name).to_have_value("weights")
    name.fill("mine")
    page.get_by_role("textbox", name="Licence").fill("CC0")
    for _ in range(2):
        with page.expect_response("**/status"):
            pass
    expect(name).to_have_value("mine")
    expect(page.get_by_role("textbox", name="Licence")).to_have_value("CC0")


def test_each_browser_sees_its_own_jobs_alone(page, server, browser):
    server.post("/translate", files={"image": encoded(landscape())}, data={"model": "other"})
    stranger = browser.new_context(base_url=str(server.base_url))
    other = stranger.new_page()
    other.goto("/#status")
    expect(other.get_by_text("Nothing was asked for yet.")).to_be_visible()
    stranger.close()
    visit(page, "status")
    expect(page.get_by_role("region", name="Your newest jobs").get_by_role("row").nth(1)).to_contain_text("other")


def test_a_view_that_cannot_be_loaded_says_so_and_a_crooked_address_shows_translate(page):
    page.route("**/views/status.js", lambda route: route.abort())
    page.goto("/#status")
    expect(page.get_by_role("heading", name="This view could not be loaded")).to_be_visible()
    page.goto("/#%")
    expect(page.locator("nav [aria-current]")).to_have_text("Translate")
