"""The page's Translate view, by a real browser: photos in by every way, pictures out."""

import base64
import re
import zipfile

import numpy as np
import pytest
import redis
from PIL import Image
from playwright.sync_api import expect

from tests.fake_worker import GO, HELD, first_pixel
from tests.pictures import decoded, encoded, landscape
from tests.processes import eventually
from tests.studio.gestures import GIVE, drop_paths, give, inverted, orders, pick, pixels, shown


@pytest.mark.parametrize("how", ["drop", "paste", "pick"])
def test_a_photo_is_painted_at_once_and_the_next_one_takes_its_place(page, how):
    for photo in (landscape(96, 64), landscape(64, 96)):
        if how == "pick":
            button = "Choose photos" if page.locator(".stage.empty").count() else "Choose other photos"
            pick(page, button, "1.png", encoded(photo))
        else:
            give(page, encoded(photo), how=how)
        page.wait_for_function(
            "(width) => document.querySelector('.compare img')?.naturalWidth === width", arg=photo.width
        )
        np.testing.assert_array_equal(shown(page), inverted(photo))
    assert page.url.rstrip("/") == page.context.pages[0].url.rstrip("/")
    assert len(page.context.pages) == 1


def test_the_line_between_before_and_after_moves_by_keys_in_the_photos_own_shape(page):
    give(page, encoded(landscape(120, 40)))
    shown(page)
    line = page.get_by_role("slider", name="Line between before and after")
    line.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(line).to_have_attribute("aria-valuetext", "40 % before")
    box = page.locator(".compare").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(3, abs=0.02)
    edge = page.locator(".compare .line").bounding_box()
    assert (edge["x"] + edge["width"] / 2 - box["x"]) / box["width"] == pytest.approx(0.4, abs=0.01)


def test_a_photo_that_waits_says_so_and_can_be_canceled(page, server, settings):
    queue = redis.Redis.from_url(settings.redis_url)
    held = {"files": {"image": encoded(Image.fromarray(first_pixel(HELD)))}, "data": {"wait": "0"}}
    first = server.post("/translate", **held).json()["links"]["self"]
    eventually(lambda: server.get(first).json()["status"] == "running")
    server.post("/translate", **held)
    try:
        give(page, encoded(landscape()))
        expect(page.get_by_text("1 before you")).to_be_visible()
        mine = server.get("/jobs", params={"limit": 1}).json()[0]
        assert mine["status"] == "queued"
        page.get_by_role("button", name="Cancel").click()
        eventually(lambda: server.get(mine["links"]["self"]).json()["status"] == "canceled")
        expect(page.get_by_role("button", name="Paint 1.png")).to_be_visible()
    finally:
        queue.set(GO, 1, ex=20)
        eventually(lambda: server.get("/status").json()["queues"]["pictures"]["running"] == 0)


def test_pictures_of_before_are_there_after_a_reload_until_they_are_deleted(page):
    give(page, encoded(landscape()))
    shown(page)
    expect(page.locator(".strip li")).to_have_count(1)
    page.reload()
    page.get_by_role("button", name="1.png by style_monet").click()
    np.testing.assert_array_equal(shown(page), inverted(landscape()))
    page.locator(".strip li").hover()
    page.get_by_role("button", name="Delete 1.png").click()
    expect(page.locator(".strip")).to_have_count(0)


SLOW_TO_DECODE = """() => {
  const decode = window.createImageBitmap;
  window.createImageBitmap = async (...given) => {
    await (window.gate ??= new Promise((resolve) => (window.open_gate = resolve)));
    return decode(...given);
  };
}"""


def test_an_order_that_is_canceled_while_it_is_prepared_is_not_uploaded(page):
    sent = orders(page)
    page.evaluate(SLOW_TO_DECODE)
    give(page, encoded(landscape()))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Paint 1.png")).to_be_visible()
    page.evaluate("window.open_gate()")
    give(page, encoded(landscape(64, 96)))
    assert shown(page).shape == (96, 64, 3)
    assert len(sent) == 1


def test_several_photos_go_on_in_another_view_and_enter_the_history(page):
    sent = orders(page)
    photos = [landscape(32 * n, 64) for n in (1, 2, 3)]
    give(page, *map(encoded, photos))
    page.evaluate("location.hash = '#models'")
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.evaluate("location.hash = '#translate'")
    expect(page.get_by_role("status").get_by_text("3 of 3")).to_be_visible()
    assert len(sent) == 3
    expect(page.locator(".strip li")).to_have_count(3)
    page.reload()
    expect(page.locator(".strip li")).to_have_count(3)
    page.get_by_role("button", name="2.png by style_monet", exact=True).click()
    np.testing.assert_array_equal(shown(page), inverted(photos[1]))


def test_files_that_cannot_be_used_are_named(page):
    give(page, b"text", type="text/plain")
    give(page, encoded(landscape()))
    shown(page)
    page.evaluate(GIVE, [[["a.txt", "text/plain", ""], ["b.txt", "text/plain", ""]], "drop"])
    expect(page.get_by_role("alert")).to_contain_text(re.compile("a.txt is not a picture.*b.txt is not a picture"))
    expect(page.locator(".compare")).to_be_visible()  # what was there is left
    photo = base64.b64encode(encoded(landscape())).decode()
    page.evaluate(GIVE, [[["a.txt", "text/plain", ""], ["c.png", "image/png", photo]], "drop"])
    expect(page.get_by_text("Left out: a.txt is not a picture")).to_be_visible()
    shown(page)


