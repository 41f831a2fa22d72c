"""What the page does where a server wants a key, and where an answer gets lost on its way."""

import re

import numpy as np
from playwright.sync_api import expect

from tests.pictures import encoded, landscape
from tests.studio.gestures import faults, give, inverted, shown, visit

KEY = "a-key"
REFUSAL = {"status": 401, "json": {"detail": "This server wants a key.", "code": "key_wanted"}}
CALLS = re.compile(r"//[^/]+/(models|status|jobs|translate|training|datasets|style)\b")


def ask_for_key(page):
    """Have the server refuse calls without the key."""

    def answer(route):
        if route.request.headers.get("authorization") == f"Bearer {KEY}":
            route.continue_()
        else:
            route.fulfill(**REFUSAL)

    page.route(CALLS, answer)
    page.reload()


def test_a_key_is_asked_for_once_and_goes_with_every_call_and_picture(page):
    ask_for_key(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill("another")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("The server did not accept this key.")
    assert not faults(page)
    dialog.get_by_label("Key", exact=True).fill(KEY)
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_hidden()
    give(page, encoded(landscape()))
    np.testing.assert_array_equal(shown(page), inverted(landscape()))
    page.reload()
    visit(page, "models")
    expect(page.get_by_role("img", name="A picture made by other")).to_have_js_property("naturalWidth", 468)
    expect(dialog).to_be_hidden()
    with page.expect_download() as download:
        other = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="other", exact=True))
        other.get_by_text("Export").click()
    assert download.value.path().read_bytes()[:2] == b"PK"


def test_whoever_has_no_key_is_asked_once_and_reads_why_nothing_comes(page):
    ask_for_key(page)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    give(page, encoded(landscape()))
    expect(page.get_by_role("alert").get_by_text("This server wants a key.")).to_be_visible()
    with page.expect_response("**/status"):
        pass
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_order_whose_answer_is_lost_is_painted_once(page, server):
    before = {job["id"] for job in server.get("/jobs", params={"limit": 100}).json()}
    lost = []

    def lose_first(route):
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    page.route("**/translate", lose_first)
    give(page, encoded(landscape()))
    np.testing.assert_array_equal(shown(page), inverted(landscape()))
    assert lost == [202]
    now = {job["id"] for job in server.get("/jobs", params={"limit": 100}).json()}
    assert len(now - before) == 1