def test_a_held_press_shows_the_photo_alone_and_the_address_keeps_model_and_size(page):
    give(page, encoded(landscape()))
    shown(page)
    box = page.locator(".compare").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    expect(page.locator(".compare")).to_have_attribute("style", re.compile("--at: ?100%"))
    page.mouse.up()
    expect(page.locator(".compare")).to_have_attribute("style", re.compile("--at: ?50%"))
    page.get_by_role("button", name="The picture's own size").click()
    assert page.locator(".compare").bounding_box()["width"] == pytest.approx(96)

    page.get_by_role("combobox", name="Size").select_option("256")
    expect(page.locator(".compare")).to_be_visible()
    assert page.url.endswith("#translate?model=style_monet&resolution=256")
    page.goto("/#translate?model=other&resolution=1024")
    expect(page.get_by_role("combobox", name="Size")).to_have_value("1024")
    expect(page.get_by_role("radio", name="other")).to_be_checked()


def test_several_photos_become_a_zip(page):
    photos = [landscape(32 * n, 64) for n in (1, 2, 3)]
    give(page, *map(encoded, photos))
    expect(page.get_by_role("status").get_by_text("3 of 3")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all as zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [f"{n}-style_monet.png" for n in (1, 2, 3)]
        for n, photo in enumerate(photos, start=1):
            np.testing.assert_array_equal(decoded(archive.read(f"{n}-style_monet.png")), inverted(photo))


def test_one_photo_under_every_model_and_in_every_format(page, server):
    give(page, encoded(landscape()))
    shown(page)
    for button, kind in (("Download", "PNG"), ("Download as jpg", "JPEG"), ("Download as webp", "WEBP")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        with Image.open(download.value.path()) as picture:
            assert (picture.format, picture.size) == (kind, (96, 64))
    page.get_by_role("button", name="All models").click()
    expect(page.get_by_role("status").get_by_text("3 of 4")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("No face was found")  # by the one that needs a face
    newest = server.get("/jobs", params={"limit": 3}).json()
    assert {job["model"] for job in newest} == {"other", "stars", "style_monet"}
    page.get_by_role("button", name="Open other").click()
    np.testing.assert_array_equal(shown(page), inverted(landscape()))


def test_errors_are_the_servers_own_sentences_and_waiting_counts_down(page, server):
    give(page, b"no picture at all")
    said = server.post("/translate", files={"image": ("1.png", b"no picture at all")}).json()["detail"]
    expect(page.get_by_role("alert").get_by_text(said)).to_be_visible()

    answers = [{"status": 503, "headers": {"Retry-After": "2"}, "json": {"detail": "The queue is full."}}]
    page.route("**/translate", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_())
    give(page, encoded(landscape()))
    expect(page.get_by_text(re.compile("The queue is full. Trying again in [12] s."))).to_be_visible()
    np.testing.assert_array_equal(shown(page), inverted(landscape()))


def test_a_lost_connection_is_said_and_comes_back(page):
    page.context.set_offline(True)
    give(page, encoded(landscape()))
    expect(page.locator("#lost")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden()
    np.testing.assert_array_equal(shown(page), inverted(landscape()))


def test_a_large_photo_is_shrunk_before_it_travels(page):
    with page.expect_request("**/translate") as sent:
        give(page, encoded(landscape(1600, 1200)))
    # The server would make the same size of it; less than half of the pixels cross the network, as JPEG.
    assert int(sent.value.all_headers()["content-length"]) < len(encoded(landscape(1600, 1200), "JPEG", quality=95)) / 2
    after = page.locator(".compare img").first
    expect(after).to_have_js_property("naturalHeight", 512)


def test_a_photo_from_the_camera_is_painted(page):
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the picture").click()
    after, photo = shown(page), shown(page, "before")
    assert photo.std() > 20  # Chromium's test picture, not a black one
    height, width = after.shape[:2]
    small = Image.fromarray(photo).resize((width, height))  # as the page and the server reduce it
    assert np.abs(after.astype(int) - inverted(small)).mean() < 5


def test_a_result_is_copied_and_used_as_the_next_photo(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    give(page, encoded(landscape()))
    shown(page)
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.evaluate(SHOW_CLIPBOARD)
    np.testing.assert_array_equal(pixels(page.locator("img#pasted")), inverted(landscape()))

    page.get_by_role("button", name="Use as input").click()
    expect(page.get_by_role("img", name="1-style_monet.png: after")).to_be_visible()
    np.testing.assert_array_equal(shown(page), landscape())


SHOW_CLIPBOARD = """async () => {
  const [item] = await navigator.clipboard.read();
  const image = Object.assign(new Image(), { id: "pasted", src: URL.createObjectURL(await item.getType("image/png")) });
  document.body.append(image);
}"""


def test_files_are_dropped_from_the_disk(page, tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded(landscape()))
    drop_paths(page, tmp_path / "photo.png")
    np.testing.assert_array_equal(shown(page), inverted(landscape()))
    expect(page.get_by_role("img", name="photo.png: after")).to_be_visible()


def test_a_picture_without_a_face_can_be_taken_as_it_is(page, server):
    page.get_by_role("radio", name="heads").check(force=True)
    give(page, encoded(landscape()))
    expect(page.get_by_role("alert")).to_contain_text("No face was found")
    page.get_by_role("button", name="Take the picture as it is").click()
    assert np.abs(shown(page).astype(int) - inverted(landscape())).max() <= 1
    assert server.get("/jobs", params={"limit": 1}).json()[0]["model"] == "heads"
